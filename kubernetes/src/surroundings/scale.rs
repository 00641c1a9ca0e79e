//! Workloads that have another number of pods for a while.

use std::time::Duration;

use k8s_openapi::api::{autoscaling::v1::Scale, core::v1::Pod};
use kube::{
    ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde::{Deserialize, Serialize};
use standstill_core::{Error, Result, hook::Undone};
use tokio::time::Instant;

use crate::{
    client::{Cluster, Objects},
    target::{Workload, is_ready, unready},
};

/// How often a change is tried that somebody else's was quicker than.
const TIMES: u32 = 20;
/// How long to wait after such a change.
const PAUSE: Duration = Duration::from_millis(100);
/// How often pods are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What the journal knows of a workload that is scaled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ScaledRecord {
    /// The namespace.
    pub(crate) namespace: String,
    /// The workload: `statefulset/web`.
    pub(crate) workload: String,
    /// Its unique id: one of the same name that came later is another one.
    pub(crate) uid: String,
    /// How many pods it was to have.
    pub(crate) from: i32,
    /// How many it is to have meanwhile.
    pub(crate) to: i32,
}

/// What became of a change.
#[derive(Debug, PartialEq, Eq)]
enum Changed {
    /// It was made.
    Made,
    /// It had been made already.
    Already,
    /// Somebody else scaled it to this.
    Otherwise(i32),
    /// The workload is gone.
    Gone,
}

/// A workload as the API serves it, and its name.
fn served(workload: &Workload) -> Result<(ApiResource, &str)> {
    let kind = |kind: &str, plural: &str| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apps", "v1", kind), plural)
    };
    match workload {
        Workload::StatefulSet(name) => Ok((kind("StatefulSet", "statefulsets"), name)),
        Workload::Deployment(name) => Ok((kind("Deployment", "deployments"), name)),
        Workload::Service(_) | Workload::Pod(_) => Err(Error::input(format!("{workload} cannot be scaled"))
            .remedy("Name its StatefulSet or Deployment.")),
    }
}

/// The resource whose subresource `scale` is needed for a workload, and the workload's name.
pub(crate) fn scaled(workload: &str) -> Result<(String, String)> {
    let workload: Workload = workload.parse()?;
    let (kind, name) = served(&workload)?;
    Ok((format!("{}/scale", kind.plural), name.to_owned()))
}

/// How many pods a workload is to have. Of none the API says nothing (measured with 1.20).
fn replicas(scale: &Scale) -> i32 {
    scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
}

/// What scaling a workload would change.
pub(super) async fn intend(cluster: &Cluster, workload: &str, to: u32) -> Result<ScaledRecord> {
    let to = i32::try_from(to)
        .map_err(|_| Error::input(format!("{workload} cannot have {to} pods")).remedy("Give fewer."))?;
    let parsed: Workload = workload.parse()?;
    let (kind, name) = served(&parsed)?;
    let found = cluster.dynamic(&kind).scale(name).await?.ok_or_else(|| {
        Error::input(format!("there is no {parsed} in the namespace {}", cluster.namespace()))
            .remedy("Check its name; workloads of other namespaces are out of reach.")
    })?;
    Ok(ScaledRecord {
        namespace: cluster.namespace().to_owned(),
        workload: parsed.to_string(),
        uid: found.metadata.uid.clone().unwrap_or_default(),
        from: replicas(&found),
        to,
    })
}

/// Changes the number, if it is still `from`.
async fn change(
    workloads: &Objects<DynamicObject>,
    name: &str,
    uid: &str,
    from: i32,
    to: i32,
) -> Result<Changed> {
    for _ in 0..TIMES {
        let found = workloads.scale(name).await?;
        let Some(found) = found.filter(|found| found.metadata.uid.as_deref() == Some(uid)) else {
            return Ok(Changed::Gone);
        };
        match replicas(&found) {
            now if now == to => return Ok(Changed::Already),
            now if now != from => return Ok(Changed::Otherwise(now)),
            _ => {}
        }
        let version = found.metadata.resource_version.unwrap_or_default();
        if workloads.scale_to(name, &version, to).await?.is_some() {
            return Ok(Changed::Made);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Error::temporary(format!("{name} changes all the time, and could not be scaled"))
        .remedy("Look at who changes it by `kubectl get events`."))
}

/// Scales a workload, and waits until its pods are as many.
pub(super) async fn make(cluster: &Cluster, record: &ScaledRecord, within: Duration) -> Result<()> {
    let workload: Workload = record.workload.parse()?;
    let (kind, name) = served(&workload)?;
    match change(&cluster.dynamic(&kind), name, &record.uid, record.from, record.to).await? {
        Changed::Made | Changed::Already => {}
        Changed::Otherwise(now) => {
            return Err(Error::failed(format!(
                "{workload} had {} pods to have when the run looked, and now has {now}",
                record.from
            ))
            .remedy("Keep autoscalers and other people from scaling it meanwhile, and run it again."));
        }
        Changed::Gone => {
            return Err(Error::failed(format!("{workload} is gone")).remedy("Look at who removed it."));
        }
    }
    wait(cluster, &workload, record.to, within).await
}

/// Waits until a workload was scaled back to what it was, and its pods are ready.
pub(super) async fn settled(cluster: &Cluster, record: &ScaledRecord, within: Duration) -> Result<()> {
    let workload: Workload = record.workload.parse()?;
    let (kind, name) = served(&workload)?;
    let found = cluster.dynamic(&kind).scale(name).await?;
    // What somebody else made of it is not waited for.
    if found.is_some_and(|found| replicas(&found) == record.from) && record.from != record.to {
        wait(cluster, &workload, record.from, within).await?;
    }
    Ok(())
}

/// Scales a workload back, if nobody else has scaled it meanwhile.
pub(crate) async fn dispose(cluster: &Cluster, record: &ScaledRecord) -> Result<Undone> {
    let cluster = cluster.in_namespace(&record.namespace);
    let workload: Workload = record.workload.parse()?;
    let (kind, name) = served(&workload)?;
    let changed = change(&cluster.dynamic(&kind), name, &record.uid, record.to, record.from).await;
    let changed = changed.map_err(|error| {
        let remedy = format!(
            "Run `kubectl scale {workload} --replicas={} --namespace={}`.",
            record.from, record.namespace
        );
        Error::new(error.kind(), format!("{workload} could not be scaled back to {}", record.from))
            .remedy(remedy)
            .because(error)
    })?;
    match changed {
        Changed::Made => Ok(Undone::LetGo),
        Changed::Already | Changed::Gone => Ok(Undone::AlreadyGone),
        Changed::Otherwise(now) => {
            tracing::warn!("{workload} was scaled to {now} by somebody else, and stays so");
            Ok(Undone::AlreadyGone)
        }
    }
}

/// Waits until a workload has exactly so many pods, all ready.
async fn wait(cluster: &Cluster, workload: &Workload, wanted: i32, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        let missing = match of_workload(cluster, workload).await? {
            None => "its controller has not looked at it yet".to_owned(),
            Some(pods) => match missing(&pods, wanted) {
                None => return Ok(()),
                Some(missing) => missing,
            },
        };
        if Instant::now() + LOOK > deadline {
            return Err(Error::failed(format!(
                "{workload} is to have {wanted} pods that are ready: {missing}"
            ))
            .remedy(
                "Look at its pods by `kubectl describe pod`; give it more time by the step's `timeout`.",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The pods of a workload that have not ended.
async fn of_workload(cluster: &Cluster, workload: &Workload) -> Result<Option<Vec<Pod>>> {
    let (kind, name) = served(workload)?;
    let Some(scale) = cluster.dynamic(&kind).scale(name).await? else { return Ok(Some(Vec::new())) };
    let Some(selector) = scale.status.and_then(|status| status.selector) else { return Ok(None) };
    let pods = cluster.objects::<Pod>().list(&selector).await?;
    // Selectors of two workloads may overlap; the names of pods begin with their workload's.
    let prefix = format!("{name}-");
    let ended = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Failed" | "Succeeded"))
    };
    Ok(Some(pods.into_iter().filter(|pod| pod.name_any().starts_with(&prefix) && !ended(pod)).collect()))
}

/// What is still missing until a workload has exactly so many pods, all ready.
fn missing(pods: &[Pod], wanted: i32) -> Option<String> {
    let there = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    if there == wanted && pods.iter().all(is_ready) {
        return None;
    }
    let shown: Vec<String> =
        pods.iter().filter(|pod| there > wanted || !is_ready(pod)).map(unready).collect();
    let shown = if shown.is_empty() { String::new() } else { format!(": {}", shown.join("; ")) };
    Some(format!("it has {there}{shown}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, ready: bool, leaving: bool) -> Pod {
        let mut pod = json!({
            "metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        if leaving {
            pod["metadata"]["deletionTimestamp"] = Value::from("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn pods_that_are_being_deleted_are_still_there() {
        assert_eq!(missing(&[], 0), None);
        assert_eq!(missing(&[pod("web-0", true, true)], 0).unwrap(), "it has 1: web-0 is being deleted");
        assert!(missing(&[pod("web-0", true, true)], 1).is_some());
    }

    #[test]
    fn pods_that_are_not_ready_are_not_enough() {
        assert_eq!(missing(&[], 1).unwrap(), "it has 0");
        assert!(missing(&[pod("web-0", false, false)], 1).unwrap().contains("web-0"));
        assert_eq!(missing(&[pod("web-0", true, false)], 1), None);
    }

    #[test]
    fn a_scale_that_says_nothing_is_of_no_pods() {
        let scale = |spec: Value| replicas(&serde_json::from_value(json!({"spec": spec})).unwrap());
        assert_eq!((scale(json!({})), scale(json!({"replicas": 2}))), (0, 2));
    }

    #[test]
    fn only_what_can_be_scaled_is() {
        assert_eq!(scaled("sts/web").unwrap(), ("statefulsets/scale".to_owned(), "web".to_owned()));
        assert!(scaled("pod/web-0").is_err() && scaled("web").is_err());
    }
}
