//! Storing a tree of files.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use rustic_core::repofile::{Node, SnapshotFile, SnapshotId};
use standstill_core::{
    Error, Result,
    filter::Filter,
    point::{ArtifactKind, StoredArtifact},
    repository::{Progress, PutTree},
};
use tokio_util::sync::CancellationToken;

use super::{
    amend::{Fix, amend},
    archive,
    tally::Tally,
    walk::{Plan, TreeSource, look},
};
use crate::{
    fault,
    metadata::Racy,
    store::Store,
    tags::{self, Kind},
};

/// File systems keep times by the tick of a clock, some by the second.
const TIME_GRAIN: SignedDuration = SignedDuration::from_secs(1);

/// Stores a tree.
pub(crate) fn put(
    store: &Store,
    request: &PutTree,
    progress: Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<StoredArtifact> {
    if matches!(request.kind, ArtifactKind::Stream | ArtifactKind::Snapshot) {
        return Err(Error::input(format!("the artifact {} is a stream, not a tree", request.artifact)));
    }
    let original = path_in_snapshot(&request.original)?;
    let directory = look(&request.root)?.is_dir();
    let lock = store.locks.shared()?;
    let writing = store.begin(cancel);
    let plan = Arc::new(plan(request, original, progress, writing.stop.clone())?);
    let (snapshot, stored_bytes) =
        writing.judge(&plan.original, archive_all(store, request, &plan, directory))?;
    lock.confirm()?;
    let snapshot = store.write_snapshot(snapshot)?;
    Ok(StoredArtifact {
        name: request.artifact.clone(),
        kind: request.kind,
        snapshot: snapshot.id.to_hex().as_str().to_owned(),
        bytes: plan.tally.bytes(),
        stored_bytes,
        files: plan.tally.files.load(std::sync::atomic::Ordering::Relaxed),
        blake3: None,
        tree_id: Some(snapshot.tree.to_hex().as_str().to_owned()),
        kept: None,
    })
}

/// Archives everything; the snapshot that is returned is complete, but not yet written.
fn archive_all(
    store: &Store,
    request: &PutTree,
    plan: &Arc<Plan>,
    directory: bool,
) -> Result<(SnapshotFile, u64)> {
    let (mut snapshot, mut stored_bytes) = archive_tree(store, request, plan, directory)?;
    let mut fixes: Vec<(PathBuf, Fix)> =
        plan.tally.take_shrunk().into_iter().map(|(path, size)| (path, Fix::Size(size))).collect();
    for file in &request.selection.last {
        let (fix, bytes) = archive_last(store, plan, file)?;
        stored_bytes += bytes;
        fixes.extend(fix);
    }
    if plan.cancel.is_cancelled() {
        return Err(fault::cancelled("storing the tree"));
    }
    snapshot.tree = amend(store, snapshot.tree, fixes)?;
    Ok((snapshot, stored_bytes))
}

fn plan(
    request: &PutTree,
    original: PathBuf,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<Plan> {
    // What was changed after the cut cannot be in an atomic snapshot; what is read live may change from now on.
    let now = Timestamp::now();
    let cut = request.cut_at.map_or(now, |cut| cut.min(now));
    Ok(Plan {
        root: request.root.clone(),
        original,
        filter: Filter::new(&request.selection.exclude)?,
        tolerant: request.selection.tolerate_changes,
        later: request.selection.last.clone(),
        racy: Racy { from: cut.saturating_sub(TIME_GRAIN).unwrap_or(Timestamp::MIN), now },
        tally: Arc::default(),
        progress,
        cancel,
    })
}

/// Archives all but the last files; the snapshot that is returned is not in the repository yet.
fn archive_tree(
    store: &Store,
    request: &PutTree,
    plan: &Arc<Plan>,
    directory: bool,
) -> Result<(SnapshotFile, u64)> {
    let parent = parent(store, request, &plan.original)?;
    let more = [("application", request.application.as_str()), ("artifact", request.artifact.as_str())];
    let snapshot = tags::snapshot(Kind::from(request.kind), &request.run, &more);
    let source = TreeSource { plan: Arc::clone(plan), only: None };
    let archived = archive(&*store.indexed()?, &source, snapshot, plan.original.clone(), parent);
    let above =
        plan.original.components().filter(|part| matches!(part, Component::Normal(_))).count() as u64 - 1;
    // The directories above, and the snapshot's root; the tree's own root is counted by the walk.
    let snapshot = plan.tally.confirm(archived, above + 1)?;
    if !directory {
        tracing::debug!(path = %plan.original.display(), "stored a single file");
    }
    let stored_bytes = snapshot.summary.as_ref().map_or(0, |summary| summary.data_added_packed);
    Ok((snapshot, stored_bytes))
}

/// The newest snapshot of the same artifact: files that are unchanged since are not read again.
fn parent(store: &Store, request: &PutTree, original: &Path) -> Result<Option<SnapshotId>> {
    let kind = Kind::from(request.kind);
    let same = |snapshot: &&SnapshotFile| {
        tags::kind(snapshot) == Some(kind)
            && tags::has(snapshot, "application", &request.application)
            && tags::has(snapshot, "artifact", &request.artifact)
            && snapshot.paths.iter().any(|path| Path::new(path) == original)
    };
    Ok(store.snapshots()?.all.iter().rev().find(same).map(|snapshot| snapshot.id))
}

/// Archives one of the files that are read last, by itself; its node is put into the tree afterwards. A file that
/// is not there, or is left out, needs nothing.
fn archive_last(store: &Store, plan: &Arc<Plan>, file: &Path) -> Result<(Option<(PathBuf, Fix)>, u64)> {
    let left_out = file.ancestors().any(|path| plan.filter.excludes(path));
    if left_out || !plan.root.join(file).try_exists().unwrap_or(true) {
        return Ok((None, 0));
    }
    let tally = Arc::new(Tally::default());
    let of_one = plan.for_one(Arc::clone(&tally));
    let source = TreeSource { plan: Arc::new(of_one), only: Some(file.to_owned()) };
    let path = plan.original.join(file);
    let archived = archive(&*store.indexed()?, &source, SnapshotFile::default(), path.clone(), None);
    let above = path.components().filter(|part| matches!(part, Component::Normal(_))).count() as u64 - 1;
    let snapshot = tally.confirm(archived, above + 1)?;
    let mut node = node_at(store, &snapshot, &path)?;
    for (_, size) in tally.take_shrunk() {
        node.meta.size = size;
    }
    Tally::count(&plan.tally.read, tally.bytes());
    Tally::count(&plan.tally.files, tally.files.load(std::sync::atomic::Ordering::Relaxed));
    let stored = snapshot.summary.as_ref().map_or(0, |summary| summary.data_added_packed);
    Ok((Some((path, Fix::Node(Box::new(node)))), stored))
}

fn node_at(store: &Store, snapshot: &SnapshotFile, path: &Path) -> Result<Node> {
    let indexed = store.indexed()?;
    indexed.node_from_path(snapshot.tree, path).map_err(|error| fault::reading(&error, path.display()))
}

/// A path that can stand in a snapshot.
fn path_in_snapshot(original: &Path) -> Result<PathBuf> {
    let plain = original.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if original.is_absolute() && plain && original.to_str().is_some() && original.file_name().is_some() {
        // Without doubled slashes and `.`: the same volume must find its parent.
        Ok(original.components().collect())
    } else {
        Err(Error::input(format!("`{}` cannot stand for a tree in a repository", original.display()))
            .remedy("Give an absolute path of UTF-8 characters other than `/`."))
    }
}
