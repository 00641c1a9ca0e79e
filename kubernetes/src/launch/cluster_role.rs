//! The one role for what belongs to no namespace. All runs share it, also those of other versions: one that an older
//! version made gets the rules that it lacks, and keeps those that it has.

use k8s_openapi::api::{
    authorization::v1::ResourceRule,
    rbac::v1::{ClusterRole, PolicyRule},
};
use kube::ResourceExt;
use serde_json::json;
use standstill_core::{ErrorKind, Result};

use super::{Permissions, Rule, granted::is_granted, manifests};
use crate::client::Cluster;

/// Makes the role, or completes it.
pub(super) async fn ensure(cluster: &Cluster, permissions: &Permissions) -> Result<()> {
    let roles = cluster.global::<ClusterRole>();
    let present = match roles.find(manifests::CLUSTER_ROLE).await {
        // Whoever may not look may make it; that what is there is enough is checked by the run.
        Err(error) if error.kind() == ErrorKind::Input => None,
        found => found?,
    };
    let Some(present) = present else {
        roles.create_new(&manifests::cluster_role(permissions)).await?;
        return Ok(());
    };
    let has = present.rules.clone().unwrap_or_default();
    let lacking = lacking(&has, permissions);
    if lacking.is_empty() {
        return Ok(());
    }
    let complete: Vec<_> =
        has.iter().map(|rule| json!(rule)).chain(lacking.into_iter().map(Rule::manifest)).collect();
    let patch = json!({"metadata": {"resourceVersion": present.resource_version()}, "rules": complete});
    // Whoever changed it meanwhile wanted the same.
    roles.merge_version(manifests::CLUSTER_ROLE, &patch).await?;
    Ok(())
}

/// The rules that are not wholly granted.
fn lacking<'a>(has: &[PolicyRule], permissions: &'a Permissions) -> Vec<&'a Rule> {
    let granted: Vec<ResourceRule> = has
        .iter()
        .map(|rule| ResourceRule {
            api_groups: rule.api_groups.clone(),
            resources: rule.resources.clone(),
            resource_names: rule.resource_names.clone(),
            verbs: rule.verbs.clone(),
        })
        .collect();
    permissions.cluster.iter().filter(|rule| !is_granted(rule, &granted)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rules_that_an_older_role_lacks_are_added() {
        let rule = |resource: &str, verbs: &[&str]| Rule {
            api_group: "storage.k8s.io".into(),
            resources: vec![resource.into()],
            resource_names: Vec::new(),
            verbs: verbs.iter().map(|verb| (*verb).into()).collect(),
            reason: "a test".into(),
        };
        let permissions = Permissions {
            namespaced: Vec::new(),
            cluster: vec![rule("storageclasses", &["get"]), rule("csidrivers", &["get", "list"])],
        };
        let has = |rules: &[Rule]| -> Vec<PolicyRule> {
            rules.iter().map(|rule| serde_json::from_value(rule.manifest()).unwrap()).collect()
        };
        assert!(lacking(&has(&permissions.cluster), &permissions).is_empty());
        let older = [rule("storageclasses", &["get", "list"]), rule("csidrivers", &["get"])];
        assert_eq!(lacking(&has(&older), &permissions), [&permissions.cluster[1]]);
        assert_eq!(lacking(&[], &permissions).len(), 2);
    }
}
