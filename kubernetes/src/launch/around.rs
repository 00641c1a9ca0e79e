//! What a run may do to objects around its target: exactly what its steps `scale` and `kube` name.

use standstill_core::{
    cluster::ObjectName,
    language::{KubeStep, ScaleStep, Scope, StepKind, Template, references, render_text},
    plan::Plan,
};

use super::Rule;
use crate::surroundings::{object::served, scale::scaled};

/// The rules for the steps that change the cluster, or wait for it.
pub(super) fn around(plan: &Plan) -> Vec<Rule> {
    let scope = plan.static_scope();
    let mut rules: Vec<Rule> = Vec::new();
    for step in &plan.steps {
        let needed = match step.kind() {
            Ok(StepKind::Scale(scale)) => of_scale(scale, &scope),
            Ok(StepKind::Kube(kube)) => of_kube(kube, &scope),
            _ => Vec::new(),
        };
        for rule in needed {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    rules
}

/// A text that is known before the run.
fn known(template: &Template, scope: &Scope) -> Option<String> {
    let known = references(&template.0).iter().all(|path| scope.at(path).is_some());
    if known { render_text(template, scope).ok() } else { None }
}

fn of_scale(step: &ScaleStep, scope: &Scope) -> Vec<Rule> {
    let workload = known(&step.workload, scope).and_then(|workload| scaled(&workload).ok());
    let (resources, names) = match workload {
        Some((resource, name)) => (vec![resource], vec![name]),
        None => (["statefulsets/scale", "deployments/scale"].map(str::to_owned).to_vec(), Vec::new()),
    };
    let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
    let reason = "the workload that is scaled, and scaled back";
    vec![Rule { resource_names: names, ..Rule::new("apps", &resources, &["get", "patch"], reason) }]
}

fn of_kube(step: &KubeStep, scope: &Scope) -> Vec<Rule> {
    let object = ObjectName {
        api_version: step.api_version.clone(),
        kind: step.kind.clone(),
        plural: step.plural.clone(),
        name: known(&step.name, scope).unwrap_or_default(),
    };
    let kind = served(&object);
    let names: Vec<String> = if object.name.is_empty() { Vec::new() } else { vec![object.name] };
    let rule = |verbs: &[&str], names: &[String], reason: &str| Rule {
        resource_names: names.to_vec(),
        ..Rule::new(&kind.group, &[&kind.plural], verbs, reason)
    };
    // What is made has no name yet that a rule could be for.
    let made = |reason| rule(&["create"], &[], reason);
    let (verbs, what): (&[&str], &str) = if step.apply.is_some() {
        (&["get", "patch", "delete"], "the object that is applied, and put back")
    } else if step.patch.is_some() {
        (&["get", "patch"], "the object that is patched, and put back")
    } else if step.delete {
        (&["get", "delete"], "the object that is deleted, and put back")
    } else {
        (&["get"], "the object that is waited for")
    };
    let mut rules = vec![rule(verbs, &names, what)];
    if step.apply.is_some() {
        rules.push(made("an object that is applied and not there yet"));
    } else if step.delete {
        rules.push(made("the object that is deleted, when it is put back"));
    }
    rules
}
