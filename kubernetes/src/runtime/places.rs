//! What a run makes where it is: in its pod, or on the machine that it runs on outside of the cluster.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::Value;
use standstill_core::{
    Error, Result, hook::Undone, keeper::ReleaseRecord, runtime::ScratchIntent, secret::Secret,
};

use super::KubernetesRuntime;
use crate::{
    names,
    record::{InPod, InPodRecord, OnMachineRecord, Record, TargetAt},
    target::Owner,
};

impl KubernetesRuntime {
    /// The record of something inside this pod, as one of the cluster's.
    pub(super) fn in_pod(&self, what: InPod, record: Value) -> Result<Value> {
        match &self.pod {
            Some(pod) => {
                let target = self.seen_at().filter(|_| matches!(what, InPod::Keeper));
                Record::InPod(InPodRecord { pod: pod.clone(), what, target, record }).to_value()
            }
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
            InPod::Keeper if self.pod.is_some() => {
                self.check_ended(&record.pod).await?;
                self.inner.release_kept(&self.release_now(record).await?, secrets).await
            }
            InPod::Keeper => Err(Error::failed("a hold can only be let go from a pod beside its database")
                .remedy("Start the next backup of this target: before anything else it lets go of what is held.")),
            InPod::Destination => Err(Error::failed(
                "what an unfinished restore wrote lies on the claim that it restored into, out of reach from here",
            )
            .remedy("Delete that claim before the next restore; do not start a database on it.")),
        }
    }

    /// The record of a keeper's release, which goes to where its target is now. One that names no address needs none.
    ///
    /// # Errors
    /// When that is not known: at the address that the target had there may be another pod, which would be told to let
    /// go in its place, and might say that it has.
    async fn release_now(&self, record: &InPodRecord) -> Result<Value> {
        let release = &record.record;
        let Some(then) = record.target.as_ref().filter(|then| mentions(release, &then.address)) else {
            return Ok(release.clone());
        };
        let now = match self.now_at(then).await {
            Ok(None) => self.still_at(then).await,
            now => now,
        };
        match now {
            Ok(Some(now)) => Ok(moved(release, &then.address, &now)),
            Ok(None) => Err(out_of_reach(release, then)),
            Err(error) => Err(out_of_reach(release, then).because(error)),
        }
    }

    /// Refuses to go on beside a keeper in a pod that still runs: it tries to let go, too, and might do so only when a
    /// later run holds the same.
    async fn check_ended(&self, pod: &str) -> Result<()> {
        let runners = self.cluster.objects::<Pod>().list(&names::of_role(names::RUNNER)).await?;
        let lives =
            |runner: &&Pod| runner.uid().as_deref() == Some(pod) && !has_ended(runner, Timestamp::now());
        let Some(runner) = runners.iter().find(lives) else { return Ok(()) };
        let name = runner.name_any();
        Err(Error::temporary(format!("what keeps the hold in the pod {name} is still trying to let go"))
            .remedy(format!("Look at its container `helpers`; `kubectl delete pod {name}` ends it.")))
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

/// Whether nothing runs in a pod any more. One that was to be gone by now may be on a node that nobody hears of.
fn has_ended(pod: &Pod, now: Timestamp) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
        || pod.metadata.deletion_timestamp.as_ref().is_some_and(|due| due.0 < now)
}

/// Nobody knows where a target is now.
fn out_of_reach(release: &Value, then: &TargetAt) -> Error {
    let (pod, address) = (&then.pod, &then.address);
    // As the runtime inside writes it: below what it is.
    let kept = moved(release, address, "ADDRESS");
    let kept = kept.as_object().and_then(|kept| kept.values().next()?.get("release").cloned());
    let by_hand = kept.and_then(|kept| serde_json::from_value::<ReleaseRecord>(kept).ok()?.by_hand());
    let by_hand = by_hand.map_or_else(String::new, |by_hand| format!(", by {by_hand} with its address"));
    Error::temporary(format!(
        "where the database is now that was in the pod {pod} is not known, and {address} may be another pod's"
    ))
    .remedy(format!(
        "Run `standstill recover --on kubernetes` once the database is ready; or let it go by hand where it is now{by_hand}, \
         and say so by `--let-go-by-hand`."
    ))
}

/// Whether an address is in a record.
fn mentions(record: &Value, address: &str) -> bool {
    moved(record, address, "") != *record
}

/// A record with the address that the target's pod has now in the place of the one that it had.
fn moved(record: &Value, then: &str, now: &str) -> Value {
    match record {
        Value::String(text) => Value::String(replaced(text, then, now)),
        Value::Array(items) => items.iter().map(|item| moved(item, then, now)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), moved(value, then, now))).collect()
        }
        other => other.clone(),
    }
}

/// A text with another address, where the first one stands by itself and is not a part of a longer one.
fn replaced(text: &str, then: &str, now: &str) -> String {
    let six = then.contains(':');
    let continues = |next: Option<char>| {
        next.is_some_and(|next| {
            if six { next.is_ascii_hexdigit() || next == ':' } else { next.is_ascii_digit() || next == '.' }
        })
    };
    let mut whole = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(then) {
        let (before, after) = (&rest[..at], &rest[at + then.len()..]);
        let previous = before.chars().next_back().or_else(|| whole.chars().next_back());
        let is_own = !continues(previous) && !continues(after.chars().next());
        whole.push_str(before);
        whole.push_str(if is_own { now } else { then });
        rest = after;
    }
    whole + rest
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_release_goes_to_where_the_pod_is_now() {
        let record =
            json!({"argv": ["psql", "postgres://10.0.0.1:5432/db", "10.0.0.12", "110.0.0.1"], "lease": 5});
        let expected =
            json!({"argv": ["psql", "postgres://10.9.9.9:5432/db", "10.0.0.12", "110.0.0.1"], "lease": 5});
        assert_eq!(moved(&record, "10.0.0.1", "10.9.9.9"), expected);
        assert_eq!(replaced("10.0.0.1,10.0.0.1", "10.0.0.1", "fd00::2"), "fd00::2,fd00::2");
        assert_eq!(replaced("[fd00::1]:5432 fd00::12", "fd00::1", "fd00::2"), "[fd00::2]:5432 fd00::12");
    }

    #[test]
    fn an_address_is_mentioned_where_it_stands_by_itself() {
        let record = json!({"keeper": {"release": {"command": {"env": {"PGHOST": "10.0.0.1"}}}}});
        assert!(mentions(&record, "10.0.0.1"));
        assert!(!mentions(&record, "10.0.0"));
        assert!(!mentions(&json!({"keeper": {"release": "withItsClient"}}), "10.0.0.1"));
    }

    #[test]
    fn a_release_whose_database_is_nowhere_says_what_a_person_can_do() {
        let release = json!({"keeper": {"name": "flag", "release": {"command": {
            "argv": ["psql", "--host=10.0.0.1"], "env": {}, "secretEnv": [], "runAs": "runner", "directory": null,
        }}}});
        let then =
            TargetAt { pod: "pg-7d9".into(), address: "10.0.0.1".into(), found_by: "deployment/pg".into() };
        let error = out_of_reach(&release, &then);
        assert!(error.to_string().contains("pg-7d9"), "{error}");
        let remedy = error.remedy_text().unwrap();
        assert!(remedy.contains("by `psql --host=ADDRESS` with its address"), "{remedy}");
        assert!(remedy.contains("--let-go-by-hand"), "{remedy}");
        // What another runtime wrote may say it otherwise.
        assert!(
            out_of_reach(&json!("10.0.0.1"), &then).remedy_text().unwrap().contains("where it is now, and")
        );
    }

    #[test]
    fn a_pod_has_ended_by_its_phase_or_when_it_was_to_be_gone() {
        let pod = |text: Value| serde_json::from_value::<Pod>(text).unwrap();
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let running = json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}});
        assert!(!has_ended(&pod(running), now));
        assert!(has_ended(&pod(json!({"metadata": {}, "status": {"phase": "Failed"}})), now));
        for (due, ended) in [("2026-01-01T00:00:30Z", true), ("2026-01-01T00:02:00Z", false)] {
            let deleted = json!({"metadata": {"deletionTimestamp": due}, "status": {"phase": "Running"}});
            assert_eq!(has_ended(&pod(deleted), now), ended);
        }
    }

    #[test]
    fn a_record_of_the_pod_is_handed_inside_as_it_was_made() {
        let made = json!({"scratch": {"path": "/tmp/1"}});
        let record =
            InPodRecord { pod: "u1".into(), what: InPod::Scratch, target: None, record: made.clone() };
        assert_eq!(inside(&Record::InPod(record).to_value().unwrap()).unwrap(), made);
        assert_eq!(inside(&made).unwrap(), made);
    }
}
