//! The objects of a launch.

use std::{collections::BTreeMap, iter, path::Path};

use kube::{Resource, ResourceExt};
use serde_json::{Map, Value, json};
use standstill_core::{Error, Result};

use super::{Image, Launch, Permissions, Purpose, name, orders::OWN};
use crate::names;

/// Where the program is in the project's own image.
const PROGRAM: &str = "/standstill";
/// Where it is beside the target's programs.
const INSTALLED: &str = "/.standstill/bin/standstill";
/// The container of the run.
pub(super) const RUNNER: &str = names::RUNNER;
/// The container for helpers that outlive the runner.
const WITH_HELPERS: &str = "helpers";
/// The container that brings the program.
pub(super) const INSTALL: &str = "install";
/// A label: the namespace that an object without one belongs to.
pub(super) const NAMESPACE: &str = "standstill.dev/namespace";
/// The name of the role for what belongs to no namespace. It only reads, and is the same for all runs.
pub(super) const CLUSTER_ROLE: &str = "standstill-snapshots";
/// How long the objects of a run that nobody followed are kept after its end.
pub(super) const KEPT_SECONDS: u32 = 600;
/// How long a run that is told to end may take: a release has two minutes.
const GRACE_SECONDS: u32 = 180;
/// What root needs of its powers: to give files to their owners, and to run and end programs as those.
const ROOT: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"];
/// The key of the repository's password.
pub(super) const PASSWORD: &str = "password";
/// The volume with the repository's password.
const CREDENTIALS: &str = "credentials";
/// The volume with the secret parameters.
const PARAMETERS: &str = "parameters";
/// An empty volume that stands where a token would.
const NO_TOKEN: &str = "no-token";
/// Where Kubernetes mounts the token of a pod's account.
const TOKEN_DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A reference to an owner.
pub(super) fn owner<K: Resource<DynamicType = ()>>(version: &str, kind: &str, object: &K) -> Value {
    json!({
        "apiVersion": version,
        "kind": kind,
        "name": object.name_any(),
        "uid": object.uid().unwrap_or_default(),
    })
}

fn metadata(launch: &Launch, owner: Option<&Value>) -> Value {
    json!({
        "name": name(&launch.orders),
        "labels": names::labels(&launch.orders.run, RUNNER),
        "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
    })
}

pub(super) fn account(launch: &Launch) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(launch, None)})
}

pub(super) fn role(launch: &Launch, owner: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(launch, Some(owner)),
        "rules": rules(&launch.permissions.namespaced),
    })
}

fn rules(rules: &[super::Rule]) -> Vec<Value> {
    rules.iter().map(super::Rule::manifest).collect()
}

pub(super) fn binding(launch: &Launch, owner: &Value) -> Value {
    let name = name(&launch.orders);
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(launch, Some(owner)),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name}],
    })
}

pub(super) fn cluster_role(permissions: &Permissions) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": CLUSTER_ROLE, "labels": {names::MANAGED_BY: names::STANDSTILL}},
        "rules": rules(&permissions.cluster),
    })
}

/// The roles that a plan needs, for people who make them by themselves.
pub(super) fn roles(permissions: &Permissions, name: &str) -> Value {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "labels": {names::MANAGED_BY: names::STANDSTILL}},
        "rules": rules(&permissions.namespaced),
    });
    let of_cluster = (!permissions.cluster.is_empty()).then(|| cluster_role(permissions));
    let items: Vec<Value> = iter::once(role).chain(of_cluster).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

pub(super) fn cluster_binding(launch: &Launch, namespace: &str) -> Value {
    let mut metadata = metadata(launch, None);
    metadata["labels"][NAMESPACE] = json!(namespace);
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": CLUSTER_ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": name(&launch.orders), "namespace": namespace}],
    })
}

pub(super) fn secret(launch: &Launch, owner: &Value) -> Value {
    let mut data = Map::new();
    data.insert(PASSWORD.to_owned(), launch.password.expose().into());
    for (name, value) in &launch.environment {
        data.insert(name.clone(), value.expose().into());
    }
    for (name, value) in &launch.parameters {
        data.insert(parameter(name), value.expose().into());
    }
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(launch, Some(owner)),
        "stringData": data,
    })
}

/// Where the values of secret parameters are: by the names of their files, the names of Secrets and the keys.
pub(super) fn secret_keys(launch: &Launch) -> BTreeMap<String, (String, String)> {
    let own = launch.parameters.keys().map(|file| (file.clone(), (name(&launch.orders), parameter(file))));
    own.chain(launch.references.iter().map(|(file, place)| (file.clone(), place.clone()))).collect()
}

/// The key of a secret parameter.
fn parameter(name: &str) -> String {
    format!("parameter-{name}")
}

pub(super) fn orders(launch: &Launch, owner: Option<&Value>) -> Result<Value> {
    let text = serde_json::to_string(&launch.orders)
        .map_err(|cause| Error::failed("the orders of the run cannot be written").because(cause))?;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(launch, owner),
        "data": orders_data(&text),
    }))
}

/// What the ConfigMap of a run's orders holds.
pub(super) fn orders_data(text: &str) -> Value {
    let file = Path::new(super::ORDERS_FILE).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    json!({file: text})
}

pub(super) fn job(launch: &Launch) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(launch, None),
        "spec": {
            // A run that died is recovered by its journal, never begun again.
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {"labels": names::labels(&launch.orders.run, RUNNER)},
                "spec": pod(launch),
            },
        },
    })
}

fn pod(launch: &Launch) -> Value {
    let target = &launch.orders.place.target;
    let mut pod = json!({
        "restartPolicy": "Never",
        "serviceAccountName": name(&launch.orders),
        "enableServiceLinks": false,
        // Whose first process is not the runner: it would not be told of signals as other processes are, and would
        // have to look after the orphans of all others.
        "shareProcessNamespace": true,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "imagePullSecrets": target.pull_secrets.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
        "tolerations": target.tolerations,
        "securityContext": user(launch),
        "containers": containers(launch),
        "volumes": volumes(launch),
    });
    if launch.image == Image::Target {
        pod["initContainers"] = json!([install(launch)]);
    }
    if let Some(node) = &launch.mounts.node {
        pod["affinity"] = beside(node);
    }
    pod
}

/// On one node. Not by `nodeName`: the scheduler knows what else stands in the way, and says so.
pub(crate) fn beside(node: &str) -> Value {
    let node = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": node}],
    }}})
}

/// Who the pod runs as. Without `fsGroup`: nothing may change the owner of a database's files.
fn user(launch: &Launch) -> Value {
    let profile = json!({"type": "RuntimeDefault"});
    if launch.mounts.as_root || launch.owner.user == 0 {
        return json!({"runAsUser": 0, "runAsGroup": 0, "seccompProfile": profile});
    }
    let mut user = json!({"runAsNonRoot": true, "runAsUser": launch.owner.user, "seccompProfile": profile});
    if let Some(group) = launch.owner.group {
        user["runAsGroup"] = json!(group);
    }
    user
}

fn install(launch: &Launch) -> Value {
    let bin = format!("{OWN}/bin");
    json!({
        "name": INSTALL,
        "image": launch.orders.image,
        "command": [PROGRAM, "agent", "install", INSTALLED],
        "volumeMounts": [{"name": "bin", "mountPath": bin}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": restricted(&[]),
    })
}

/// What a container may do under the restricted profile, with these capabilities besides.
pub(crate) fn restricted(capabilities: &[&str]) -> Value {
    let mut context = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    });
    if !capabilities.is_empty() {
        context["capabilities"]["add"] = json!(capabilities);
    }
    context
}

/// The runner first: it is known by its place, too.
fn containers(launch: &Launch) -> Vec<Value> {
    let runner = runner(launch);
    if !launch.helpers {
        return vec![runner];
    }
    // As the runner, so that helpers find every file of the target that it does. What they need of secrets they are told.
    let mut helpers = runner.clone();
    helpers["name"] = json!(WITH_HELPERS);
    helpers["command"] = json!([program(launch), "agent", "helpers", socket()]);
    helpers["env"] = json!(plain_environment());
    let of_runner_alone = |mount: &Value| mount["name"] == CREDENTIALS || mount["name"] == PARAMETERS;
    let mut mounts = mounts(launch);
    mounts.retain(|mount| !of_runner_alone(mount));
    // Where something is mounted already, no token of the run's account is.
    mounts.push(json!({"name": NO_TOKEN, "mountPath": TOKEN_DIRECTORY, "readOnly": true}));
    helpers["volumeMounts"] = json!(mounts);
    // Helpers are small; the commands of a blueprint's author may not be.
    helpers["resources"] = json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "1Gi"}});
    vec![runner, helpers]
}

/// Where the container for helpers listens.
fn socket() -> String {
    format!("{OWN}/helpers/socket")
}

fn runner(launch: &Launch) -> Value {
    let capabilities = if launch.mounts.as_root { ROOT } else { &[] };
    let mut runner = json!({
        "name": RUNNER,
        "image": launch.orders.image,
        "command": command(launch),
        "env": environment(launch),
        "volumeMounts": mounts(launch),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "4Gi"}},
        "securityContext": restricted(capabilities),
    });
    if launch.image == Image::Target {
        let target = &launch.orders.place.target;
        runner["image"] = json!(target.image);
        runner["imagePullPolicy"] = json!(target.pull_policy);
    }
    runner
}

/// Where the program is in the run's container.
fn program(launch: &Launch) -> &'static str {
    match launch.image {
        Image::Target => INSTALLED,
        Image::Own => PROGRAM,
    }
}

fn command(launch: &Launch) -> Vec<&'static str> {
    let flag = match launch.purpose {
        Purpose::Run => None,
        Purpose::Roles => Some("--roles"),
    };
    [program(launch), "agent", "runner"].into_iter().chain(flag).chain([super::ORDERS_FILE]).collect()
}

fn environment(launch: &Launch) -> Vec<Value> {
    let of_pod = [("STANDSTILL_POD_UID", "metadata.uid")];
    let of_pod =
        of_pod.map(|(name, path)| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}));
    let secret = name(&launch.orders);
    let secrets = launch
        .environment
        .keys()
        .map(|key| json!({"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}));
    let helpers = launch.helpers.then(|| json!({"name": super::HELPERS, "value": socket()}));
    plain_environment().into_iter().chain(of_pod).chain(secrets).chain(helpers).collect()
}

fn plain_environment() -> [Value; 3] {
    let scratch = format!("{OWN}/scratch");
    let state = format!("{OWN}/state");
    [("HOME", &scratch), ("TMPDIR", &scratch), ("XDG_STATE_HOME", &state)]
        .map(|(name, value)| json!({"name": name, "value": value}))
}

fn mounts(launch: &Launch) -> Vec<Value> {
    let mut mounts = vec![
        json!({"name": "orders", "mountPath": format!("{OWN}/orders"), "readOnly": true}),
        json!({"name": CREDENTIALS, "mountPath": format!("{OWN}/credentials"), "readOnly": true}),
        json!({"name": "scratch", "mountPath": format!("{OWN}/scratch")}),
        json!({"name": "state", "mountPath": format!("{OWN}/state")}),
    ];
    if launch.image == Image::Target {
        mounts.insert(0, json!({"name": "bin", "mountPath": format!("{OWN}/bin"), "readOnly": true}));
    }
    if launch.helpers {
        mounts.push(json!({"name": "helpers", "mountPath": format!("{OWN}/helpers")}));
    }
    if has_parameters(launch) {
        mounts.push(json!({"name": PARAMETERS, "mountPath": super::PARAMETERS, "readOnly": true}));
    }
    if !launch.mounts.mounted.iter().any(|mounted| mounted.path == Path::new("/tmp")) {
        mounts.push(json!({"name": "tmp", "mountPath": "/tmp"}));
    }
    for mounted in &launch.mounts.mounted {
        let mut mount = json!({
            "name": volume_name(launch, &mounted.claim),
            "mountPath": mounted.path,
            "readOnly": mounted.read_only,
        });
        if let Some(sub_path) = &mounted.sub_path {
            mount["subPath"] = json!(sub_path);
        }
        mounts.push(mount);
    }
    mounts
}

fn has_parameters(launch: &Launch) -> bool {
    !launch.parameters.is_empty() || !launch.references.is_empty()
}

/// Claims may have names that volumes may not; so volumes are numbered.
fn volume_name(launch: &Launch, claim: &str) -> String {
    let position = claims(launch).iter().position(|known| *known == claim);
    format!("claim-{}", position.unwrap_or_default())
}

fn claims(launch: &Launch) -> Vec<&str> {
    let mut claims: Vec<&str> = launch.mounts.mounted.iter().map(|mounted| mounted.claim.as_str()).collect();
    claims.sort_unstable();
    claims.dedup();
    claims
}

fn volumes(launch: &Launch) -> Vec<Value> {
    let name = name(&launch.orders);
    let mut volumes: Vec<Value> = ["state", "tmp"].map(|name| json!({"name": name, "emptyDir": {}})).into();
    let scratch = launch.mounts.scratch.as_ref().map_or_else(
        || json!({"name": "scratch", "emptyDir": {}}),
        |claim| json!({"name": "scratch", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}),
    );
    volumes.insert(0, scratch);
    if launch.image == Image::Target {
        volumes.insert(0, json!({"name": "bin", "emptyDir": {}}));
    }
    if launch.helpers {
        volumes.extend(["helpers", NO_TOKEN].map(|name| json!({"name": name, "emptyDir": {}})));
    }
    volumes.push(json!({"name": "orders", "configMap": {"name": name}}));
    // Read by whoever the pod runs as: the files belong to root.
    volumes.push(json!({"name": CREDENTIALS, "secret": {
        "secretName": name,
        "items": [{"key": PASSWORD, "path": PASSWORD}],
    }}));
    if has_parameters(launch) {
        volumes.push(json!({"name": PARAMETERS, "projected": {"sources": parameters(launch)}}));
    }
    for (number, claim) in claims(launch).into_iter().enumerate() {
        volumes.push(json!({
            "name": format!("claim-{number}"),
            "persistentVolumeClaim": {"claimName": claim},
        }));
    }
    volumes
}

/// The files of secret parameters: from the run's own Secret, and from those that the values name.
fn parameters(launch: &Launch) -> Vec<Value> {
    let own: Vec<Value> =
        launch.parameters.keys().map(|name| json!({"key": parameter(name), "path": name})).collect();
    let mut sources = Vec::new();
    if !own.is_empty() {
        sources.push(json!({"secret": {"name": name(&launch.orders), "items": own}}));
    }
    for (parameter, (secret, key)) in &launch.references {
        sources.push(json!({"secret": {"name": secret, "items": [{"key": key, "path": parameter}]}}));
    }
    sources
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
