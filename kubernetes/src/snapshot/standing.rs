//! How a snapshot stands: a pure judgement of what the cluster says about it.

use kube::{ResourceExt, api::DynamicObject};
use serde::Deserialize;
use standstill_core::Result;

use super::api::{Complaint, ContentSpec, SnapshotStatus};

/// How a snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not cut yet: what is missing, for people.
    Waits(&'static str),
    /// The driver complains. It may try again by itself, and then succeed.
    Complains(String),
    /// The storage has cut it, and it says that it is bound to this content.
    Cut {
        /// The content.
        content: String,
    },
}

impl Standing {
    /// How a snapshot stands. `when_ready`: its driver's cut is certain only when it is ready to be used.
    pub(crate) fn of(snapshot: &DynamicObject, when_ready: bool) -> Result<Self> {
        let status = SnapshotStatus::of(snapshot)?;
        if status == SnapshotStatus::default() {
            return Ok(Self::Waits("no snapshot controller has taken it up"));
        }
        let ready = status.ready_to_use == Some(true);
        let cut = status.creation_time.is_some() && (ready || !when_ready);
        Ok(match (status.bound_volume_snapshot_content_name, status.error) {
            (Some(content), _) if cut => Self::Cut { content },
            (_, Some(error)) => Self::Complains(error.words().to_owned()),
            (None, None) => Self::Waits("it is bound to no content"),
            (Some(_), None) if status.creation_time.is_none() => {
                Self::Waits("the driver has not said when it was cut")
            }
            (Some(_), None) => Self::Waits(
                "it is not ready to be used, and its class says that the cut is certain only then",
            ),
        })
    }
}

/// Whether a content is bound to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bound {
    /// To this very one.
    Here,
    /// To none yet.
    NotYet,
    /// To another one, which is named.
    Elsewhere(String),
}

/// Whether a content belongs to this very snapshot: one of the same name that was there before is another one.
pub(crate) fn bound(content: &DynamicObject, snapshot: &DynamicObject) -> Result<Bound> {
    let to = ContentSpec::of(content)?.volume_snapshot_ref;
    let Some(uid) = to.uid.as_deref().filter(|uid| !uid.is_empty()) else { return Ok(Bound::NotYet) };
    let same = snapshot.uid().as_deref() == Some(uid)
        && to.name.as_deref() == Some(&snapshot.name_any())
        && to.namespace == snapshot.namespace();
    let (namespace, name) = (to.namespace.unwrap_or_default(), to.name.unwrap_or_default());
    Ok(if same { Bound::Here } else { Bound::Elsewhere(format!("{namespace}/{name} ({uid})")) })
}

/// What the driver says about a content, if it complains.
pub(crate) fn complaint(content: &DynamicObject) -> Option<String> {
    // Only this part: the others are written otherwise than in a snapshot.
    let error = content.data.get("status")?.get("error")?;
    Complaint::deserialize(error).ok().map(|error| error.words().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn snapshot(status: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {"name": "data", "namespace": "db", "uid": "u1"},
            "spec": {"source": {"persistentVolumeClaimName": "data"}},
            "status": status,
        }))
        .unwrap()
    }

    fn content(reference: &Value) -> DynamicObject {
        serde_json::from_value(
            json!({"metadata": {"name": "content-1"}, "spec": {"volumeSnapshotRef": reference}}),
        )
        .unwrap()
    }

    fn stands(status: &Value) -> Standing {
        Standing::of(&snapshot(status), false).unwrap()
    }

    #[test]
    fn a_snapshot_is_cut_when_it_is_bound_and_has_the_time_of_its_cut() {
        assert_eq!(stands(&Value::Null), Standing::Waits("no snapshot controller has taken it up"));
        assert_eq!(stands(&json!({"readyToUse": false})), Standing::Waits("it is bound to no content"));
        let bound = json!({"boundVolumeSnapshotContentName": "content-1"});
        assert_eq!(stands(&bound), Standing::Waits("the driver has not said when it was cut"));
        let cut = json!({"boundVolumeSnapshotContentName": "content-1", "creationTime": "2026-11-22T10:00:00Z", "readyToUse": false});
        assert_eq!(stands(&cut), Standing::Cut { content: "content-1".into() });
        let unbound = json!({"creationTime": "2026-11-22T10:00:00Z"});
        assert_eq!(stands(&unbound), Standing::Waits("it is bound to no content"));
    }

    #[test]
    fn of_a_driver_that_cuts_late_only_a_snapshot_that_is_ready_is_cut() {
        let mut status = json!({"boundVolumeSnapshotContentName": "content-1", "creationTime": "2026-11-22T10:00:00Z", "readyToUse": false});
        let waits = Standing::of(&snapshot(&status), true).unwrap();
        assert!(matches!(waits, Standing::Waits(what) if what.contains("not ready")), "{waits:?}");
        status["readyToUse"] = json!(true);
        assert_eq!(
            Standing::of(&snapshot(&status), true).unwrap(),
            Standing::Cut { content: "content-1".into() }
        );
    }

    #[test]
    fn a_complaint_is_told_in_the_drivers_words_until_the_cut_is_there() {
        let error = json!({"message": "rpc error: out of space"});
        assert_eq!(stands(&json!({"error": error})), Standing::Complains("rpc error: out of space".into()));
        let cut = json!({"boundVolumeSnapshotContentName": "c", "creationTime": "2026-11-22T10:00:00Z", "error": error});
        assert_eq!(stands(&cut), Standing::Cut { content: "c".into() });
    }

    #[test]
    fn a_content_is_bound_only_to_the_snapshot_with_the_same_unique_id() {
        let snapshot = snapshot(&Value::Null);
        let to = |uid| content(&json!({"name": "data", "namespace": "db", "uid": uid}));
        assert_eq!(bound(&to(json!("u1")), &snapshot).unwrap(), Bound::Here);
        assert_eq!(bound(&to(Value::Null), &snapshot).unwrap(), Bound::NotYet);
        assert_eq!(bound(&to(json!("u0")), &snapshot).unwrap(), Bound::Elsewhere("db/data (u0)".into()));
        let foreign = content(&json!({"name": "data", "namespace": "other", "uid": "u1"}));
        assert!(matches!(bound(&foreign, &snapshot).unwrap(), Bound::Elsewhere(_)));
    }

    #[test]
    fn a_content_that_complains_is_understood_though_its_times_are_numbers() {
        let mut content = content(&json!({}));
        assert_eq!(complaint(&content), None);
        content.data["status"] = json!({"creationTime": 1_700_000_000_000_000_000_i64, "restoreSize": 5, "error": {"message": "full"}});
        assert_eq!(complaint(&content), Some("full".into()));
    }
}
