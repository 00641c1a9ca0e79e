//! What the journal holds about temporary things in the cluster, and about those of a runner's pod.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standstill_core::{Error, Result, point::RunId};

use crate::{
    container::record::KeeperRecord,
    surroundings::{object::ChangedRecord, scale::ScaledRecord},
};

/// A temporary thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Record {
    /// A `VolumeSnapshot`.
    Snapshot(SnapshotRecord),
    /// The snapshot of one claim in a `VolumeGroupSnapshot` of several.
    InGroup(GroupRecord),
    /// A mover: a pod, its claim and what it is told.
    Mover(MoverRecord),
    /// A command in a pod of its own.
    Pod(PodRecord),
    /// Something that the runner made inside its own pod.
    InPod(InPodRecord),
    /// Something that a runner outside of the cluster made on its machine.
    OnMachine(OnMachineRecord),
    /// A hold that is kept in the target's own container.
    InTarget(KeeperRecord),
    /// A workload that is scaled.
    Scaled(ScaledRecord),
    /// An object that is changed.
    Changed(ChangedRecord),
}

/// A `VolumeSnapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SnapshotRecord {
    /// The run.
    pub(crate) run: RunId,
    /// Its namespace.
    pub(crate) namespace: String,
    /// The version of the API that it is made by.
    pub(crate) version: String,
    /// Its name.
    pub(crate) name: String,
    /// The class.
    pub(crate) class: String,
    /// Whether the driver cuts no earlier than when the snapshot is ready to be used.
    pub(crate) cut_when_ready: bool,
    /// The claim that it is a snapshot of.
    pub(crate) claim: String,
}

/// The snapshot of one claim in a `VolumeGroupSnapshot` of several: the records of all of them name the same group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GroupRecord {
    /// The run.
    pub(crate) run: RunId,
    /// The namespace.
    pub(crate) namespace: String,
    /// The version of the API that the group is made by.
    pub(crate) version: String,
    /// The group's name.
    pub(crate) name: String,
    /// Its class.
    pub(crate) class: String,
    /// Whether the driver cuts no earlier than when the group is ready to be used.
    pub(crate) cut_when_ready: bool,
    /// The labels of its claims.
    pub(crate) labels: BTreeMap<String, String>,
    /// The version of the API that the snapshots in it are of.
    pub(crate) snapshots: String,
    /// The claim that this is the snapshot of.
    pub(crate) claim: String,
}

impl GroupRecord {
    /// As a snapshot by itself. Its name is the group's until the one that it has is known.
    pub(crate) fn single(&self) -> SnapshotRecord {
        SnapshotRecord {
            run: self.run.clone(),
            namespace: self.namespace.clone(),
            version: self.snapshots.clone(),
            name: self.name.clone(),
            class: self.class.clone(),
            cut_when_ready: self.cut_when_ready,
            claim: self.claim.clone(),
        }
    }
}

/// What a transfer by a pod makes. All three objects have the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MoverRecord {
    /// The run.
    pub(crate) run: RunId,
    /// The namespace.
    pub(crate) namespace: String,
    /// The name of the pod, of its claim and of the config map with its orders.
    pub(crate) name: String,
}

/// A pod with one command in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PodRecord {
    /// The run.
    pub(crate) run: RunId,
    /// The namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

/// Where a target was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TargetAt {
    /// The name of its pod.
    pub(crate) pod: String,
    /// The address that the pod had.
    pub(crate) address: String,
    /// What it was found by, where that is one pod alone, which may be another one by now. Empty where it is one of
    /// several, and in journals that do not say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) found_by: String,
}

/// Something inside a runner's pod: a directory, a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct InPodRecord {
    /// The pod, by its unique id: a pod of the same name is another place.
    pub(crate) pod: String,
    /// What it is.
    pub(crate) what: InPod,
    /// Where the target was, where what is needed may name that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<TargetAt>,
    /// What the runtime inside the pod needs.
    pub(crate) record: Value,
}

/// Something on a machine outside of the cluster: a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OnMachineRecord {
    /// The machine's name.
    pub(crate) machine: String,
    /// Where it is there, for people.
    pub(crate) path: PathBuf,
    /// What the runtime of that machine needs.
    pub(crate) record: Value,
}

/// What a thing inside a runner's pod is, which decides whether it can outlive the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum InPod {
    /// A directory on the pod's own disk.
    Scratch,
    /// A scratch volume there: its owner is that of the database's files.
    ScratchVolume,
    /// A place on a volume that outlives the pod.
    Destination,
    /// A process that keeps a hold.
    Keeper,
}

/// Records of the cluster are told apart from those of the runtime inside by this one key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    kubernetes: Record,
}

impl Record {
    /// As it goes into the journal.
    pub(crate) fn to_value(&self) -> Result<Value> {
        serde_json::to_value(Written { kubernetes: self.clone() })
            .map_err(|cause| Error::failed("a record cannot be written").because(cause))
    }

    /// As it was read from the journal. `None`: it is not one of the cluster's.
    pub(crate) fn from_value(value: &Value) -> Result<Option<Self>> {
        if value.get("kubernetes").is_none() {
            return Ok(None);
        }
        let written = Written::deserialize(value).map_err(|cause| {
            Error::failed("a record of the journal is not understood")
                .remedy("Use the version of Standstill that wrote the journal.")
                .because(cause)
        })?;
        Ok(Some(written.kubernetes))
    }
}

/// The longest part of an object's name that is used as it is.
const LONGEST_PART: usize = 15;

/// A part of an object's name for something that an author has named: the name itself where it is one, and otherwise
/// one that no other name has.
pub(crate) fn name_part(name: &str) -> String {
    let good = |character: &char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let inside = |character: char| good(&character) || character == '-';
    let edges = [name.chars().next(), name.chars().last()];
    let edges = edges.iter().all(|edge| edge.is_some_and(|edge| good(&edge)));
    if edges && name.len() <= LONGEST_PART && name.chars().all(inside) {
        return name.to_owned();
    }
    let digest = blake3::hash(name.as_bytes()).to_hex();
    let start: String = name.to_ascii_lowercase().chars().filter(good).take(6).collect();
    format!("{start}x{}", digest.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_comes_back_from_the_journal_as_it_went_in() {
        let run = RunId::generate();
        let mover = MoverRecord { run, namespace: "db".into(), name: "standstill-data-1".into() };
        let in_pod = InPodRecord {
            pod: "1-2-3".into(),
            what: InPod::Scratch,
            target: Some(TargetAt {
                pod: "pg-0".into(),
                address: "10.0.0.1".into(),
                found_by: "statefulset/pg".into(),
            }),
            record: json!({"scratch": {"path": "/tmp"}}),
        };
        let on_machine = OnMachineRecord {
            machine: "desk".into(),
            path: "/tmp/1".into(),
            record: json!({"scratch": {"path": "/tmp/1"}}),
        };
        for record in [Record::Mover(mover), Record::InPod(in_pod), Record::OnMachine(on_machine)] {
            assert_eq!(Record::from_value(&record.to_value().unwrap()).unwrap(), Some(record));
        }
    }

    #[test]
    fn a_record_that_does_not_say_what_its_target_was_found_by_is_read() {
        let target: TargetAt = serde_json::from_value(json!({"pod": "pg-0", "address": "10.0.0.1"})).unwrap();
        assert_eq!(target.found_by, "");
    }

    #[test]
    fn records_of_another_runtime_are_left_to_it_and_damaged_ones_are_refused() {
        assert_eq!(Record::from_value(&json!({"scratch": {"path": "/tmp"}})).unwrap(), None);
        let error = Record::from_value(&json!({"kubernetes": {"cloud": {}}})).unwrap_err();
        assert!(error.remedy_text().unwrap().contains("version"), "{error}");
    }

    #[test]
    fn a_name_that_is_no_dns_label_becomes_one_that_no_other_name_has() {
        assert_eq!(name_part("data"), "data");
        assert_eq!(name_part("pg-wal"), "pg-wal");
        let names =
            ["", "-", "Data", "data_1", "config/etc", "pg_wal", "a-very-long-name-of-a-volume", "-data"];
        let made: std::collections::BTreeSet<String> = names.iter().map(|name| name_part(name)).collect();
        assert_eq!(made.len(), names.len(), "{made:?}");
        let is_label = |name: &String| {
            name.len() <= LONGEST_PART
                && name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
        };
        assert!(made.iter().all(is_label), "{made:?}");
    }
}
