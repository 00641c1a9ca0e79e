//! A plan for people and for programs: what would run, where, rendered as far as it is known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Plan, PlannedStep, RunPlan};
use crate::{
    Result,
    hook::HoldKind,
    language::{Phase, Scope, references, render_value},
    units::milliseconds,
};

/// A plan, as it is shown. It holds no secret: secret parameters are in no template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShownPlan {
    /// The blueprint's name.
    pub blueprint: String,
    /// The action.
    pub action: String,
    /// Where the steps run.
    pub runtime: String,
    /// The ceiling for the time that writes wait, in milliseconds.
    pub max_freeze_milliseconds: u64,
    /// The ceiling for other holds, in milliseconds.
    pub max_hold_milliseconds: u64,
    /// How long a hold may outlive the runner, in milliseconds.
    pub lease_milliseconds: u64,
    /// The steps, in order.
    pub steps: Vec<ShownStep>,
}

/// A step, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShownStep {
    /// Its phase.
    pub phase: Phase,
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// What the author wrote, rendered where everything it needs is known.
    pub does: Value,
    /// What it holds, if it acquires a hold.
    pub hold: Option<ShownHold>,
    /// How long it may take, in milliseconds.
    pub timeout_milliseconds: u64,
}

/// A hold, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShownHold {
    /// How it ends when nobody releases it.
    pub kind: HoldKind,
    /// Whether writes wait while it is on.
    pub blocks_writes: bool,
}

impl Plan {
    /// The plan for people, with what is known rendered.
    ///
    /// # Errors
    /// When a step has no kind, or a template fails though everything that it needs is known.
    pub fn show(&self, runtime: &str) -> Result<ShownPlan> {
        let scope = self.static_scope();
        Ok(ShownPlan {
            blueprint: self.blueprint.metadata.name.clone(),
            action: self.request.action.clone(),
            runtime: runtime.to_owned(),
            max_freeze_milliseconds: milliseconds(self.limits.max_freeze),
            max_hold_milliseconds: milliseconds(self.limits.max_hold),
            lease_milliseconds: milliseconds(self.limits.lease),
            steps: self.steps.iter().map(|step| show(step, &scope)).collect::<Result<_>>()?,
        })
    }
}

/// The plan of a group: the steps of all members, in the order in which they are done.
pub(super) fn group(plan: &RunPlan, runtime: &str) -> Result<ShownPlan> {
    let mut shown = Vec::new();
    for step in plan.steps() {
        let of = plan.iter().find(|member| member.step(&step.id).is_some());
        let scope = of.map(Plan::static_scope).unwrap_or_default();
        shown.push(show(step, &scope)?);
    }
    Ok(ShownPlan {
        blueprint: plan.name.clone(),
        action: plan.request.action.clone(),
        runtime: runtime.to_owned(),
        max_freeze_milliseconds: milliseconds(plan.limits.max_freeze),
        max_hold_milliseconds: milliseconds(plan.limits.max_hold),
        lease_milliseconds: milliseconds(plan.limits.lease),
        steps: shown,
    })
}

fn show(step: &PlannedStep, scope: &Scope) -> Result<ShownStep> {
    let kind = step.kind()?.name();
    let written = serde_json::to_value(&step.step).unwrap_or_default();
    let does = written.get(kind).cloned().unwrap_or_default();
    Ok(ShownStep {
        phase: step.phase,
        id: step.id.clone(),
        kind: kind.to_owned(),
        does: render_known(&does, scope)?,
        hold: step.hold.map(|hold| ShownHold { kind: hold.kind, blocks_writes: hold.blocks_writes }),
        timeout_milliseconds: milliseconds(step.timeout),
    })
}

/// Renders every text whose references are all known, and leaves the others as they are written.
fn render_known(value: &Value, scope: &Scope) -> Result<Value> {
    match value {
        Value::Array(items) => items.iter().map(|item| render_known(item, scope)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| Ok((key.clone(), render_known(value, scope)?)))
            .collect::<Result<serde_json::Map<_, _>>>()
            .map(Value::Object),
        Value::String(_) => {
            let known = references(value).iter().all(|path| scope.at(path).is_some());
            if known { render_value(value, scope) } else { Ok(value.clone()) }
        }
        other => Ok(other.clone()),
    }
}
