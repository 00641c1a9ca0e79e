//! Removing recovery points, strays, and the data that nothing refers to.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use rustic_core::{
    FileType, PruneOptions,
    repofile::{SnapshotFile, SnapshotId},
};
use standstill_core::{Error, Result, point::RunId, repository::ForgetReport};

use crate::{
    fault::Attempt,
    records::{Records, no_such_point},
    store::Store,
    tags::{self, Kind},
};

/// How old an artifact without a recovery point must be to be the leftover of a dead run.
const STRAY_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Removes recovery points. The record goes first: from then on the point does not exist, whatever happens next.
pub(crate) fn forget(store: &Store, points: &[RunId], prune: bool) -> Result<ForgetReport> {
    let mut report = ForgetReport::default();
    {
        let _lock = store.locks.shared()?;
        let records = Records::read(store)?;
        if let Some(unknown) =
            points.iter().find(|id| !records.points.iter().any(|found| found.record.id == **id))
        {
            return Err(no_such_point(unknown));
        }
        let kept = kept_artifacts(&records, points);
        for found in records.points.iter().filter(|found| points.contains(&found.record.id)) {
            store.remove_snapshot(found.snapshot)?;
            report.removed.push(found.record.id.clone());
        }
        for found in
            records.verifications.iter().filter(|found| points.contains(&found.record.recovery_point))
        {
            store.remove_snapshot(found.snapshot)?;
        }
        let artifacts = records.points.iter().filter(|found| points.contains(&found.record.id));
        for artifact in artifacts.flat_map(|found| &found.record.artifacts) {
            match artifact.snapshot.parse::<SnapshotId>() {
                Ok(id) if !kept.contains(&id) => store.remove_snapshot(id)?,
                _ => {}
            }
        }
    }
    if prune {
        report.freed_bytes = Some(self::prune(store)?);
    }
    Ok(report)
}

/// The artifacts of all points but those.
fn kept_artifacts(records: &Records, without: &[RunId]) -> HashSet<SnapshotId> {
    let kept = records.points.iter().filter(|found| !without.contains(&found.record.id));
    kept.flat_map(|found| &found.record.artifacts)
        .filter_map(|artifact| artifact.snapshot.parse().ok())
        .collect()
}

/// Removes data that no snapshot refers to, also of other programs. Returns the bytes that this freed.
///
/// It holds the exclusive lock, which no live writer of ours or of restic lets through, so nothing that it removes
/// is about to be referred to. (`rustic` itself takes no locks and must not write at the same time.)
fn prune(store: &Store) -> Result<u64> {
    let lock = store.locks.exclusive()?;
    let before = pack_bytes(store)?;
    let options = PruneOptions::default().instant_delete(true);
    let plan = store.open().prune_plan(&options).attempt("what can be pruned cannot be determined")?;
    // Reading a large repository takes long; nothing is removed under a lock that others may think stale.
    lock.confirm()?;
    store.open().prune(&options, plan).attempt("the repository cannot be pruned")?;
    Ok(before.saturating_sub(pack_bytes(store)?))
}

fn pack_bytes(store: &Store) -> Result<u64> {
    let packs = store.list_with_size(FileType::Pack, "the repository's packs cannot be listed")?;
    Ok(packs.into_iter().map(|(_, size)| u64::from(size)).sum())
}

/// Removes artifacts that have no recovery point: of one run, or all that are older than a day.
pub(crate) fn discard_strays(store: &Store, run: Option<&RunId>) -> Result<u64> {
    let _lock = store.locks.shared()?;
    let records = Records::read(store)?;
    let kept = kept_artifacts(&records, &[]);
    let before = Timestamp::now()
        .saturating_sub(STRAY_AGE)
        .map_err(|cause| Error::failed("the clock of this machine is wrong").because(cause))?;
    let mut removed = 0;
    for snapshot in &records.snapshots.all {
        if is_stray(snapshot, &records, run, before) && !kept.contains(&snapshot.id) {
            store.remove_snapshot(snapshot.id)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_stray(snapshot: &SnapshotFile, records: &Records, run: Option<&RunId>, before: Timestamp) -> bool {
    let Some(of) = tags::value(snapshot, "run").and_then(|run| run.parse::<RunId>().ok()) else {
        return false;
    };
    // A record that cannot be read now may name it; damage is for `check` to report, not a reason to delete.
    let doubtful = records.unreadable.iter().any(|(run, _)| run.as_ref().is_none_or(|run| *run == of))
        || !records.snapshots.damaged.is_empty();
    let wanted = run.map_or_else(|| snapshot.time.timestamp() < before, |run| *run == of);
    let kind = tags::kind(snapshot);
    wanted
        && !doubtful
        && match kind {
            Some(Kind::Stream | Kind::Volume | Kind::Files) => true,
            // A verification of a point that was forgotten half-way.
            Some(Kind::Verification) => tags::value(snapshot, "point")
                .is_some_and(|point| !records.points.iter().any(|found| found.record.id.as_str() == point)),
            Some(Kind::Point) | None => false,
        }
}
