//! Whether a run may do what its plan needs: asked before anything is held.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceRule, SelfSubjectRulesReview};
use serde_json::json;
use standstill_core::{Error, Result};

use super::{Permissions, Rule};
use crate::client::Cluster;

/// How often it is asked: what was granted a moment ago is not known to every server at once.
const TIMES: u32 = 4;
/// How long to wait between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// Whose rights are looked at, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grantee {
    /// The service account of a run in a pod.
    Run,
    /// Whoever runs it from outside of the cluster.
    User,
}

/// Checks that this process' account was granted every rule.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`], naming the first rule that is missing and what it is for.
pub async fn check_granted(cluster: &Cluster, permissions: &Permissions, to: Grantee) -> Result<()> {
    let namespace = cluster.namespace();
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    });
    for last in (1..=TIMES).map(|time| time == TIMES) {
        let review = cluster.global::<SelfSubjectRulesReview>().create(&question).await?;
        let Some(status) = review.status else { return Ok(()) };
        // Some ways of authorization cannot list what they grant; what is missing then shows when it is needed.
        if status.incomplete {
            return Ok(());
        }
        let Some(missing) = missing(permissions, &status.resource_rules) else { return Ok(()) };
        if last {
            return Err(missing.told(namespace, to));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// A permission that is needed and was not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Missing {
    verb: String,
    resource: String,
    api_group: String,
    reason: String,
    of_cluster: bool,
}

impl Missing {
    fn told(&self, namespace: &str, to: Grantee) -> Error {
        let place = if self.of_cluster { String::new() } else { format!(" in the namespace {namespace}") };
        let what = if self.api_group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.api_group)
        };
        let (account, more) = match to {
            Grantee::Run => ("its service account", ""),
            Grantee::User => ("whoever runs it from here", " --from-here"),
        };
        let role = if self.of_cluster { "ClusterRole" } else { "Role" };
        Error::input(format!(
            "the run may not {} {what}{place}, which it needs for this: {}",
            self.verb, self.reason
        ))
        .remedy(format!(
            "Grant the verb `{}` on `{}` (API group \"{}\") to {account} by a {role}; `standstill plan --on \
             kubernetes{more}` prints all rules.",
            self.verb, self.resource, self.api_group
        ))
    }
}

/// The first permission that is missing.
fn missing(needed: &Permissions, granted: &[ResourceRule]) -> Option<Missing> {
    let namespaced = needed.namespaced.iter().map(|rule| (rule, false));
    namespaced.chain(needed.cluster.iter().map(|rule| (rule, true))).find_map(|(rule, of_cluster)| {
        let (resource, verb) = refused(rule, granted)?;
        Some(Missing {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            api_group: rule.api_group.clone(),
            reason: rule.reason.clone(),
            of_cluster,
        })
    })
}

/// Whether all that a rule allows is granted.
pub(super) fn is_granted(rule: &Rule, granted: &[ResourceRule]) -> bool {
    refused(rule, granted).is_none()
}

/// The first resource and verb of a rule that are not granted.
fn refused<'a>(rule: &'a Rule, granted: &[ResourceRule]) -> Option<(&'a str, &'a str)> {
    let verbs_of = |name: &'a str| rule.verbs.iter().map(move |verb| (name, verb.as_str()));
    let mut pairs = rule.resources.iter().flat_map(|name| verbs_of(name));
    pairs.find(|(resource, verb)| !granted.iter().any(|granted| grants(granted, rule, resource, verb)))
}

fn grants(granted: &ResourceRule, rule: &Rule, resource: &str, verb: &str) -> bool {
    let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
    let names = granted.resource_names.as_deref().unwrap_or_default();
    // For what a run makes, a rule for certain names only is not enough: they are not known before.
    let of_these =
        !rule.resource_names.is_empty() && rule.resource_names.iter().all(|name| names.contains(name));
    (names.is_empty() || of_these)
        && has(granted.api_groups.as_deref().unwrap_or_default(), &rule.api_group)
        && has(granted.resources.as_deref().unwrap_or_default(), resource)
        && has(&granted.verbs, verb)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed() -> Permissions {
        let rule = |group: &str, resource: &str, verbs: &[&str]| Rule {
            api_group: group.into(),
            resources: vec![resource.into()],
            resource_names: Vec::new(),
            verbs: verbs.iter().map(|verb| (*verb).into()).collect(),
            reason: "a test".into(),
        };
        Permissions {
            namespaced: vec![rule("", "configmaps", &["get", "create"]), rule("", "pods/log", &["get"])],
            cluster: vec![rule("storage.k8s.io", "storageclasses", &["get"])],
        }
    }

    fn granted(rules: &[(&str, &str, &[&str])]) -> Vec<ResourceRule> {
        let rule = |(group, resource, verbs): &(&str, &str, &[&str])| ResourceRule {
            api_groups: Some(vec![(*group).into()]),
            resources: Some(vec![(*resource).into()]),
            resource_names: None,
            verbs: verbs.iter().map(|verb| (*verb).into()).collect(),
        };
        rules.iter().map(rule).collect()
    }

    #[test]
    fn each_verb_that_is_missing_is_found_and_named() {
        let all: [(&str, &str, &[&str]); 3] = [
            ("", "configmaps", &["create", "get"]),
            ("", "pods/log", &["*"]),
            ("storage.k8s.io", "storageclasses", &["get"]),
        ];
        assert_eq!(missing(&needed(), &granted(&all)), None);
        assert_eq!(missing(&needed(), &granted(&[("*", "*", &["*"])])), None);
        for without in 0..all.len() {
            let mut some = all.to_vec();
            let (_, resource, _) = some.remove(without);
            assert_eq!(missing(&needed(), &granted(&some)).unwrap().resource, resource);
        }
        let mut some = all;
        some[0].2 = &["get"];
        let error = missing(&needed(), &granted(&some)).unwrap().told("db", Grantee::Run);
        assert_eq!(
            error.to_string(),
            "the run may not create configmaps in the namespace db, which it needs for this: a test"
        );
    }

    #[test]
    fn a_rule_for_certain_names_is_not_enough() {
        let mut rules = granted(&[("*", "*", &["*"])]);
        rules[0].resource_names = Some(vec!["one".into()]);
        assert!(missing(&needed(), &rules).is_some());
    }

    #[test]
    fn a_rule_for_certain_names_is_enough_where_just_those_are_needed() {
        let mut needed = Permissions { cluster: Vec::new(), ..needed() };
        needed.namespaced.truncate(1);
        needed.namespaced[0].resource_names = vec!["one".into()];
        let mut rules = granted(&[("", "configmaps", &["get", "create"])]);
        assert_eq!(missing(&needed, &rules), None, "more is granted");
        for (name, enough) in [("one", true), ("other", false)] {
            rules[0].resource_names = Some(vec![name.into()]);
            assert_eq!(missing(&needed, &rules).is_none(), enough, "{name}");
        }
    }
}
