//! The seam for places where recovery points live.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    Result,
    point::{RecoveryPoint, RunId, StoredArtifact, Verification},
};

/// A stream to be stored. It is read to its end; then `finish` decides whether it was whole.
pub trait StreamSource: Read + Send {
    /// After end of file: `Ok(bytes)` with the number of bytes that the producer handed over, if and only if it
    /// ended well.
    fn finish(&mut self) -> Result<u64>;
}

/// Told how far a transfer has come.
pub trait Progress: Send + Sync {
    /// More bytes were read from the source (or written to the destination).
    fn advance(&self, bytes: u64);
    /// How many bytes are expected in all, once that is known.
    fn expect(&self, _bytes: u64) {}
}

/// Progress that nobody looks at.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn advance(&self, _bytes: u64) {}
}

/// Which files of a tree are stored, and how strictly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TreeSelection {
    /// Patterns relative to the root. Without a slash a pattern matches a name at any depth; with one, the whole
    /// relative path. `dir/*` leaves the directory itself, empty. Everything else is included.
    pub exclude: Vec<String>,
    /// Whether files may vanish or change size while being read (they are then stored as they were read).
    pub tolerate_changes: bool,
    /// Relative paths of files that are read after all others, in this order (`global/pg_control`).
    pub last: Vec<PathBuf>,
}

/// A tree to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutTree {
    /// The run that stores it.
    pub run: RunId,
    /// The application's name, for the next backup to find its parent.
    pub application: String,
    /// The artifact's name.
    pub artifact: String,
    /// Whether it is a volume or files that a hook gathered.
    pub kind: crate::point::ArtifactKind,
    /// Where its files can be read now.
    pub root: PathBuf,
    /// What the root stands for: stored as the snapshot's path.
    pub original: PathBuf,
    /// Which files, and how strictly.
    pub selection: TreeSelection,
    /// When the content was cut. A file changed less than a second before an earlier cut is read again whatever
    /// its metadata says.
    pub cut_at: Option<jiff::Timestamp>,
}

/// A stream to be stored.
#[derive(Debug, Clone)]
pub struct PutStream {
    /// The run that stores it.
    pub run: RunId,
    /// The application's name.
    pub application: String,
    /// The artifact's name; may have slashes.
    pub artifact: String,
}

/// What a restore wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restored {
    /// Files, directories and links written.
    pub entries: u64,
    /// Bytes of file content written.
    pub bytes: u64,
}

/// Damage that a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckReport {
    /// How many recovery points were looked at.
    pub recovery_points: u64,
    /// How many bytes of packs were read (only when asked to read data).
    pub bytes_read: u64,
    /// What is damaged, one sentence each; empty if all is well.
    pub damage: Vec<String>,
}

/// What `forget` removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForgetReport {
    /// The recovery points that were removed.
    pub removed: Vec<RunId>,
    /// Bytes freed in the repository, if it was pruned.
    pub freed_bytes: Option<u64>,
}

/// A recovery point as it is listed, with its newest verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListedPoint {
    /// The recovery point.
    pub point: RecoveryPoint,
    /// Its newest verification.
    pub verification: Option<Verification>,
}

/// Where recovery points live. All methods may be called concurrently.
///
/// # Guarantees
/// - A stored artifact is complete: a read that failed, a producer that failed, a count that differs make an
///   error, and nothing of it is left behind.
/// - [`Repository::points`] lists a recovery point if and only if its record and all its artifacts exist.
#[async_trait]
pub trait Repository: Send + Sync {
    /// Its location, for people and for the journal (never with credentials).
    fn location(&self) -> String;

    /// Stores a stream.
    async fn put_stream(
        &self,
        request: PutStream,
        source: Box<dyn StreamSource>,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<StoredArtifact>;

    /// Stores a tree.
    async fn put_tree(
        &self,
        request: PutTree,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<StoredArtifact>;

    /// Writes a stream to a sink, checking its length and hash; the sink is flushed, not closed.
    async fn get_stream(
        &self,
        artifact: &StoredArtifact,
        sink: Box<dyn Write + Send>,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<Restored>;

    /// Writes a tree into a directory that exists, with owners, modes, times, links and holes.
    /// Entries are hostile until checked: nothing is written outside the directory.
    async fn get_tree(
        &self,
        artifact: &StoredArtifact,
        destination: &Path,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<Restored>;

    /// Commits a recovery point: one write, then read back and compared.
    async fn commit(&self, point: &RecoveryPoint) -> Result<()>;

    /// All recovery points, oldest first.
    async fn points(&self) -> Result<Vec<ListedPoint>>;

    /// Records a verification beside its recovery point.
    async fn record_verification(&self, verification: &Verification) -> Result<()>;

    /// Removes recovery points, their artifacts and verifications; with `prune` also the data that nothing refers to.
    async fn forget(&self, points: &[RunId], prune: bool) -> Result<ForgetReport>;

    /// Looks for damage; with `read_data` every byte is read and its hash compared.
    async fn check(&self, read_data: bool) -> Result<CheckReport>;

    /// Removes artifacts that a run left without a recovery point. With `None`: those of all runs that are older
    /// than a day. Artifacts of committed recovery points are never touched.
    async fn discard_strays(&self, run: Option<&RunId>) -> Result<u64>;
}
