//! The snapshot of one claim in a group: found by its owner, which is the group, and by its claim.

use std::time::{Duration, Instant};

use kube::{ResourceExt, api::DynamicObject};
use standstill_core::{Error, Result, units::show_duration};

use super::super::{
    api,
    cut::{Deadline, GLANCE},
    standing::{self, Bound},
};
use crate::{
    client::{Cluster, Objects},
    record::{GroupRecord, SnapshotRecord},
};

/// How often it is looked whether the snapshots of a group are gone.
const LOOK: Duration = Duration::from_millis(500);

/// The snapshot of the record's claim in a group that was cut, once it is bound both ways.
///
/// # Errors
/// When there is none before the deadline: then nothing was cut for this claim.
pub(super) async fn bound(
    cluster: &Cluster,
    record: &GroupRecord,
    group: &DynamicObject,
    deadline: Deadline,
) -> Result<SnapshotRecord> {
    let snapshots = cluster.dynamic(&api::snapshots(&record.snapshots));
    let contents = cluster.dynamic_global(&api::contents(&record.snapshots));
    loop {
        let all = snapshots.list("").await?;
        let missing = match all.iter().find(|found| is_of(found, group, &record.claim)) {
            None => "the group has no snapshot of it",
            Some(found) if is_bound(&contents, found).await? => return Ok(as_single(record, found)),
            Some(_) => "its snapshot and a content do not name each other",
        };
        if deadline.is_over() {
            return Err(without(record, deadline, missing));
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Whether a snapshot is the one of a claim in a group.
fn is_of(snapshot: &DynamicObject, group: &DynamicObject, claim: &str) -> bool {
    let is_group = |uid: &str| group.uid().as_deref() == Some(uid);
    let source = snapshot.data.pointer("/spec/source/persistentVolumeClaimName");
    snapshot.owner_references().iter().any(|owner| is_group(&owner.uid))
        && source.and_then(serde_json::Value::as_str) == Some(claim)
}

async fn is_bound(contents: &Objects<DynamicObject>, snapshot: &DynamicObject) -> Result<bool> {
    let status = api::SnapshotStatus::of(snapshot)?;
    let Some(name) = status.bound_volume_snapshot_content_name else { return Ok(false) };
    let Some(content) = contents.find(&name).await? else { return Ok(false) };
    Ok(standing::bound(&content, snapshot)? == Bound::Here)
}

/// It, as a snapshot that movers read.
fn as_single(record: &GroupRecord, snapshot: &DynamicObject) -> SnapshotRecord {
    SnapshotRecord { name: snapshot.name_any(), ..record.single() }
}

fn without(record: &GroupRecord, deadline: Deadline, missing: &str) -> Error {
    Error::failed(format!(
        "the group snapshot {} was cut, but not the claim {} within {}: {missing}",
        record.name,
        record.claim,
        show_duration(deadline.within)
    ))
    .remedy(format!(
        "Look at the VolumeGroupSnapshot and at the snapshot controller's log; name a class by `snapshotClass` of the \
         target for snapshots one by one, or give the controller more time by `snapshotDeadline`. The class was {}.",
        record.class
    ))
}

/// Waits until the snapshots of a group that was removed are gone, too: its controller removes them.
pub(super) async fn all_gone(cluster: &Cluster, record: &GroupRecord, within: Duration) -> Result<()> {
    let snapshots = cluster.dynamic(&api::snapshots(&record.snapshots));
    let deadline = Instant::now() + within;
    // The group's name has the run's id in it: nobody else's is ever the same.
    let is_of_group = |found: &&DynamicObject| {
        found
            .owner_references()
            .iter()
            .any(|owner| owner.kind == "VolumeGroupSnapshot" && owner.name == record.name)
    };
    loop {
        let all = snapshots.list("").await?;
        let Some(left) = all.iter().find(is_of_group) else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(Error::temporary(format!(
                "the snapshot {} stays, though its group snapshot {} is gone",
                left.name_any(),
                record.name
            ))
            .remedy("Look at its finalizers and events, and at the snapshot controller's log."));
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(value: &Value) -> DynamicObject {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn the_snapshot_of_a_claim_is_known_by_its_group_and_its_claim() {
        let group = object(&json!({"metadata": {"name": "group", "uid": "g1"}}));
        let snapshot = |uid: &str, claim: &str| {
            let owner = json!({"apiVersion": "groupsnapshot.storage.k8s.io/v1", "kind": "VolumeGroupSnapshot", "name": "group", "uid": uid});
            object(&json!({
                "metadata": {"name": "snapshot-1", "ownerReferences": [owner]},
                "spec": {"source": {"persistentVolumeClaimName": claim}},
            }))
        };
        assert!(is_of(&snapshot("g1", "data"), &group, "data"));
        assert!(!is_of(&snapshot("g1", "log"), &group, "data"));
        assert!(!is_of(&snapshot("g0", "data"), &group, "data"), "of an earlier group of the same name");
        let alone = object(
            &json!({"metadata": {"name": "s"}, "spec": {"source": {"persistentVolumeClaimName": "data"}}}),
        );
        assert!(!is_of(&alone, &group, "data"));
    }
}
