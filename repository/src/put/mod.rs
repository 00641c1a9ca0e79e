//! Storing artifacts: a source that counts everything, the archiver, a check that nothing is missing, and only
//! then the snapshot.

pub(crate) mod amend;
mod feed;
pub(crate) mod stream;
mod tally;
pub(crate) mod tree;
mod walk;

use std::path::PathBuf;

use rustic_core::{
    BackupOptions, ParentOptions, ReadSource,
    repofile::{SnapshotFile, SnapshotId},
};
use standstill_core::Result;

use crate::{fault::Attempt, store::Indexed};

/// Runs the archiver. The snapshot that it returns is not in the repository (see [`crate::gate`]): whether it
/// will be is the caller's decision, after it has looked at what its source counted.
fn archive<S>(
    indexed: &Indexed,
    source: &S,
    snapshot: SnapshotFile,
    path: PathBuf,
    parent: Option<SnapshotId>,
) -> Result<SnapshotFile>
where
    S: ReadSource + 'static,
    S::Open: Send,
    S::Iter: Send,
{
    let parents = match parent {
        Some(id) => ParentOptions::default().parents(vec![id.to_hex().as_str().to_owned()]),
        None => ParentOptions::default().force(true),
    };
    let options = BackupOptions::default().parent_opts(parents).no_scan(true);
    let message = format!("{} cannot be written to the repository", path.display());
    indexed.archive(&options, source, snapshot, &[path]).attempt(message)
}
