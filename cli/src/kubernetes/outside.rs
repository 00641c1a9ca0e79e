//! Looking at runs of a cluster, and recovering them, from outside.

use std::sync::Arc;

use standstill_core::{
    Result,
    journal::JournalStore,
    plan::{Plan, ShownPlan},
    runner::Host,
};
use standstill_kubernetes::{
    Cluster, ClusterJournals, ClusterLocks, KubernetesRuntime, RuntimeSettings,
    launch::{Permissions, Rule, permissions},
};

use crate::{
    arguments::{Global, Place},
    output,
};

async fn cluster(place: &Place) -> Result<Cluster> {
    Cluster::of_user(place.context.as_deref(), place.namespace.as_deref()).await
}

/// The journals of a namespace.
pub async fn journals(place: &Place) -> Result<Arc<dyn JournalStore>> {
    Ok(Arc::new(ClusterJournals::new(&cluster(place).await?)))
}

/// A host that can dispose of what dead runs left in a namespace.
pub async fn from_outside(host: Host, place: &Place) -> Result<Host> {
    let cluster = cluster(place).await?;
    Ok(Host {
        journals: Arc::new(ClusterJournals::new(&cluster)),
        locks: Arc::new(ClusterLocks::new(&cluster)),
        runtime: Arc::new(KubernetesRuntime::new(host.runtime, cluster, RuntimeSettings::default())),
        ..host
    })
}

/// Shows what would run, and what it would be allowed to do.
pub fn plan(global: &Global, plan: &Plan, render: fn(&ShownPlan) -> String) -> Result<u8> {
    let shown = plan.show("Kubernetes")?;
    let permissions = permissions(plan);
    let document = serde_json::json!({"plan": shown, "permissions": permissions});
    output::result(global, &document, || format!("{}\n{}", render(&shown), rules(&permissions)))?;
    Ok(output::DONE)
}

fn rules(permissions: &Permissions) -> String {
    let rule = |rule: &Rule| {
        let group = if rule.api_group.is_empty() { String::new() } else { format!(".{}", rule.api_group) };
        let resources: Vec<String> = rule.resources.iter().map(|name| format!("{name}{group}")).collect();
        format!("  {:46} {:40} {}\n", resources.join(", "), rule.verbs.join(", "), rule.reason)
    };
    let mut text = String::from("permissions in the target's namespace (a Role that the run owns)\n");
    text.extend(permissions.namespaced.iter().map(rule));
    if !permissions.cluster.is_empty() {
        text.push_str("\npermissions on objects of no namespace (the ClusterRole standstill-snapshots)\n");
        text.extend(permissions.cluster.iter().map(rule));
    }
    text
}
