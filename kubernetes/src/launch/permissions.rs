//! What a run may do: exactly what its plan needs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use standstill_core::plan::Plan;

use super::{around::around, manifests};
use crate::snapshot::api::GROUP_OF_GROUPS;

/// One rule of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The group of the API; empty for the core.
    pub api_group: String,
    /// The resources.
    pub resources: Vec<String>,
    /// The names of the objects, where they are known before; otherwise all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// The verbs.
    pub verbs: Vec<String>,
    /// What it is for, for people.
    pub reason: String,
}

/// The rules of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Permissions {
    /// In the target's namespace: a Role.
    pub namespaced: Vec<Rule>,
    /// On objects of no namespace: a ClusterRole. It only reads.
    pub cluster: Vec<Rule>,
}

impl Rule {
    pub(super) fn new(api_group: &str, resources: &[&str], verbs: &[&str], reason: &str) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            api_group: api_group.to_owned(),
            resources: owned(resources),
            resource_names: Vec::new(),
            verbs: owned(verbs),
            reason: reason.to_owned(),
        }
    }

    /// As a role holds it.
    pub fn manifest(&self) -> Value {
        let mut rule =
            json!({"apiGroups": [self.api_group], "resources": self.resources, "verbs": self.verbs});
        if !self.resource_names.is_empty() {
            rule["resourceNames"] = json!(self.resource_names);
        }
        rule
    }
}

impl Permissions {
    /// The Role, and the ClusterRole where one is needed, as a list that `kubectl apply` takes.
    pub fn manifests(&self, role: &str) -> Value {
        manifests::roles(self, role)
    }

    /// Also those of another member of a group.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        let add = |rules: &mut Vec<Rule>, more: Vec<Rule>| {
            for rule in more {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        };
        add(&mut self.namespaced, others.namespaced);
        add(&mut self.cluster, others.cluster);
        self
    }
}

/// What a plan needs on a target; `pod` is the target's, where it is known.
pub fn permissions(plan: &Plan, pod: Option<&str>) -> Permissions {
    let mut namespaced = vec![
        Rule::new("", &["configmaps"], &["create", "get", "list", "patch", "delete"], "the journal"),
        Rule::new(
            "coordination.k8s.io",
            &["leases"],
            &["create", "get", "list", "update", "delete"],
            "that the run lives, and the lock on the target",
        ),
        Rule::new("", &["pods"], &["get", "list"], "the target's address"),
    ];
    if plan.enters_target() {
        // Which verb a websocket needs differs between versions.
        let reason =
            "the commands that run in the target's own container; each run is given it on that pod alone";
        let mut rule = Rule::new("", &["pods/exec"], &["create", "get"], reason);
        rule.resource_names.extend(pod.map(str::to_owned));
        namespaced.push(rule);
    }
    namespaced.extend(around(plan));
    if plan.steps.iter().any(|step| step.step.pod.is_some()) {
        namespaced.extend(for_pods());
    }
    let mut cluster = Vec::new();
    if plan.takes_snapshots() {
        namespaced.extend(for_snapshots());
        if plan.steps.iter().any(|step| plan.keeps(step)) {
            namespaced.push(Rule::new(
                "snapshot.storage.k8s.io",
                &["volumesnapshots"],
                &["patch"],
                "snapshots that are kept",
            ));
        }
        cluster.extend(for_classes());
        if plan.captured_together().len() > 1 {
            let all = ["create", "get", "list", "watch", "delete"];
            let (group, reason) = (GROUP_OF_GROUPS, "one snapshot of several volumes");
            namespaced.push(Rule::new(group, &["volumegroupsnapshots"], &all, reason));
            let reason = "the class for several volumes of a driver";
            cluster.push(Rule::new(group, &["volumegroupsnapshotclasses"], &["list"], reason));
            let reason = "that a snapshot of several volumes and its content are bound";
            cluster.push(Rule::new(group, &["volumegroupsnapshotcontents"], &["get"], reason));
        }
    }
    Permissions { namespaced, cluster }
}

fn for_pods() -> Vec<Rule> {
    vec![
        Rule::new("", &["pods"], &["create", "watch", "delete"], "the pods of its steps `pod`"),
        Rule::new("", &["pods/log"], &["get"], "what their commands say"),
        Rule::new("", &["events"], &["list"], "why one does not begin"),
    ]
}

fn for_snapshots() -> Vec<Rule> {
    let all = ["create", "get", "list", "watch", "delete"];
    vec![
        Rule::new("snapshot.storage.k8s.io", &["volumesnapshots"], &all, "snapshots of the volumes"),
        Rule::new("", &["persistentvolumeclaims"], &all, "claims made of snapshots, for movers"),
        Rule::new("", &["pods"], &["create", "watch", "delete"], "movers"),
        Rule::new("", &["configmaps"], &["watch"], "that what movers are told is gone"),
        Rule::new("", &["pods/log"], &["get"], "what movers report"),
        Rule::new("", &["events"], &["list"], "why a mover does not begin"),
    ]
}

fn for_classes() -> Vec<Rule> {
    let group = "snapshot.storage.k8s.io";
    vec![
        Rule::new(group, &["volumesnapshotclasses"], &["get", "list"], "the class for a volume's driver"),
        Rule::new(group, &["volumesnapshotcontents"], &["get"], "that a snapshot and its content are bound"),
        Rule::new("storage.k8s.io", &["storageclasses"], &["get"], "a volume's driver"),
        Rule::new("", &["persistentvolumes"], &["get"], "a volume's driver"),
    ]
}

#[cfg(test)]
#[path = "permissions_tests.rs"]
mod tests;
