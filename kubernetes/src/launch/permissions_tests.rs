use std::sync::Arc;

use serde_json::{Value, json};
use standstill_core::{
    hook::{Hook, Hooks},
    language::Blueprint,
    plan::Plan,
};

use super::{Permissions, permissions};

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

fn of_backup(mode: &str) -> Permissions {
    of_plan(mode, &json!([]))
}

fn of_plan(mode: &str, quiesce: &Value) -> Permissions {
    of_phases(mode, quiesce, &json!([]))
}

fn of_phases(mode: &str, quiesce: &Value, prepare: &Value) -> Permissions {
    let capture = json!([{"name": "data", "snapshot": {"volume": "data", "mode": mode}}]);
    of_backup_action(&json!({"prepare": prepare, "quiesce": quiesce, "capture": capture}))
}

fn of_captures(capture: &Value, store: &Value) -> Permissions {
    of_backup_action(&json!({"capture": capture, "store": store}))
}

fn of_backup_action(backup: &Value) -> Permissions {
    let blueprint: Blueprint = serde_json::from_value(json!({
        "apiVersion": "standstill.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "db"},
        "spec": {
            "summary": "a database", "volumes": {"data": {"path": "/data"}},
            "parameters": {"front": {"type": "string"}},
            "actions": {"backup": backup},
        },
    }))
    .unwrap();
    let request = serde_json::from_value(json!({
        "blueprintText": "", "blueprintOrigin": "db.yaml", "action": "backup", "application": "db",
        "parameters": {"front": "web"}, "secrets": {}, "repository": null, "point": null,
    }))
    .unwrap();
    permissions(&Plan::make(Arc::new(blueprint), request, None, &NoHooks).unwrap(), Some("db-0"))
}

#[test]
fn a_backup_that_may_take_snapshots_needs_all_of_these() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&of_backup("auto")).unwrap());
}

#[test]
fn only_a_backup_of_several_volumes_may_take_snapshots_of_groups() {
    let of_groups = |capture: &Value, store: &Value| -> Vec<String> {
        let Permissions { namespaced, cluster } = of_captures(capture, store);
        let rules = namespaced.into_iter().chain(cluster);
        let of_groups = rules.filter(|rule| rule.api_group == "groupsnapshot.storage.k8s.io");
        of_groups.map(|rule| format!("{} {}", rule.resources.join(","), rule.verbs.join(","))).collect()
    };
    let snapshot =
        |name: &str, mode: &str| json!({"name": name, "snapshot": {"volume": "data", "mode": mode}});
    let both = json!([snapshot("one", "auto"), snapshot("two", "atomic")]);
    insta::assert_snapshot!(of_groups(&both, &json!([])).join("\n"), @r"
    volumegroupsnapshots create,get,list,watch,delete
    volumegroupsnapshotclasses list
    volumegroupsnapshotcontents get
    ");
    let none: [String; 0] = [];
    let read = json!([snapshot("one", "auto"), snapshot("two", "live")]);
    assert_eq!(of_groups(&read, &json!([])), none);
    let kept = json!([{"volume": {"from": "captures.two", "artifact": "two", "keep": "snapshot"}}]);
    assert_eq!(of_groups(&both, &kept), none);
}

#[test]
fn a_backup_that_reads_live_makes_no_pods_and_needs_nothing_of_the_whole_cluster() {
    let permissions = of_backup("live");
    assert!(permissions.cluster.is_empty());
    let may_make = |rule: &&super::Rule| rule.verbs.iter().any(|verb| verb == "create");
    let created: Vec<&str> =
        permissions.namespaced.iter().filter(may_make).map(|rule| rule.resources[0].as_str()).collect();
    assert_eq!(created, ["configmaps", "leases"]);
}

#[test]
fn only_a_plan_with_commands_in_the_target_may_enter_its_pod_and_no_other() {
    let enters = |quiesce| {
        let rules = of_plan("live", &quiesce).namespaced;
        rules.into_iter().find(|rule| rule.resources == ["pods/exec"])
    };
    let pair = |place: &str| json!([{"name": "pause", "pair": {"in": place, "acquire": ["pause"], "release": ["resume"], "blocksWrites": true}}]);
    assert_eq!(enters(pair("target")).unwrap().manifest()["resourceNames"], json!(["db-0"]));
    assert_eq!(enters(pair("runner")), None);
    assert_eq!(enters(json!([])), None);
}

#[test]
fn a_plan_that_changes_its_surroundings_may_change_what_it_names_and_nothing_else() {
    let prepare = json!([
        {"scale": {"workload": "deployment/{{ params.front }}", "replicas": 0}},
        {"scale": {"workload": "sts/{{ steps.x.stdout }}", "replicas": 0}},
        {"kube": {"apiVersion": "v1", "kind": "ConfigMap", "name": "made", "apply": {"data": {}}}},
        {"kube": {"apiVersion": "acme.example/v1", "kind": "Cluster", "name": "{{ params.front }}", "patch": {}}},
        {"kube": {"apiVersion": "acme.example/v1", "kind": "Ox", "plural": "oxen", "name": "{{ run.id }}", "delete": true}},
        {"kube": {"apiVersion": "acme.example/v1", "kind": "Cluster", "name": "web", "until": "result.found"}},
    ]);
    let shown = |rule: super::Rule| {
        let names = rule.resource_names.join(",");
        format!(
            "{}/{} [{names}] {}: {}",
            rule.api_group,
            rule.resources.join(","),
            rule.verbs.join(","),
            rule.reason
        )
    };
    let plain = of_phases("live", &json!([]), &json!([])).namespaced;
    let with = of_phases("live", &json!([]), &prepare).namespaced;
    let more: Vec<String> = with.into_iter().filter(|rule| !plain.contains(rule)).map(shown).collect();
    insta::assert_snapshot!(more.join("\n"), @r"
    apps/deployments/scale [web] get,patch: the workload that is scaled, and scaled back
    apps/statefulsets/scale,deployments/scale [] get,patch: the workload that is scaled, and scaled back
    /configmaps [made] get,patch,delete: the object that is applied, and put back
    /configmaps [] create: an object that is applied and not there yet
    acme.example/clusters [web] get,patch: the object that is patched, and put back
    acme.example/oxen [] get,delete: the object that is deleted, and put back
    acme.example/oxen [] create: the object that is deleted, when it is put back
    acme.example/clusters [web] get: the object that is waited for
    ");
}
