//! What whoever runs a backup from outside of the cluster has to be allowed: what a run in a pod is given, and what is
//! done there by mounts and by the pods' network.

use serde_json::Value;
use standstill_core::{
    language::{references, render_value},
    plan::Plan,
    secret::SecretReference,
};

use super::{Permissions, Rule, permissions};
use crate::{
    runtime::address::is_own,
    target::{TargetValues, Workload},
};

/// What a plan needs on a target, of who runs it; `values` say where the target is, `pod` is its pod, where it is known.
pub fn own_permissions(plan: &Plan, values: &TargetValues, pod: Option<&str>) -> Permissions {
    let mut needed = permissions(plan, pod);
    let mut rule = |group: &str, resource: &str, names: Vec<String>, verbs: &[&str], reason: &str| {
        let rule = Rule { resource_names: names, ..Rule::new(group, &[resource], verbs, reason) };
        needed.namespaced.push(rule);
    };
    match values.workload.as_deref().map(str::parse) {
        Some(Ok(Workload::StatefulSet(name))) => rule("apps", "statefulsets", vec![name], &["get"], TARGET),
        Some(Ok(Workload::Deployment(name))) => rule("apps", "deployments", vec![name], &["get"], TARGET),
        Some(Ok(Workload::Service(name))) => rule("", "services", vec![name], &["get"], TARGET),
        _ => {}
    }
    if dials_own_port(plan) {
        // Which verb a websocket needs differs between versions.
        let pod = pod.map(str::to_owned).into_iter().collect();
        rule("", "pods/portforward", pod, &["create", "get"], "connections to the database");
    }
    let read = plan.request.secrets.values().filter_map(|reference| match reference {
        SecretReference::Secret { name, .. } => Some(name.clone()),
        _ => None,
    });
    let mut read: Vec<String> = read.collect();
    read.sort();
    read.dedup();
    if !read.is_empty() {
        rule("", "secrets", read, &["get"], "the values of secret parameters");
    }
    if plan.takes_snapshots() {
        rule("", "secrets", Vec::new(), &["create"], "the repository's credentials, for movers");
    }
    needed
}

/// What else is needed where the target's pod does not say whom it runs as.
pub fn to_find_the_owner() -> Rule {
    let reason = "whose the files are, where the target's pod does not say whom it runs as by `runAsUser`";
    Rule::new("", &["pods/exec"], &["create", "get"], reason)
}

const TARGET: &str = "the target's pod";

/// Whether a connection is to the target's own host, as far as that is known before.
fn dials_own_port(plan: &Plan) -> bool {
    hosts(plan).any(|host| host.is_none_or(|host| is_own(&host)))
}

/// The host of a connection that is not the target's own, as far as that is known before.
pub fn dials_elsewhere(plan: &Plan) -> Option<String> {
    hosts(plan).flatten().find(|host| !is_own(host))
}

/// The hosts of all connections; `None` where that is not known before. Whoever says nothing means the target's own.
fn hosts(plan: &Plan) -> impl Iterator<Item = Option<String>> {
    let scope = plan.static_scope();
    plan.blueprint.spec.connections.values().map(move |connection| {
        let Some(host) = connection.0.get("host") else { return Some("localhost".to_owned()) };
        let known = references(host).iter().all(|path| scope.at(path).is_some());
        match render_value(host, &scope) {
            Ok(Value::String(host)) if known => Some(host),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use standstill_core::hook::{Hook, Hooks};

    use super::*;

    /// A fake: no hooks are needed to know what a plan does in the cluster.
    struct NoHooks;

    impl Hooks for NoHooks {
        fn get(&self, _name: &str) -> Option<Arc<dyn Hook>> {
            None
        }

        fn names(&self) -> Vec<&'static str> {
            Vec::new()
        }
    }

    /// A backup of a volume, over a connection to this host.
    fn plan(host: &str) -> Plan {
        let blueprint = json!({
            "apiVersion": "standstill.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "db"},
            "spec": {
                "summary": "a database", "volumes": {"data": {"path": "/data"}},
                "parameters": {"host": {"type": "string"}, "password": {"type": "secret"}},
                "connections": {"db": {"hook": "db", "host": "{{ params.host }}", "password": {"parameter": "password"}}},
                "actions": {"backup": {"capture": [{"snapshot": {"volume": "data"}}]}},
            },
        });
        let request = json!({
            "blueprintText": "", "blueprintOrigin": "db.yaml", "action": "backup", "application": "db",
            "parameters": {"host": host}, "secrets": {"password": {"secret": {"name": "pg", "key": "password"}}},
            "repository": null, "point": null,
        });
        let blueprint = Arc::new(serde_json::from_value(blueprint).unwrap());
        Plan::make(blueprint, serde_json::from_value(request).unwrap(), None, &NoHooks).unwrap()
    }

    /// The rules of such a backup, beyond those of a run in a pod.
    fn more(host: &str) -> Vec<String> {
        let plan = plan(host);
        let values = TargetValues { workload: Some("statefulset/pg".into()), ..TargetValues::default() };
        let (own, of_pod) = (own_permissions(&plan, &values, Some("pg-0")), permissions(&plan, Some("pg-0")));
        assert_eq!(own.cluster, of_pod.cluster);
        let rules = own.namespaced.into_iter().filter(|rule| !of_pod.namespaced.contains(rule));
        let show = |rule: Rule| {
            format!("{} {} {}", rule.verbs.join(","), rule.resources.join(","), rule.resource_names.join(","))
        };
        rules.map(show).collect()
    }

    #[test]
    fn whoever_runs_it_forwards_ports_and_reads_secrets_of_just_the_target() {
        assert_eq!(
            more("localhost"),
            ["get statefulsets pg", "create,get pods/portforward pg-0", "get secrets pg", "create secrets "]
        );
    }

    #[test]
    fn a_database_elsewhere_takes_no_port_of_the_target() {
        assert_eq!(more("db.example.org"), ["get statefulsets pg", "get secrets pg", "create secrets "]);
        assert_eq!(dials_elsewhere(&plan("db.example.org")).unwrap(), "db.example.org");
        assert_eq!(dials_elsewhere(&plan("127.0.0.1")), None);
    }
}
