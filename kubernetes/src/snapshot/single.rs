//! A snapshot of one claim.

use std::time::Duration;

use serde_json::{Value, json};
use standstill_core::{Result, hook::Undone};

use super::{GONE, api, cut, metadata, not_going, own};
use crate::{client::Cluster, record::SnapshotRecord};

/// Takes a snapshot, and waits for its cut.
pub(super) async fn take(
    cluster: &Cluster,
    record: &SnapshotRecord,
    owner: Option<&Value>,
    within: Duration,
) -> Result<()> {
    let snapshots = cluster.dynamic(&api::snapshots(&record.version));
    let made = snapshots.create_new(&manifest(record, owner)).await?;
    if made.is_none() {
        // The answer to an earlier attempt was lost, unless it is somebody else's.
        own(&snapshots.get(&record.name).await?, &record.run)?;
    }
    cut::wait(cluster, &cut::Asked::single(record), made, cut::Deadline::of(within)).await?;
    Ok(())
}

/// The snapshot as it is asked for.
pub(super) fn manifest(record: &SnapshotRecord, owner: Option<&Value>) -> Value {
    json!({
        "apiVersion": format!("{}/{}", api::GROUP, record.version),
        "kind": "VolumeSnapshot",
        "metadata": metadata(&record.name, &record.namespace, &record.run, owner),
        "spec": {
            "volumeSnapshotClassName": record.class,
            "source": {"persistentVolumeClaimName": record.claim},
        },
    })
}

/// Removes a snapshot. It is gone when this returns.
pub(crate) async fn dispose(cluster: &Cluster, record: &SnapshotRecord) -> Result<Undone> {
    let cluster = cluster.in_namespace(&record.namespace);
    let snapshots = cluster.dynamic(&api::snapshots(&record.version));
    let removed = snapshots.remove(&record.name, &record.run, GONE).await;
    let removed = removed.map_err(|error| not_going(&format!("the snapshot {}", record.name), error))?;
    Ok(if removed { Undone::LetGo } else { Undone::AlreadyGone })
}

#[cfg(test)]
mod tests {
    use standstill_core::point::RunId;

    use super::*;
    use crate::{names, record::name_part};

    #[test]
    fn a_snapshot_is_asked_for_by_its_class_and_goes_with_its_owner() {
        let run: RunId = "0198a1b2c3d47e5f8a9b0c1d2e3f4a5b".parse().unwrap();
        let record = SnapshotRecord {
            name: names::of_run(&name_part("data"), &run),
            run,
            namespace: "db".into(),
            version: "v1".into(),
            class: "file".into(),
            cut_when_ready: false,
            claim: "data-pg-0".into(),
        };
        let owner =
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": "standstill-backup", "uid": "u1"});
        let manifest = serde_json::to_string_pretty(&manifest(&record, Some(&owner))).unwrap();
        insta::assert_snapshot!(manifest);
    }
}
