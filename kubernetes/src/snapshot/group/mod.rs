//! Several claims of one driver that are cut together, by a `VolumeGroupSnapshot`.
//!
//! ```text
//!   claims ──▶ the labels that they share, and no other claim has ──▶ VolumeGroupSnapshot ⇄ its content
//!                                                                          └──▶ a VolumeSnapshot of each ⇄ its content
//! ```
//!
//! The API finds claims by their labels. A run changes nobody's claims, so it takes the labels that are there: those
//! that all of its claims have. Where other claims have them too, or there is no class, each claim gets a snapshot of
//! its own, at nearly the same time.
//!
//! - [`choose`]: whether a group is possible, and by which class and labels
//! - [`member`]: the snapshot of one claim in the group
//!
//! # Rights
//! In the namespace: `create`, `get`, `list`, `watch` and `delete` on `volumegroupsnapshots`. In the cluster: `list` on
//! `volumegroupsnapshotclasses` and `get` on `volumegroupsnapshotcontents`.

pub(super) mod choose;
mod member;

use std::time::Duration;

use serde_json::{Value, json};
use standstill_core::{Result, hook::Undone, runtime::SnapshotIntent};

use self::choose::{Group, Wanted};
use super::{GONE, api, cut, metadata, not_going, own};
use crate::{
    client::Cluster,
    names,
    record::{GroupRecord, Record, SnapshotRecord, name_part},
};

/// Takes the group's snapshot, or finds the one that was asked for by another of its volumes, and waits for its cut and
/// for the snapshot of this claim in it, bound both ways.
pub(super) async fn take(
    cluster: &Cluster,
    record: &GroupRecord,
    owner: Option<&Value>,
    within: Duration,
) -> Result<SnapshotRecord> {
    let groups = cluster.dynamic(&api::groups(&record.version));
    let made = groups.create_new(&manifest(record, owner)).await?;
    if made.is_none() {
        own(&groups.get(&record.name).await?, &record.run)?;
    }
    let deadline = cut::Deadline::of(within);
    let group = cut::wait(cluster, &cut::Asked::group(record), made, deadline).await?;
    member::bound(cluster, record, &group, deadline).await
}

/// Makes the intents for these claims intents for one group.
pub(super) fn join(intents: &mut [SnapshotIntent], wanted: &Wanted, group: &Group) -> Result<()> {
    // Another database of the run may have a group of its own.
    let claims: Vec<&str> = wanted.claims.iter().map(String::as_str).collect();
    let part = format!("grp-{}", name_part(&claims.join(",")));
    for intent in intents {
        let Some(Record::Snapshot(single)) = Record::from_value(&intent.record)? else { continue };
        if !wanted.claims.contains(&single.claim) {
            continue;
        }
        let record = Record::InGroup(GroupRecord {
            name: names::of_run(&part, &single.run),
            run: single.run,
            namespace: single.namespace,
            version: group.version.to_owned(),
            class: group.class.name.clone(),
            cut_when_ready: group.class.cut_when_ready,
            labels: group.labels.clone(),
            snapshots: single.version,
            claim: single.claim,
        });
        intent.record = record.to_value()?;
    }
    Ok(())
}

/// The group as it is asked for.
pub(crate) fn manifest(record: &GroupRecord, owner: Option<&Value>) -> Value {
    json!({
        "apiVersion": format!("{}/{}", api::GROUP_OF_GROUPS, record.version),
        "kind": "VolumeGroupSnapshot",
        "metadata": metadata(&record.name, &record.namespace, &record.run, owner),
        "spec": {
            "volumeGroupSnapshotClassName": record.class,
            "source": {"selector": {"matchLabels": record.labels}},
        },
    })
}

/// Removes a group and the snapshots in it. They are gone when this returns.
pub(crate) async fn dispose(cluster: &Cluster, record: &GroupRecord) -> Result<Undone> {
    let cluster = cluster.in_namespace(&record.namespace);
    let groups = cluster.dynamic(&api::groups(&record.version));
    let what = format!("the group snapshot {}", record.name);
    let removed = groups.remove(&record.name, &record.run, GONE).await;
    let removed = removed.map_err(|error| not_going(&what, error))?;
    member::all_gone(&cluster, record, GONE).await?;
    Ok(if removed { Undone::LetGo } else { Undone::AlreadyGone })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use standstill_core::{
        point::RunId,
        runtime::{CaptureMode, Volume},
    };

    use super::{super::class::Class, *};

    fn intent(claim: &str, run: &RunId) -> SnapshotIntent {
        let record = SnapshotRecord {
            run: run.clone(),
            namespace: "db".into(),
            version: "v1".into(),
            name: names::of_run(claim, run),
            class: "file".into(),
            cut_when_ready: false,
            claim: claim.into(),
        };
        SnapshotIntent {
            volume: Volume { name: claim.into(), path: "/data".into() },
            mode: CaptureMode::Atomic,
            record: Record::Snapshot(record).to_value().unwrap(),
        }
    }

    fn joined(intents: &mut [SnapshotIntent], claims: &[&str]) -> Vec<Option<GroupRecord>> {
        let class = Class {
            name: "together".into(),
            driver: "file.csi".into(),
            is_default: true,
            cut_when_ready: true,
            of_filesystem: false,
        };
        let labels = BTreeMap::from([("app".to_owned(), "db".to_owned())]);
        let wanted = Wanted {
            claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
            ..Wanted::of(class.clone())
        };
        join(intents, &wanted, &Group { version: "v1beta2", class, labels }).unwrap();
        let of_group = |intent: &SnapshotIntent| match Record::from_value(&intent.record).unwrap() {
            Some(Record::InGroup(record)) => Some(record),
            _ => None,
        };
        intents.iter().map(of_group).collect()
    }

    #[test]
    fn volumes_that_are_cut_together_name_one_group_and_those_of_another_database_another() {
        let run = RunId::generate();
        let mut intents = ["data", "log", "other"].map(|claim| intent(claim, &run));
        let first = joined(&mut intents, &["data", "log"]);
        let (Some(data), Some(log)) = (&first[0], &first[1]) else { panic!("{first:?}") };
        assert_eq!((&data.name, &data.claim, &log.claim), (&log.name, &"data".into(), &"log".into()));
        assert_eq!((data.version.as_str(), data.snapshots.as_str()), ("v1beta2", "v1"));
        assert!(data.cut_when_ready && data.name.ends_with(run.as_str()) && data.name.len() <= 63);
        assert_eq!(first[2], None);
        let second = joined(&mut ["a", "b"].map(|claim| intent(claim, &run)), &["a", "b"]);
        assert_ne!(second[0].as_ref().unwrap().name, data.name);
    }

    #[test]
    fn a_group_is_asked_for_by_its_class_and_the_labels_of_its_claims() {
        let run: RunId = "0198a1b2c3d47e5f8a9b0c1d2e3f4a5b".parse().unwrap();
        let record = joined(&mut [intent("data", &run)], &["data", "log"]).remove(0).unwrap();
        let asked = manifest(&record, Some(&json!({"apiVersion": "batch/v1", "kind": "Job"})));
        assert_eq!(asked["apiVersion"], "groupsnapshot.storage.k8s.io/v1beta2");
        assert_eq!(asked["metadata"]["ownerReferences"][0]["kind"], "Job");
        let source = json!({"selector": {"matchLabels": {"app": "db"}}});
        assert_eq!(asked["spec"], json!({"volumeGroupSnapshotClassName": "together", "source": source}));
    }
}
