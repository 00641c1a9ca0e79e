//! How data moves: a description that can be written down, and the one way in which it is performed.
//!
//! ```text
//!   runner ── TransferSpec ──▶ perform ──▶ Repository           files that this process can read
//!      └───── TransferSpec ──▶ Runtime::transfer ─▶ a pod:      files that it cannot
//!                                 `standstill agent transfer` ──▶ perform ──▶ Repository
//!                                          └── TransferLine… ──▶ the runtime ──▶ TransferReport
//! ```

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Result,
    journal::Failure,
    language::is_artifact_name,
    point::{ArtifactKind, RunId, StoredArtifact},
    repository::{Progress, PutTree, Repository, Restored},
};

/// The version of the written form. A program refuses one that it does not know: a wrong guess would lose data.
const VERSION: u32 = 1;

/// From what, to what, which artifact.
///
/// Written down it is `{"version": 1, "putTree": {…}}`, and is checked when it is read: paths are absolute and plain,
/// and names are names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
#[non_exhaustive]
pub enum TransferSpec {
    /// A tree of files into an artifact.
    PutTree(PutTree),
    /// An artifact into a directory.
    GetTree(GetTree),
}

/// A tree to be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetTree {
    /// What is restored.
    pub artifact: StoredArtifact,
    /// The directory that it is written into; it must exist.
    pub destination: PathBuf,
}

/// What a transfer did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum TransferReport {
    /// It stored this.
    Stored(StoredArtifact),
    /// It restored this much.
    Restored(Restored),
}

/// One line of what `standstill agent transfer` prints on its standard output. The last one is a report or an error;
/// output that ends without either is that of a transfer that failed, whatever its exit status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum TransferLine {
    /// So many bytes more were moved.
    Advance(u64),
    /// So many bytes are expected in all.
    Expect(u64),
    /// It is done.
    Report(TransferReport),
    /// It failed.
    Error(Failure),
}

/// Performs a transfer by this process.
///
/// # Guarantees
/// As [`Repository`]'s: a stored artifact is complete, and of one that is not nothing is listed.
///
/// # Cancellation
/// By `cancel`, or by dropping the future.
pub async fn perform(
    spec: &TransferSpec,
    repository: &dyn Repository,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<TransferReport> {
    match spec {
        TransferSpec::PutTree(put) => {
            repository.put_tree(put.clone(), progress, cancel).await.map(TransferReport::Stored)
        }
        TransferSpec::GetTree(get) => {
            let restored = repository.get_tree(&get.artifact, &get.destination, progress, cancel).await;
            let attempt = format!("restore the artifact {}", get.artifact.name);
            restored.map(TransferReport::Restored).map_err(|error| error.during(&attempt))
        }
    }
}

impl TransferSpec {
    /// The name of the artifact that is moved.
    pub fn artifact(&self) -> &str {
        match self {
            Self::PutTree(put) => &put.artifact,
            Self::GetTree(get) => &get.artifact.name,
        }
    }

    /// The artifact that was stored, if the report is that of this very transfer: it may come from another process.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Failed`] when it is not.
    pub fn stored(&self, report: TransferReport) -> Result<StoredArtifact> {
        match (self, report) {
            (Self::PutTree(put), TransferReport::Stored(stored))
                if stored.name == put.artifact && stored.kind == put.kind =>
            {
                Ok(stored)
            }
            _ => Err(self.not_of_this()),
        }
    }

    /// What was restored, likewise.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Failed`] when the report is that of something else, or of fewer bytes than the artifact has.
    pub fn restored(&self, report: TransferReport) -> Result<Restored> {
        match (self, report) {
            (Self::GetTree(get), TransferReport::Restored(restored))
                if restored.bytes == get.artifact.bytes =>
            {
                Ok(restored)
            }
            _ => Err(self.not_of_this()),
        }
    }

    fn not_of_this(&self) -> Error {
        Error::failed(format!("the transfer of the artifact {} reported something else", self.artifact()))
            .remedy("Use the same version of Standstill on both sides, then run it again.")
    }

    /// Refuses what no runner writes down.
    fn check(&self) -> Result<()> {
        match self {
            Self::PutTree(put) => {
                run_id(&put.run)?;
                tree(&put.artifact, put.kind)?;
                absolute("root", &put.root)?;
                absolute("original", &put.original)?;
                put.selection.last.iter().try_for_each(|path| inside("last", path))
            }
            Self::GetTree(get) => {
                tree(&get.artifact.name, get.artifact.kind)?;
                absolute("destination", &get.destination)
            }
        }
    }
}

fn run_id(run: &RunId) -> Result<()> {
    let parsed: RunId = run.as_str().parse()?;
    if parsed == *run { Ok(()) } else { Err(Error::input(format!("`{run}` is not the id of a run"))) }
}

fn tree(artifact: &str, kind: ArtifactKind) -> Result<()> {
    if !is_artifact_name(artifact) {
        return Err(Error::input(format!("`{}` is not the name of an artifact", artifact.escape_debug())));
    }
    match kind {
        ArtifactKind::Volume | ArtifactKind::Files => Ok(()),
        ArtifactKind::Stream | ArtifactKind::Snapshot => {
            Err(Error::input(format!("the artifact {artifact} is a stream, not a tree")))
        }
    }
}

/// A path from the root that says what it is: without `..`, and not the root itself.
fn absolute(what: &str, path: &Path) -> Result<()> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain && path.file_name().is_some() {
        return Ok(());
    }
    Err(Error::input(format!("`{what}` is `{}`, not an absolute path without `..`", path.display())))
}

/// A path that stays below where it is put.
fn inside(what: &str, path: &Path) -> Result<()> {
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if plain && path.file_name().is_some() {
        return Ok(());
    }
    Err(Error::input(format!("`{what}` names `{}`, not a path inside the tree", path.display())))
}

/// The written form: one optional key for each kind, as everywhere in the language.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put_tree: Option<PutTree>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    get_tree: Option<GetTree>,
}

impl From<TransferSpec> for Written {
    fn from(spec: TransferSpec) -> Self {
        let nothing = Self { version: VERSION, put_tree: None, get_tree: None };
        match spec {
            TransferSpec::PutTree(put) => Self { put_tree: Some(put), ..nothing },
            TransferSpec::GetTree(get) => Self { get_tree: Some(get), ..nothing },
        }
    }
}

impl TryFrom<Written> for TransferSpec {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self> {
        if written.version != VERSION {
            return Err(Error::input(format!(
                "the transfer is described in version {}, and this program knows version {VERSION}",
                written.version
            ))
            .remedy("Use the same version of Standstill on both sides."));
        }
        let spec = match (written.put_tree, written.get_tree) {
            (Some(put), None) => Self::PutTree(put),
            (None, Some(get)) => Self::GetTree(get),
            _ => return Err(Error::input("a transfer is exactly one of `putTree` and `getTree`")),
        };
        spec.check()?;
        Ok(spec)
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
