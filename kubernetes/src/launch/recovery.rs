//! Recovering a dead run from outside: by a pod like its own, which reaches what the run reached.

use k8s_openapi::api::{batch::v1::Job, core::v1::ConfigMap};
use serde_json::{Value, json};
use standstill_core::{Error, Result, point::RunId, runner::Recovered};

use super::{
    Follow, ORDERS_FILE, Orders, Placed, RunnerLine,
    follow::{BEGUN, Followed},
    manifests::{self, beside},
    of_launch, remove,
};
use crate::{
    client::Cluster,
    names,
    target::{Target, TargetValues, Workload},
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
    let orders = read(&orders)?;
    let name = names::of_run(RECOVERY, run);
    let node = node(cluster, &orders).await;
    let jobs = cluster.objects::<Job>();
    // One of an earlier recovery that was broken off.
    jobs.delete(&name).await?;
    jobs.wait(&name, super::tidy::TIDYING, |job| Ok(job.is_none().then_some(()))).await?;
    jobs.create(&manifest(&job, &name, run, node.as_deref())?).await?;
    let followed = Followed { run, role: RECOVERY, job: &name, begun: BEGUN };
    let outcome = followed.to_end(cluster, told).await;
    jobs.delete(&name).await?;
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

/// Where a member of a dead run is; `None` when its orders are gone.
///
/// # Errors
/// When the API server cannot be asked, or the orders are not understood.
pub(crate) async fn placed(cluster: &Cluster, run: &RunId, member: &str) -> Result<Option<Placed>> {
    let Some(orders) = cluster.objects::<ConfigMap>().find(&of_launch(run)).await? else { return Ok(None) };
    let mut orders = read(&orders)?;
    // A run of one member alone has but one place.
    Ok(if orders.members.is_empty() { Some(orders.place) } else { orders.members.remove(member) })
}

pub(super) fn read(orders: &ConfigMap) -> Result<Orders> {
    let text = orders.data.iter().flatten().map(|(_, text)| text.as_str()).next().unwrap_or_default();
    serde_json::from_str(text).map_err(|cause| {
        Error::failed("the orders of the dead run are not understood")
            .remedy("Use the version of Standstill that started it.")
            .because(cause)
    })
}

/// The node that the target is on now; the dead run's own may be gone.
async fn node(cluster: &Cluster, orders: &Orders) -> Option<String> {
    let known = &orders.place.target;
    let pod = known.pod.as_ref()?;
    // Of several pods it is this one whose claims the dead run mounted, whatever its role is now.
    let of_several = known.peers.as_ref().map(|_| format!("pod/{}", pod.name));
    let by_workload = known.found_by.parse::<Workload>().is_ok().then(|| known.found_by.clone());
    let workload = of_several.or(by_workload);
    let labels = workload.is_none().then(|| known.found_by.clone());
    let container = Some(known.container.clone());
    let values = TargetValues { workload, labels, container, ..TargetValues::default() };
    Target::find(cluster, &values).await.ok()?.pod.map(|pod| pod.node)
}

/// The dead run's own pod again, told to recover it.
fn manifest(job: &Job, name: &str, run: &RunId, node: Option<&str>) -> Result<Value> {
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
        "metadata": {"name": name, "labels": names::labels(run, RECOVERY)},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": manifests::KEPT_SECONDS,
            "template": {"metadata": {"labels": names::labels(run, RECOVERY)}, "spec": pod},
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
        let made = manifest(&job, "recovery", &RunId::generate(), Some("node-2")).unwrap();
        let pod = &made["spec"]["template"]["spec"];
        assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "data");
        assert_eq!(pod["volumes"][1], json!({"name": "scratch", "emptyDir": {}}));
        assert_eq!(pod["containers"][0]["env"], json!([]));
        let command = pod["containers"][0]["command"].as_array().unwrap();
        assert_eq!(command[..4], ["/standstill", "agent", "runner", "--recover"]);
    }
}
