//! Recovering a dead run from outside: by a pod like its own, which reaches what the run reached.

use std::collections::BTreeMap;

use k8s_openapi::api::{batch::v1::Job, core::v1::ConfigMap};
use kube::{
    ResourceExt,
    api::{DeleteParams, Preconditions},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use standstill_core::{Error, Result, point::RunId, runner::Recovered};

use super::{
    Follow, ORDERS_FILE, Orders, Placed, RunnerLine,
    follow::{BEGUN, Followed},
    manifests::{self, beside},
    of_launch, remove,
};
use crate::{
    client::{Cluster, Objects},
    names,
    target::{Target, TargetPod, TargetValues, Workload},
};

/// The role of a pod that recovers.
const RECOVERY: &str = "recovery";

/// Recovers a dead run whose objects are still there, and removes them; `None` when they are gone.
///
/// # Errors
/// As those of [`super::follow`].
pub async fn recover(
    cluster: &Cluster,
    run: &RunId,
    told: &mut dyn Follow,
) -> Result<Option<Vec<Recovered>>> {
    let Some(job) = cluster.objects::<Job>().find(&of_launch(run)).await? else { return Ok(None) };
    let Some(orders) = cluster.objects::<ConfigMap>().find(&of_launch(run)).await? else { return Ok(None) };
    let now = Box::pin(Now::look(cluster, &read(&orders)?)).await;
    if let Err(error) = now.tell(cluster, &orders).await {
        tracing::warn!("the recovery is not told where the target is now: {}", error.chain());
    }
    let name = names::of_run(RECOVERY, run);
    let node = now.own.as_ref().map(|pod| pod.node.as_str());
    let jobs = cluster.objects::<Job>();
    // One of an earlier recovery that was broken off.
    jobs.delete(&name).await?;
    jobs.wait(&name, super::tidy::TIDYING, |job| Ok(job.is_none().then_some(()))).await?;
    let labels = labels(run);
    let own = jobs.create(&manifest(&job, &name, &labels, node)?).await?;
    let followed = Followed { run, labels: &labels, job: &name, begun: BEGUN };
    let outcome = Box::pin(followed.to_end(cluster, told)).await;
    if let Err(error) = remove_own(&jobs, &own).await {
        tracing::warn!("the Job {name} is left: {}", error.chain());
    }
    match outcome? {
        RunnerLine::Recovered(recovered) => {
            if recovered.iter().all(Recovered::is_whole) {
                remove(cluster, run).await?;
            }
            Ok(Some(recovered))
        }
        _ => Err(Error::failed(format!(
            "the recovery of run {run} ended with something else than its outcome"
        ))),
    }
}

/// The labels of one recovery's pod. That of an earlier one may still be there: its Job goes first.
fn labels(run: &RunId) -> BTreeMap<String, String> {
    let mut labels = names::labels(run, RECOVERY);
    labels.insert(names::ATTEMPT.to_owned(), RunId::generate().to_string());
    labels
}

/// Removes the Job of this recovery; not that of a later one, which has the same name and may be letting go.
async fn remove_own(jobs: &Objects<Job>, own: &Job) -> Result<()> {
    let preconditions = Preconditions { uid: own.uid(), ..Preconditions::default() };
    jobs.delete_with(&own.name_any(), &DeleteParams::background().preconditions(preconditions))
        .await
        .map(drop)
}

/// Where a member of a dead run is; `None` when its orders are gone.
///
/// # Errors
/// When the API server cannot be asked, or the orders are not understood.
pub(crate) async fn placed(cluster: &Cluster, run: &RunId, member: &str) -> Result<Option<Placed>> {
    let Some(orders) = cluster.objects::<ConfigMap>().find(&of_launch(run)).await? else { return Ok(None) };
    let mut orders: Orders = read(&orders)?;
    // A run of one member alone has but one place.
    Ok(if orders.members.is_empty() { Some(orders.place) } else { orders.members.remove(member) })
}

pub(super) fn read<T: DeserializeOwned>(orders: &ConfigMap) -> Result<T> {
    let text = orders.data.iter().flatten().map(|(_, text)| text.as_str()).next().unwrap_or_default();
    serde_json::from_str(text).map_err(|cause| {
        Error::failed("the orders of the dead run are not understood")
            .remedy("Use the version of Standstill that started it.")
            .because(cause)
    })
}

/// The pods that the targets of a dead run have now: the dead run's own node may be gone, and its target's pod replaced.
#[derive(Debug, Default)]
struct Now {
    /// Of the target that its pod is made like.
    own: Option<TargetPod>,
    /// Of the members of a group, by their names.
    members: BTreeMap<String, TargetPod>,
}

impl Now {
    /// Looks for them. One that is not found now is left out.
    async fn look(cluster: &Cluster, orders: &Orders) -> Self {
        let mut now = Self { own: pod_of(cluster, &orders.place.target).await, members: BTreeMap::new() };
        for (member, placed) in &orders.members {
            if let Some(pod) = pod_of(cluster, &placed.target).await {
                now.members.insert(member.clone(), pod);
            }
        }
        now
    }

    /// Tells whoever recovers the run by its orders.
    async fn tell(&self, cluster: &Cluster, orders: &ConfigMap) -> Result<()> {
        let before: Value = read(orders)?;
        let after = self.within(before.clone())?;
        if after == before {
            return Ok(());
        }
        let patch = json!({"data": manifests::orders_data(&after.to_string())});
        cluster.objects::<ConfigMap>().merge(&orders.name_any(), &patch).await.map(drop)
    }

    /// The orders with these pods; all else is as whichever version wrote it.
    fn within(&self, mut orders: Value) -> Result<Value> {
        let written = |pod: &TargetPod| {
            serde_json::to_value(pod)
                .map_err(|cause| Error::failed("the target's pod cannot be written").because(cause))
        };
        if let Some(pod) = &self.own {
            orders["place"]["target"]["pod"] = written(pod)?;
        }
        for (member, pod) in &self.members {
            orders["members"][member]["target"]["pod"] = written(pod)?;
        }
        Ok(orders)
    }
}

/// The pod that a target has now; none where it is not ready.
async fn pod_of(cluster: &Cluster, known: &Target) -> Option<TargetPod> {
    let pod = known.pod.as_ref()?;
    // Of several pods it is this one whose claims the dead run mounted, whatever its role is now.
    let of_several = known.peers.as_ref().map(|_| format!("pod/{}", pod.name));
    let by_workload = known.found_by.parse::<Workload>().is_ok().then(|| known.found_by.clone());
    let workload = of_several.or(by_workload);
    let labels = workload.is_none().then(|| known.found_by.clone());
    let container = Some(known.container.clone());
    let values = TargetValues { workload, labels, container, ..TargetValues::default() };
    Target::find(cluster, &values).await.ok()?.pod
}

/// The dead run's own pod again, told to recover it.
fn manifest(job: &Job, name: &str, labels: &BTreeMap<String, String>, node: Option<&str>) -> Result<Value> {
    let template = job.spec.as_ref().map(|spec| &spec.template);
    let pod = template.and_then(|template| template.spec.as_ref());
    let mut pod = serde_json::to_value(pod)
        .map_err(|cause| Error::failed("the pod of the dead run cannot be made again").because(cause))?;
    pod["affinity"] = node.map_or(Value::Null, beside);
    // Nothing on a claim for scratch copies is needed any more, and it may be bound to another node.
    if let Some(scratch) = pod["volumes"]
        .as_array_mut()
        .and_then(|volumes| volumes.iter_mut().find(|volume| volume["name"] == "scratch"))
    {
        *scratch = json!({"name": "scratch", "emptyDir": {}});
    }
    let program = pod["containers"][0]["command"][0].take();
    pod["containers"][0]["command"] = json!([program, "agent", "runner", "--recover", ORDERS_FILE]);
    // A failpoint was for the run alone.
    if let Some(environment) = pod["containers"][0]["env"].as_array_mut() {
        environment.retain(|variable| variable["name"] != "STANDSTILL_FAILPOINT");
    }
    Ok(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": manifests::KEPT_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_recovers_is_the_dead_runs_own_without_its_scratch_copies() {
        let job = json!({"spec": {"template": {"spec": {
            "containers": [{"name": "runner", "command": ["/standstill", "agent", "runner", "orders"], "env": [{"name": "STANDSTILL_FAILPOINT", "value": "1"}]}],
            "volumes": [
                {"name": "claim-0", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "scratch", "persistentVolumeClaim": {"claimName": "standstill-scratch-1"}},
            ],
        }}}});
        let job: Job = serde_json::from_value(job).unwrap();
        let made = manifest(&job, "recovery", &labels(&RunId::generate()), Some("node-2")).unwrap();
        let pod = &made["spec"]["template"]["spec"];
        assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "data");
        assert_eq!(pod["volumes"][1], json!({"name": "scratch", "emptyDir": {}}));
        assert_eq!(pod["containers"][0]["env"], json!([]));
        let command = pod["containers"][0]["command"].as_array().unwrap();
        assert_eq!(command[..4], ["/standstill", "agent", "runner", "--recover"]);
    }

    #[test]
    fn whoever_recovers_a_run_is_told_of_the_pods_that_are_there_now_and_of_nothing_else() {
        let place = |pod: &str| {
            let pod = json!({"name": pod, "uid": "1", "address": "10.0.0.1", "node": "node-1"});
            json!({"target": {"foundBy": "deployment/db", "pod": pod}, "ofANewerVersion": true})
        };
        let orders =
            json!({"place": place("a-1"), "members": {"a": place("a-1"), "b": place("b-1")}, "run": "1"});
        let now = TargetPod {
            name: "a-2".into(),
            uid: "2".into(),
            address: "10.0.0.2".into(),
            node: "node-2".into(),
        };
        let nothing = Now::default().within(orders.clone()).unwrap();
        assert_eq!(nothing, orders);
        let members = BTreeMap::from([("a".to_owned(), now.clone())]);
        let told = Now { own: Some(now), members }.within(orders.clone()).unwrap();
        let mut expected = orders;
        let pod = json!({"name": "a-2", "uid": "2", "address": "10.0.0.2", "node": "node-2"});
        expected["place"]["target"]["pod"] = pod.clone();
        expected["members"]["a"]["target"]["pod"] = pod;
        assert_eq!(told, expected);
    }

    #[test]
    fn the_pod_of_an_earlier_recovery_is_not_taken_for_that_of_a_later_one() {
        let run = RunId::generate();
        let (earlier, later) = (labels(&run), labels(&run));
        let job: Job = serde_json::from_value(json!({"spec": {"template": {"spec": {
            "containers": [{"name": "runner", "command": ["/standstill", "agent", "runner", "orders"]}],
        }}}}))
        .unwrap();
        let of_pod = |labels| {
            let made = manifest(&job, "recovery", labels, None).unwrap();
            serde_json::from_value::<BTreeMap<String, String>>(
                made["spec"]["template"]["metadata"]["labels"].clone(),
            )
            .unwrap()
        };
        assert_eq!(of_pod(&later), later);
        let selector = names::of_labels(&later);
        let is_selected = |pod: &BTreeMap<String, String>| {
            selector
                .split(',')
                .all(|label| pod.iter().any(|(name, value)| label == format!("{name}={value}")))
        };
        assert!(is_selected(&of_pod(&later)));
        assert!(!is_selected(&of_pod(&earlier)));
    }
}
