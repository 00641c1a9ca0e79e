//! Removing what a run made, in as few requests as that takes.

use std::{fmt::Debug, time::Duration};

use kube::{Resource, ResourceExt, api::DeleteParams};
use serde::de::DeserializeOwned;
use standstill_core::{Error, Result, point::RunId};

use super::Objects;

/// What came of a deletion.
enum Deleted {
    /// It was not there.
    Absent,
    /// It is gone.
    Gone,
    /// It is going: it ends in good order first, or has finalizers. In this version, where that was said.
    Going(Option<String>),
}

impl<K> Objects<K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    /// Removes an object of a run and waits until it is gone. `false`: it was not there.
    ///
    /// # Errors
    /// When its name is not that of one of the run's objects, and [`standstill_core::ErrorKind::Temporary`] when
    /// it does not go within the time: somebody's finalizer, or a node that does not answer, holds it.
    pub(crate) async fn remove(&self, name: &str, run: &RunId, within: Duration) -> Result<bool> {
        // The run's id is in the name, and nobody else's is ever the same.
        if !name.ends_with(run.as_str()) {
            return Err(Error::failed(format!("{name} is not the name of something that run {run} made")));
        }
        let version = match self.request("delete", Some(name), self.delete_once(name)).await? {
            Deleted::Absent => return Ok(false),
            Deleted::Gone => return Ok(true),
            Deleted::Going(version) => version,
        };
        let is_gone = |found: Option<&K>| Ok(found.is_none().then_some(()));
        let gone = self.wait_since(name, version, within, is_gone).await?;
        gone.map(|()| true).ok_or_else(|| {
            Error::temporary(format!("{name} was deleted and does not go"))
                .remedy("Look at its finalizers and events, and at its node.")
        })
    }

    async fn delete_once(&self, name: &str) -> kube::Result<Deleted> {
        match self.api().delete(name, &DeleteParams::background()).await {
            Ok(answer) => Ok(answer.left().map_or(Deleted::Gone, |object| judge(&object))),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Deleted::Absent),
            Err(error) => Err(error),
        }
    }
}

/// What the object that a deletion answers with says. One that is on its way out says so; its end is then told to
/// whoever watches from this version on. Of one that is gone already newer servers tell the version of its end.
fn judge(object: &impl ResourceExt) -> Deleted {
    let (metadata, held) = (object.meta(), !object.finalizers().is_empty());
    let waits = metadata.deletion_grace_period_seconds.is_some_and(|seconds| seconds > 0);
    if metadata.deletion_timestamp.is_some() && (held || waits) {
        return Deleted::Going(object.resource_version());
    }
    Deleted::Going(None)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;

    fn version(metadata: &Value) -> Option<String> {
        let pod: Pod = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        match judge(&pod) {
            Deleted::Going(version) => version,
            _ => panic!("it may be there"),
        }
    }

    #[test]
    fn only_an_object_that_waits_for_something_is_watched_from_the_version_that_was_told() {
        let at = "2026-11-22T10:00:00Z";
        let held = json!({"resourceVersion": "7", "deletionTimestamp": at, "finalizers": ["a/b"]});
        assert_eq!(version(&held).as_deref(), Some("7"));
        let ends = json!({"resourceVersion": "7", "deletionTimestamp": at, "deletionGracePeriodSeconds": 30});
        assert_eq!(version(&ends).as_deref(), Some("7"));
        let gone = json!({"resourceVersion": "7", "deletionTimestamp": at, "deletionGracePeriodSeconds": 0});
        assert_eq!(version(&gone), None);
        assert_eq!(version(&json!({"resourceVersion": "7"})), None);
    }
}
