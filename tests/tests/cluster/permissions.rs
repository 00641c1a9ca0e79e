//! The rules that `plan` prints are enough, and each of them is needed: without it a run says so before it holds anything.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Postgres, Space, eventually,
    numbers::Numbers,
    place::{Outcome, Started},
    runs::states,
    sample::Random,
};

/// A rule as `plan` prints it.
#[derive(Debug, Clone)]
struct Rule {
    of_cluster: bool,
    number: usize,
    printed: Value,
}

/// Rules as a role has them, without one of them.
fn without(rules: &[Value], number: usize) -> Vec<Value> {
    let others = rules.iter().enumerate().filter(|(other, _)| *other != number);
    let rule = |rule: &Value| json!({"apiGroups": [rule["apiGroup"]], "resources": rule["resources"], "verbs": rule["verbs"]});
    others.map(|(_, printed)| rule(printed)).collect()
}

/// What `plan` prints.
struct Printed {
    namespaced: Vec<Value>,
    cluster: Vec<Value>,
}

impl Printed {
    fn by_plan(space: &Space, blueprint: &[&str]) -> Self {
        let arguments: Vec<&str> = [&["plan"], blueprint].concat();
        let printed = space.run_plain(&arguments).json();
        // As the documentation has people apply them.
        let manifests = space.place.file("roles.json", &printed["manifests"].to_string());
        space.kubectl(&["apply", "--dry-run=server", "--filename", manifests.to_str().unwrap()]);
        let permissions = printed["permissions"].clone();
        let rules = |name: &str| permissions[name].as_array().unwrap().clone();
        Self { namespaced: rules("namespaced"), cluster: rules("cluster") }
    }

    fn rules(&self) -> Vec<Rule> {
        let all = [(false, &self.namespaced), (true, &self.cluster)];
        let numbered = all.into_iter().flat_map(|(of_cluster, rules)| {
            rules.iter().cloned().enumerate().map(move |(number, printed)| Rule {
                of_cluster,
                number,
                printed,
            })
        });
        numbered.collect()
    }

    /// Takes a rule from the account of a run.
    fn take(&self, space: &Space, run: &str, rule: &Rule) {
        if !rule.of_cluster {
            let patch = json!({"rules": without(&self.namespaced, rule.number)}).to_string();
            space.kubectl(&["patch", "role", run, "--type=merge", "--patch", &patch]);
            return;
        }
        // The role is that of all runs, and others need it now: this one gets another.
        let labels = json!({"app.kubernetes.io/managed-by": "standstill", "standstill.dev/role": "runner",
            "standstill.dev/namespace": space.name});
        let lesser = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": space.name},
            "rules": without(&self.cluster, rule.number),
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": run, "labels": labels},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": space.name},
            "subjects": [{"kind": "ServiceAccount", "name": run, "namespace": space.name}],
        });
        space.apply(&lesser.to_string());
        space.kubectl(&["delete", "clusterrolebinding", run]);
        space.apply(&binding.to_string());
    }
}

/// The one role that is removed with this value.
struct OfCluster<'a>(&'a Space);

impl Drop for OfCluster<'_> {
    fn drop(&mut self) {
        let name = &self.0.name;
        self.0.try_kubectl(&["delete", "clusterrole", name, "--ignore-not-found", "--wait=false"]);
    }
}

/// A run from whose account a rule is taken while its pod is being made; `None` when the pod was quicker, and the run has
/// begun.
fn run_without(
    space: &Space,
    start: &dyn Fn() -> Started,
    printed: &Printed,
    rule: &Rule,
) -> Option<Outcome> {
    let mut run = start();
    let mut name = String::new();
    let binding = if rule.of_cluster { "clusterrolebindings" } else { "rolebindings" };
    let selector = format!("--selector=standstill.dev/run,standstill.dev/namespace={}", space.name);
    let selector = if rule.of_cluster { &selector } else { "--selector=standstill.dev/run" };
    eventually(Duration::from_mins(2), "the account of the run has its rights", || {
        assert!(!run.has_ended(), "{}", run.stderr());
        let found = space.try_kubectl(&["get", binding, selector, "--output=name"]);
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        found.trim().rsplit('/').next().unwrap_or_default().clone_into(&mut name);
        !name.is_empty()
    });
    printed.take(space, &name, rule);
    let outcome = run.wait();
    let id = outcome.json()["run"].as_str().unwrap().to_owned();
    let began = states(space).iter().any(|(begun, _)| *begun == id);
    (!began).then_some(outcome)
}

/// Without this rule a run is refused before it begins, and says which it lacks.
#[track_caller]
fn refused_without(space: &Space, start: &dyn Fn() -> Started, printed: &Printed, rule: &Rule) {
    let tries = (0..10).find_map(|_| run_without(space, start, printed, rule));
    let outcome = tries.unwrap_or_else(|| panic!("the pod was always quicker: {rule:?}"));
    assert_eq!(outcome.code(), Some(2), "{rule:?}: {outcome}");
    let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
    println!("{message}");
    let verb = rule.printed["verbs"][0].as_str().unwrap();
    let resource = rule.printed["resources"][0].as_str().unwrap();
    assert!(message.contains(&format!("may not {verb} {resource}")), "{rule:?}: {message}");
    assert!(message.contains(rule.printed["reason"].as_str().unwrap()), "{rule:?}: {message}");
    space.assert_clean();
}

#[test]
fn each_rule_for_snapshots_of_several_volumes_is_needed_too() {
    let Some(space) = Space::new("rightsgroup") else { return };
    space.place.init();
    let numbers = Numbers::start(&space);
    let _of_cluster = OfCluster(&space);
    let printed = Printed::by_plan(&space, &[&numbers.blueprint]);
    let mut of_groups = printed.rules();
    of_groups.retain(|rule| rule.printed["apiGroup"] == "groupsnapshot.storage.k8s.io");
    assert_eq!(of_groups.len(), 3);
    let mut random = Random::of("cluster permissions of groups");
    for rule in random.sample(of_groups, 1) {
        refused_without(&space, &|| numbers.start_backup(&[], None), &printed, &rule);
    }
}

#[test]
fn each_rule_that_plan_prints_is_needed_and_named_before_anything_is_held() {
    let Some(space) = Space::new("rights") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let _of_cluster = OfCluster(&space);
    let printed = Printed::by_plan(&space, &["postgresql", "--set=dataDir=/var/lib/postgresql/data"]);
    let mut random = Random::of("cluster permissions");
    for rule in random.sample(printed.rules(), 2) {
        refused_without(&space, &|| server.start_backup("postgresql", &[]), &printed, &rule);
        assert_eq!(server.held(), Vec::<String>::new());
    }
    let whole = server.backup(&[]);
    assert_eq!(whole.code(), Some(0), "{whole}");
}

#[test]
fn a_cluster_role_of_an_older_version_gets_the_rules_that_it_lacks() {
    let Some(space) = Space::new("older") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let whole = server.backup(&[]);
    assert_eq!(whole.code(), Some(0), "{whole}");
    let rules = || space.get(&["clusterrole", "standstill-snapshots"])["rules"].as_array().unwrap().clone();
    let older: Vec<Value> =
        rules().into_iter().filter(|rule| rule["resources"][0] != "persistentvolumes").collect();
    let patch = json!({"rules": older}).to_string();
    // Others' runs check what they may again and again for a few seconds, so that this moment harms none.
    space.kubectl(&["patch", "clusterrole", "standstill-snapshots", "--type=merge", "--patch", &patch]);
    let next = server.backup(&[]);
    assert_eq!(next.code(), Some(0), "{next}");
    assert!(rules().iter().any(|rule| rule["resources"][0] == "persistentvolumes"), "{:?}", rules());
}
