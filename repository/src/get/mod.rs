//! Reading artifacts back.

mod entries;
mod sparse;
pub(crate) mod stream;
pub(crate) mod tree;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use rustic_core::repofile::{Node, SnapshotFile};
use standstill_core::{Error, Result, point::StoredArtifact};

use crate::{
    fault,
    store::{Indexed, Store},
};

/// The snapshot of an artifact.
fn snapshot(store: &Store, artifact: &StoredArtifact) -> Result<SnapshotFile> {
    let id = artifact.snapshot.parse().map_err(|_| gone(artifact))?;
    let snapshots = store.snapshots()?;
    if let Some(snapshot) = snapshots.all.into_iter().find(|snapshot| snapshot.id == id) {
        return Ok(snapshot);
    }
    match snapshots.damaged.into_iter().find(|(damaged, _)| *damaged == id) {
        Some((_, why)) => {
            Err(Error::damaged(format!("the snapshot of the artifact {} is damaged: {why}", artifact.name))
                .remedy("Restore from another recovery point or a copy of the repository."))
        }
        None => Err(gone(artifact)),
    }
}

fn gone(artifact: &StoredArtifact) -> Error {
    Error::failed(format!("the artifact {} is not in the repository any more", artifact.name))
        .remedy("Choose a recovery point from `standstill list`.")
}

/// The node of what a snapshot is of: one file, or the root of a tree.
pub(crate) fn top(indexed: &Indexed, snapshot: &SnapshotFile, what: &str) -> Result<Node> {
    let path: PathBuf = snapshot
        .paths
        .iter()
        .next()
        .map(PathBuf::from)
        .ok_or_else(|| Error::damaged(format!("the snapshot of {what} names no path")))?;
    indexed.node_from_path(snapshot.tree, &path).map_err(|error| fault::reading(&error, what))
}
