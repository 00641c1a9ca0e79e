//! What a run makes where it is: in its pod, or on the machine that it runs on outside of the cluster.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

use serde_json::Value;
use standstill_core::{Error, Result, hook::Undone, runtime::ScratchIntent, secret::Secret};

use super::KubernetesRuntime;
use crate::{
    record::{InPod, InPodRecord, OnMachineRecord, Record},
    target::Owner,
};

impl KubernetesRuntime {
    /// The record of something inside this pod, as one of the cluster's.
    pub(super) fn in_pod(&self, what: InPod, record: Value) -> Result<Value> {
        match &self.pod {
            Some(pod) => Record::InPod(InPodRecord { pod: pod.clone(), what, record }).to_value(),
            None => Ok(record),
        }
    }

    /// The same of a place, which may be on a machine outside of the cluster.
    pub(super) fn here(&self, what: InPod, intent: ScratchIntent) -> Result<ScratchIntent> {
        let ScratchIntent { path, record } = intent;
        let record = match &self.settings.outside {
            Some(machine) => {
                let machine = machine.clone();
                Record::OnMachine(OnMachineRecord { machine, path: path.clone(), record }).to_value()?
            }
            None => self.in_pod(what, record)?,
        };
        Ok(ScratchIntent { path, record })
    }

    pub(super) async fn dispose_in_pod(
        &self,
        record: &InPodRecord,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<Undone> {
        let here = self.pod.as_ref() == Some(&record.pod);
        match record.what {
            _ if here => self.inner.dispose(&record.record, secrets).await,
            // It went with its pod.
            InPod::Scratch | InPod::ScratchVolume => Ok(Undone::AlreadyGone),
            // Its process is gone; whether its hold is, only its own release knows, which is safe to run again.
            InPod::Keeper if self.pod.is_some() => self.inner.release_kept(&record.record, secrets).await,
            InPod::Keeper => Err(Error::failed("a hold can only be let go from a pod beside its database")
                .remedy("Start the next backup of this target: before anything else it lets go of what is held.")),
            InPod::Destination => Err(Error::failed(
                "what an unfinished restore wrote lies on the claim that it restored into, out of reach from here",
            )
            .remedy("Delete that claim before the next restore; do not start a database on it.")),
        }
    }

    pub(super) async fn dispose_on_machine(
        &self,
        record: &OnMachineRecord,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<Undone> {
        if self.settings.outside.as_ref() == Some(&record.machine) {
            return self.inner.dispose(&record.record, secrets).await;
        }
        // No later recovery could do more from elsewhere, so it is told, and waited for by nobody.
        let (path, machine) = (record.path.display(), &record.machine);
        tracing::warn!("{path} on the machine {machine} is out of reach from here; remove it there");
        Ok(Undone::AlreadyGone)
    }
}

/// Gives a new place on an empty claim to the owner of the database's files, where it is root's: there is nothing on
/// the claim that it could be like.
pub(super) fn give(path: &Path, owner: Owner) -> Result<()> {
    let id = |id: i64| u32::try_from(id).ok();
    let given = || {
        if fs::metadata(path)?.uid() != 0 {
            return Ok(());
        }
        chown(path, id(owner.user), owner.group.and_then(id))
    };
    given().map_err(|cause: io::Error| {
        Error::failed(format!("{} cannot be given to the user {}", path.display(), owner.user))
            .remedy("Restore into a claim whose driver lets root change owners.")
            .because(cause)
    })
}

/// The record as the runtime inside wrote it.
pub(super) fn inside(record: &Value) -> Result<Value> {
    match Record::from_value(record)? {
        Some(Record::InPod(record)) => Ok(record.record),
        Some(Record::OnMachine(record)) => Ok(record.record),
        Some(_) => Err(Error::failed("the record is of something outside of the pod")),
        None => Ok(record.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_pod_is_handed_inside_as_it_was_made() {
        let made = serde_json::json!({"scratch": {"path": "/tmp/1"}});
        let record = InPodRecord { pod: "u1".into(), what: InPod::Scratch, record: made.clone() };
        assert_eq!(inside(&Record::InPod(record).to_value().unwrap()).unwrap(), made);
        assert_eq!(inside(&made).unwrap(), made);
    }
}
