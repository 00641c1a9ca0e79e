//! Objects that are changed, made or removed for a while.

use std::time::Duration;

use kube::{
    ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, Preconditions},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use standstill_core::{Error, Result, cluster::ObjectName, hook::Undone, point::RunId};
use tokio::time::Instant;

use super::fields::{PutBack, put_back, touched};
use crate::{
    client::{Cluster, Objects},
    names,
};

/// Who fields belong to that are applied.
const MANAGER: &str = "standstill";
/// The most that is kept of an object in order to put it back. A journal has at most 1 MiB in all.
const LARGEST: usize = 128 * 1024;
/// How often an object is looked at that is to go.
const LOOK: Duration = Duration::from_millis(500);
/// How often a change is tried that somebody else's was quicker than.
const TIMES: u32 = 20;

/// What the journal knows of an object that is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChangedRecord {
    /// The run.
    pub(crate) run: RunId,
    /// The namespace.
    pub(crate) namespace: String,
    /// The object.
    pub(crate) object: ObjectName,
    /// What is done to it.
    pub(crate) what: Made,
    /// What it was before where it is changed, or all of it where it is removed; none where it was not there.
    pub(crate) earlier: Option<Value>,
}

/// What is done to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Made {
    /// Fields are applied.
    Applied(Map<String, Value>),
    /// Fields are patched.
    Patched(Map<String, Value>),
    /// It is removed.
    Deleted,
}

/// An object's kind as the API serves it.
pub(crate) fn served(object: &ObjectName) -> ApiResource {
    let (group, version) = object.api_version.split_once('/').unwrap_or(("", &object.api_version));
    let kind = GroupVersionKind::gvk(group, version, &object.kind);
    match &object.plural {
        Some(plural) => ApiResource::from_gvk_with_plural(&kind, plural),
        None => ApiResource::from_gvk(&kind),
    }
}

fn shown(object: &ObjectName) -> String {
    format!("{} {}", object.kind, object.name)
}

/// An object as it is, without what only the API server needs.
pub(super) async fn look(cluster: &Cluster, object: &ObjectName) -> Result<Option<Value>> {
    // Its values would be in reports and journals.
    if object.kind == "Secret" {
        return Err(Error::input(format!("{} is a Secret, which is left alone", shown(object)))
            .remedy("Remove the step."));
    }
    let found = cluster.dynamic(&served(object)).find(&object.name).await?;
    found.map(|found| written(&found)).transpose()
}

fn written(found: &DynamicObject) -> Result<Value> {
    let mut value = serde_json::to_value(found)
        .map_err(|cause| Error::failed(format!("{} cannot be read", found.name_any())).because(cause))?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(value)
}

/// What a change of an object would change.
pub(super) async fn intend(
    cluster: &Cluster,
    object: &ObjectName,
    what: Made,
    run: &RunId,
) -> Result<ChangedRecord> {
    let found = look(cluster, object).await?;
    let earlier = match (&what, found) {
        (Made::Applied(fields) | Made::Patched(fields), Some(found)) => Some(touched(fields, &found)),
        (Made::Patched(_), None) => {
            return Err(Error::input(format!(
                "there is no {} in the namespace {}",
                shown(object),
                cluster.namespace()
            ))
            .remedy("Check its name, or make it by `apply`."));
        }
        (Made::Applied(_) | Made::Deleted, None) => None,
        (Made::Deleted, Some(found)) => Some(found),
    };
    if earlier.as_ref().is_some_and(|earlier| earlier.to_string().len() > LARGEST) {
        return Err(Error::input(format!("{} is too large to be put back from a journal", shown(object)))
            .remedy("Change fewer of its fields."));
    }
    let namespace = cluster.namespace().to_owned();
    Ok(ChangedRecord { run: run.clone(), namespace, object: object.clone(), what, earlier })
}

/// Changes an object.
pub(super) async fn make(cluster: &Cluster, record: &ChangedRecord, within: Duration) -> Result<()> {
    let object = &record.object;
    let objects = cluster.dynamic(&served(object));
    match &record.what {
        Made::Applied(fields) => {
            let manifest = applied(record, fields);
            let parameters = PatchParams::apply(MANAGER).force();
            objects.patch(&object.name, &parameters, &Patch::Apply(&manifest)).await?;
            Ok(())
        }
        Made::Patched(fields) => {
            objects.merge(&object.name, &Value::Object(fields.clone())).await?;
            Ok(())
        }
        Made::Deleted => remove(&objects, record, within).await,
    }
}

/// What is applied: the fields, which object it is, and where it is made by this, the run that made it.
fn applied(record: &ChangedRecord, fields: &Map<String, Value>) -> Value {
    let mut manifest = Value::Object(fields.clone());
    manifest["apiVersion"] = json!(record.object.api_version);
    manifest["kind"] = json!(record.object.kind);
    if !manifest["metadata"].is_object() {
        manifest["metadata"] = json!({});
    }
    manifest["metadata"]["name"] = json!(record.object.name);
    if record.earlier.is_none() {
        if !manifest["metadata"]["annotations"].is_object() {
            manifest["metadata"]["annotations"] = json!({});
        }
        manifest["metadata"]["annotations"][names::RUN] = json!(record.run);
    }
    manifest
}

/// Removes the object that was found, and waits until it is gone.
async fn remove(objects: &Objects<DynamicObject>, record: &ChangedRecord, within: Duration) -> Result<()> {
    let uid = record.earlier.as_ref().and_then(|earlier| earlier["metadata"]["uid"].as_str());
    let Some(uid) = uid else { return Ok(()) };
    let deadline = Instant::now() + within;
    loop {
        let found = objects.find(&record.object.name).await?;
        let Some(found) = found.filter(|found| found.uid().as_deref() == Some(uid)) else { return Ok(()) };
        if found.metadata.deletion_timestamp.is_none() {
            delete(objects, &record.object.name, uid).await?;
        } else if Instant::now() + LOOK > deadline {
            let held = found.finalizers().join(", ");
            let why = if held.is_empty() { String::new() } else { format!(": its finalizers are {held}") };
            return Err(Error::failed(format!("{} was deleted and does not go{why}", shown(&record.object)))
                .remedy("Look at it by `kubectl describe`; give it more time by the step's `timeout`."));
        } else {
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn delete(objects: &Objects<DynamicObject>, name: &str, uid: &str) -> Result<()> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
    objects.delete_with(name, &DeleteParams::background().preconditions(preconditions)).await?;
    Ok(())
}

/// Puts an object back.
pub(crate) async fn dispose(cluster: &Cluster, record: &ChangedRecord) -> Result<Undone> {
    let cluster = cluster.in_namespace(&record.namespace);
    let objects = cluster.dynamic(&served(&record.object));
    let undone = match (&record.what, &record.earlier) {
        (Made::Applied(_), None) => unmake(&objects, record).await,
        (Made::Applied(fields) | Made::Patched(fields), Some(earlier)) => {
            change_back(&objects, record, fields, earlier).await
        }
        (Made::Deleted, Some(earlier)) => make_again(&objects, record, earlier).await,
        (Made::Patched(_) | Made::Deleted, None) => Ok(Undone::AlreadyGone),
    };
    undone.map_err(|error| {
        let remedy = format!(
            "Put it back by `kubectl edit {} {} --namespace={}`; `standstill logs {}` shows what it was.",
            record.object.kind.to_lowercase(),
            record.object.name,
            record.namespace,
            record.run
        );
        Error::new(error.kind(), format!("{} could not be put back as it was", shown(&record.object)))
            .remedy(remedy)
            .because(error)
    })
}

/// Removes an object that the run made.
async fn unmake(objects: &Objects<DynamicObject>, record: &ChangedRecord) -> Result<Undone> {
    let found = objects.find(&record.object.name).await?;
    let ours = |found: &DynamicObject| {
        found.annotations().get(names::RUN).is_some_and(|run| run == record.run.as_str())
    };
    match found.filter(ours).and_then(|found| found.uid()) {
        None => Ok(Undone::AlreadyGone),
        Some(uid) => delete(objects, &record.object.name, &uid).await.map(|()| Undone::LetGo),
    }
}

/// Gives fields the values that they had.
async fn change_back(
    objects: &Objects<DynamicObject>,
    record: &ChangedRecord,
    fields: &Map<String, Value>,
    earlier: &Value,
) -> Result<Undone> {
    let name = &record.object.name;
    for _ in 0..TIMES {
        let Some(found) = objects.find(name).await? else { return Ok(Undone::AlreadyGone) };
        let PutBack { mut patch, left } = put_back(fields, earlier, &written(&found)?);
        if !left.is_empty() {
            tracing::warn!(
                "of {} somebody else has changed {}, which stays",
                shown(&record.object),
                left.join(", ")
            );
        }
        if patch.is_empty() {
            return Ok(Undone::AlreadyGone);
        }
        let version = json!(found.resource_version());
        let metadata = patch.entry("metadata").or_insert_with(|| json!({}));
        metadata["resourceVersion"] = version;
        if objects.merge_version(name, &Value::Object(patch)).await?.is_some() {
            return Ok(Undone::LetGo);
        }
    }
    Err(Error::temporary(format!("{} changes all the time", shown(&record.object))))
}

/// Makes an object again that was removed. What its owner makes anew is its owner's.
async fn make_again(
    objects: &Objects<DynamicObject>,
    record: &ChangedRecord,
    earlier: &Value,
) -> Result<Undone> {
    let owned = earlier["metadata"]["ownerReferences"].as_array();
    if owned.is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true)) {
        return Ok(Undone::AlreadyGone);
    }
    let found = objects.find(&record.object.name).await?;
    if let Some(found) = found {
        // One that was never removed, or that somebody else has made since; one that is going is waited for.
        return match found.metadata.deletion_timestamp {
            None => Ok(Undone::AlreadyGone),
            Some(_) => Err(Error::temporary(format!("{} is still being deleted", shown(&record.object)))),
        };
    }
    let made = objects.create_new(&anew(earlier)).await?;
    Ok(if made.is_some() { Undone::LetGo } else { Undone::AlreadyGone })
}

/// What belongs to one object and to no other of its name.
const OWN: [&str; 7] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

/// An object without what belonged to the one that is gone.
fn anew(earlier: &Value) -> Value {
    let mut manifest = earlier.clone();
    if let Some(map) = manifest.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !OWN.contains(&key.as_str()));
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(earlier: Option<Value>) -> ChangedRecord {
        ChangedRecord {
            run: "0198a1b2c3d47e5f8a9b0c1d2e3f4a5b".parse().unwrap(),
            namespace: "db".into(),
            object: ObjectName {
                api_version: "db.example/v1".into(),
                kind: "Cluster".into(),
                plural: None,
                name: "main".into(),
            },
            what: Made::Deleted,
            earlier,
        }
    }

    #[test]
    fn what_is_made_by_a_run_says_so_and_what_was_there_before_does_not() {
        let fields: Map<String, Value> = serde_json::from_value(json!({"spec": {"paused": true}})).unwrap();
        let made = applied(&record(None), &fields);
        assert_eq!(made["metadata"]["annotations"]["standstill.dev/run"], "0198a1b2c3d47e5f8a9b0c1d2e3f4a5b");
        assert_eq!((&made["kind"], &made["metadata"]["name"]), (&json!("Cluster"), &json!("main")));
        let changed = applied(&record(Some(json!({}))), &fields);
        assert_eq!(changed["metadata"], json!({"name": "main"}));
    }

    #[test]
    fn a_kind_is_served_by_its_group_and_its_plural() {
        let mut object = record(None).object;
        assert_eq!(
            (served(&object).group.as_str(), served(&object).plural.as_str()),
            ("db.example", "clusters")
        );
        object.plural = Some("clusteren".into());
        assert_eq!(served(&object).plural, "clusteren");
        object = ObjectName { api_version: "v1".into(), kind: "ConfigMap".into(), plural: None, ..object };
        assert_eq!((served(&object).group.as_str(), served(&object).plural.as_str()), ("", "configmaps"));
    }

    #[test]
    fn an_object_that_is_made_again_is_a_new_one() {
        let earlier = json!({"kind": "ConfigMap", "metadata": {"name": "x", "uid": "1", "resourceVersion": "2", "labels": {"a": "b"}}, "status": {}, "data": {"k": "v"}});
        assert_eq!(
            anew(&earlier),
            json!({"kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a": "b"}}, "data": {"k": "v"}})
        );
    }
}
