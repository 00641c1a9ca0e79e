//! Finding the pods of a workload, and the one that is meant.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{Container, Pod, PodSpec, Service},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::ResourceExt;
use standstill_core::{Error, Result};

use super::{Peers, Target, TargetPod, TargetValues, Workload, absent, mounts};
use crate::{client::Cluster, pods::why_not_ready};

/// A workload as it is declared: what its pods would be like, and how they are found.
struct Declared {
    name: String,
    selector: String,
    template: PodSpec,
    /// For the volumes that a StatefulSet makes claims for.
    claims: BTreeMap<String, String>,
}

impl Target {
    /// Finds the target that values describe; its pod must be ready.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when there is no such workload, no ready pod, or more than one.
    pub async fn find(cluster: &Cluster, values: &TargetValues) -> Result<Self> {
        Self::find_all(cluster, values).await.and_then(Self::only)
    }

    /// Finds all that may be meant: each pod that is ready, by their names. There is one at least.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when there is no such workload, or no ready pod.
    pub async fn find_all(cluster: &Cluster, values: &TargetValues) -> Result<Vec<Self>> {
        Self::look(cluster, values, true).await
    }

    /// As [`Target::find_all`], but a workload whose pods are not there is known by its template: that is enough to
    /// restore, and to verify.
    ///
    /// # Errors
    /// As [`Target::find_all`].
    pub async fn find_all_or_template(cluster: &Cluster, values: &TargetValues) -> Result<Vec<Self>> {
        Self::look(cluster, values, false).await
    }

    /// The only one of those that may be meant.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when there are several.
    pub fn only(mut found: Vec<Self>) -> Result<Self> {
        match (found.pop(), found.as_slice()) {
            (Some(only), []) => Ok(only),
            (last, others) => {
                let all: Vec<&Self> = others.iter().chain(&last).collect();
                Err(several(&all))
            }
        }
    }

    async fn look(cluster: &Cluster, values: &TargetValues, running: bool) -> Result<Vec<Self>> {
        let namespace = values.namespace.as_deref().unwrap_or(cluster.namespace());
        let cluster = cluster.in_namespace(namespace);
        let container = values.container.as_deref();
        match (&values.workload, &values.labels) {
            (Some(workload), _) => of_workload(&cluster, &workload.parse()?, container, running).await,
            (None, Some(labels)) => {
                let peers = Peers { selector: labels.clone(), prefix: String::new() };
                let pods = peers.pods(&cluster).await?;
                if pods.is_empty() && let Some(error) = absent::no_namespace(&cluster).await {
                    return Err(error);
                }
                let ready = ready(&pods, &format!("pods with the labels {labels}"), namespace)?;
                of_pods(&ready, labels, container, Some(peers))
            }
            (None, None) => Err(Error::input("the target's workload is not given")
                .remedy("Add `--set target.workload=statefulset/NAME` (or deployment/NAME, service/NAME, pod/NAME), or `target:` to the values file.")),
        }
    }
}

fn several(found: &[&Target]) -> Error {
    let names: Vec<&str> =
        found.iter().filter_map(|target| target.pod.as_ref()).map(|pod| pod.name.as_str()).collect();
    let (what, namespace) =
        found.first().map_or(("it", ""), |first| (first.found_by.as_str(), first.namespace.as_str()));
    Error::input(format!(
        "{what} in the namespace {namespace} has {} pods that are ready: {}",
        names.len(),
        names.join(", ")
    ))
    .remedy(
        "Name one of them: `--set target.workload=pod/NAME`; or ask for a role, where the blueprint knows roles: \
         `--set role=primary`.",
    )
}

async fn of_workload(
    cluster: &Cluster,
    workload: &Workload,
    container: Option<&str>,
    running: bool,
) -> Result<Vec<Target>> {
    let (shown, namespace) = (workload.to_string(), cluster.namespace());
    let declared = match workload {
        Workload::Pod(name) => {
            let pod = cluster.objects::<Pod>().find(name).await?;
            let pods = [absent::found(cluster, workload, pod).await?];
            return of_pods(&ready(&pods, &shown, namespace)?, &shown, container, None);
        }
        Workload::Service(name) => {
            let service = cluster.objects::<Service>().find(name).await?;
            let peers = of_service(&absent::found(cluster, workload, service).await?)?;
            let pods = peers.pods(cluster).await?;
            return of_pods(&ready(&pods, &shown, namespace)?, &shown, container, Some(peers));
        }
        Workload::StatefulSet(name) => {
            let set = cluster.objects::<StatefulSet>().find(name).await?;
            of_stateful_set(&absent::found(cluster, workload, set).await?)
        }
        Workload::Deployment(name) => {
            let deployment = cluster.objects::<Deployment>().find(name).await?;
            of_deployment(&absent::found(cluster, workload, deployment).await?)
        }
    };
    // Selectors of two workloads may overlap; the names of pods begin with their workload's.
    let peers = Peers { selector: declared.selector.clone(), prefix: format!("{}-", declared.name) };
    let pods = peers.pods(cluster).await?;
    if pods.is_empty() && !running {
        return Ok(vec![of_template(namespace, &declared, workload, container)?]);
    }
    of_pods(&ready(&pods, &shown, namespace)?, &shown, container, Some(peers))
}

/// Each pod as a target; where there are several, with how they are found.
fn of_pods(
    pods: &[&Pod],
    found_by: &str,
    container: Option<&str>,
    peers: Option<Peers>,
) -> Result<Vec<Target>> {
    let peers = peers.filter(|_| pods.len() > 1);
    let of_one = |pod: &&Pod| Ok(Target { peers: peers.clone(), ..of_pod(pod, found_by, container)? });
    pods.iter().map(of_one).collect()
}

/// The pods behind a Service.
fn of_service(service: &Service) -> Result<Peers> {
    let labels = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector: Vec<String> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    if selector.is_empty() {
        return Err(Error::input(format!(
            "the Service {} selects no pods by their labels",
            service.name_any()
        ))
        .remedy("Name the workload of the database instead."));
    }
    Ok(Peers { selector: selector.join(","), prefix: String::new() })
}

fn of_stateful_set(set: &StatefulSet) -> Declared {
    let spec = set.spec.clone().unwrap_or_default();
    let name = set.name_any();
    let templates = spec.volume_claim_templates.unwrap_or_default();
    let claims = templates
        .iter()
        .map(|template| (template.name_any(), format!("{}-{name}-0", template.name_any())))
        .collect();
    Declared {
        selector: selector(&spec.selector),
        template: spec.template.spec.unwrap_or_default(),
        claims,
        name,
    }
}

fn of_deployment(deployment: &Deployment) -> Declared {
    let spec = deployment.spec.clone().unwrap_or_default();
    Declared {
        name: deployment.name_any(),
        selector: selector(&spec.selector),
        template: spec.template.spec.unwrap_or_default(),
        claims: BTreeMap::new(),
    }
}

/// A selector as the API takes it in a query.
fn selector(selector: &LabelSelector) -> String {
    let mut parts: Vec<String> =
        selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    for rule in selector.match_expressions.iter().flatten() {
        let values = rule.values.as_deref().unwrap_or_default().join(",");
        parts.push(match rule.operator.as_str() {
            "In" => format!("{} in ({values})", rule.key),
            "NotIn" => format!("{} notin ({values})", rule.key),
            "DoesNotExist" => format!("!{}", rule.key),
            _ => rule.key.clone(),
        });
    }
    parts.join(",")
}

/// Whether a pod is ready, and stays.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// The pods that are ready: one at least.
pub(super) fn ready<'a>(pods: &'a [Pod], what: &str, namespace: &str) -> Result<Vec<&'a Pod>> {
    let ready: Vec<&Pod> = pods.iter().filter(|pod| is_ready(pod)).collect();
    if !ready.is_empty() {
        return Ok(ready);
    }
    if pods.is_empty() {
        return Err(Error::input(format!("{what} in the namespace {namespace} has no pod"))
            .remedy("Check the name, and that it is scaled to at least one."));
    }
    Err(Error::input(format!(
        "{what} in the namespace {namespace} has no pod that is ready: {}",
        pods.iter().map(unready).collect::<Vec<_>>().join("; ")
    ))
    .remedy("Look at its pods by `kubectl describe pod`; a backup needs a database that answers."))
}

/// A pod, and why it is not ready.
pub(crate) fn unready(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return format!("{} is being deleted", pod.name_any());
    }
    let why = why_not_ready(pod);
    if why.is_empty() { pod.name_any() } else { format!("{} ({why})", pod.name_any()) }
}

/// The target that a running pod is.
pub(super) fn of_pod(pod: &Pod, found_by: &str, container: Option<&str>) -> Result<Target> {
    let spec = pod.spec.clone().unwrap_or_default();
    let name = pod.name_any();
    let chosen = choose(&spec, container, found_by)?;
    let mounts = mounts::of_container(chosen, &spec, Some(&name), &|_| None)?;
    let namespace = pod.namespace().unwrap_or_default();
    let mut target = describe(&namespace, found_by, &spec, chosen, mounts);
    target.pod = Some(TargetPod::of(pod)?);
    Ok(target)
}

fn of_template(
    namespace: &str,
    declared: &Declared,
    workload: &Workload,
    container: Option<&str>,
) -> Result<Target> {
    let found_by = workload.to_string();
    let chosen = choose(&declared.template, container, &found_by)?;
    let claim_of = |volume: &str| declared.claims.get(volume).cloned();
    let mounts = mounts::of_container(chosen, &declared.template, None, &claim_of)?;
    Ok(describe(namespace, &found_by, &declared.template, chosen, mounts))
}

fn describe(
    namespace: &str,
    found_by: &str,
    spec: &PodSpec,
    container: &Container,
    mounts: Vec<super::Mount>,
) -> Target {
    let own = container.security_context.as_ref();
    let of_pod = spec.security_context.as_ref();
    Target {
        namespace: namespace.to_owned(),
        found_by: found_by.to_owned(),
        peers: None,
        pod: None,
        container: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        pull_policy: container.image_pull_policy.clone(),
        pull_secrets: spec.image_pull_secrets.iter().flatten().map(|secret| secret.name.clone()).collect(),
        mounts,
        run_as_user: own.and_then(|own| own.run_as_user).or_else(|| of_pod.and_then(|pod| pod.run_as_user)),
        run_as_group: own
            .and_then(|own| own.run_as_group)
            .or_else(|| of_pod.and_then(|pod| pod.run_as_group)),
        tolerations: spec
            .tolerations
            .iter()
            .flatten()
            .filter_map(|toleration| serde_json::to_value(toleration).ok())
            .collect(),
    }
}

/// The container that is named, or the only one.
fn choose<'a>(spec: &'a PodSpec, wanted: Option<&str>, found_by: &str) -> Result<&'a Container> {
    let names =
        || spec.containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>().join(", ");
    match (wanted, spec.containers.as_slice()) {
        (Some(wanted), containers) => {
            containers.iter().find(|container| container.name == wanted).ok_or_else(|| {
                Error::input(format!("{found_by} has no container {wanted}"))
                    .remedy(format!("Its containers are: {}.", names()))
            })
        }
        (None, [container]) => Ok(container),
        (None, _) => Err(Error::input(format!("{found_by} has several containers"))
            .remedy(format!("Add `--set target.container=` with one of: {}.", names()))),
    }
}
