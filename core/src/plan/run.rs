//! The plan of a run: that of one blueprint, or those of all members of a group.

use std::sync::Arc;

use super::{Limits, Plan, PlannedStep, ShownPlan};
use crate::{
    Result,
    hook::Hooks,
    journal::RunRequest,
    language::{Group, OnQuiesceFailure, Phase, read_group},
    point::RecoveryPoint,
    runner::{Outline, StepOutline},
};

/// What a run does: the plan of each of its members, in the order in which they are quiesced. A run of one blueprint
/// has one, without a name.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// What was asked for; enough to make the plan again.
    pub request: RunRequest,
    /// The ceilings over the whole; each member's own apply to its holds too.
    pub limits: Limits,
    /// The name of the blueprint, or of the group.
    pub name: String,
    first: Plan,
    others: Vec<Plan>,
}

impl From<Plan> for RunPlan {
    fn from(plan: Plan) -> Self {
        let name = plan.blueprint.metadata.name.clone();
        Self { request: plan.request.clone(), limits: plan.limits, name, first: plan, others: Vec::new() }
    }
}

impl RunPlan {
    /// Makes the plan of a request: of one blueprint, or of a group with what is asked of each member in it. Nothing is
    /// touched. Blueprints are taken as they are: they were linted when they were bound.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] when a blueprint or the group cannot be read, has no such action, or when the
    /// recovery point has no such member.
    pub fn make(request: RunRequest, point: Option<&RecoveryPoint>, hooks: &dyn Hooks) -> Result<Self> {
        let of = |request: &RunRequest| {
            let point = match (point, &request.member) {
                (Some(point), Some(member)) => Some(Arc::new(point.member(member)?)),
                (point, _) => point.cloned().map(Arc::new),
            };
            Plan::remake(request.clone(), point, hooks)
        };
        let mut members = request.members.iter().map(of).collect::<Result<Vec<_>>>()?;
        if members.is_empty() {
            return of(&request).map(Self::from);
        }
        let group = read_group(&request.blueprint_origin, &request.blueprint_text)?;
        let limits = of_group(&group, &mut members)?;
        let others = members.split_off(1);
        let first = members.remove(0);
        Ok(Self { request, limits, name: group.metadata.name, first, others })
    }

    /// The plans of the members, in the order in which they are quiesced: the first one, and the others.
    pub fn members(&self) -> (&Plan, &[Plan]) {
        (&self.first, &self.others)
    }

    /// The plans of all members, in the order in which they are quiesced.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Plan> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether it is of a group.
    pub const fn is_group(&self) -> bool {
        !self.request.members.is_empty()
    }

    /// Whether the action ends with the commit of a recovery point.
    pub fn commits(&self) -> bool {
        self.request.action == "backup"
    }

    /// All steps, in the order in which they are done: phase by phase, and within a phase member by member. What lets
    /// go and cleans up goes the other way round.
    pub fn steps<'a>(&'a self) -> Vec<&'a PlannedStep> {
        let mut steps = Vec::new();
        for &phase in Phase::of_action(&self.request.action) {
            let mut members: Vec<&Plan> = self.iter().collect();
            if matches!(phase, Phase::Recover | Phase::Cleanup) {
                members.reverse();
            }
            let of_phase = |plan: &'a Plan| plan.steps.iter().filter(move |step| step.phase == phase);
            steps.extend(members.into_iter().flat_map(of_phase));
        }
        steps
    }

    /// What the order of things depends on.
    pub fn outline(&self) -> Outline {
        let outline = |step: &PlannedStep| StepOutline {
            id: step.id.clone(),
            phase: step.phase,
            hold: step.hold.is_some(),
            snapshot: step.step.snapshot.is_some(),
            puts_back: step.kind().is_ok_and(|kind| kind.changes_cluster()),
        };
        Outline { steps: self.steps().into_iter().map(outline).collect(), commits: self.commits() }
    }

    /// The plan for people, with what is known rendered.
    ///
    /// # Errors
    /// As [`Plan::show`].
    pub fn show(&self, runtime: &str) -> Result<ShownPlan> {
        if self.is_group() { super::show::group(self, runtime) } else { self.first.show(runtime) }
    }
}

/// Makes the plans those of one group's members; the ceilings over the whole.
fn of_group(group: &Group, members: &mut [Plan]) -> Result<Limits> {
    let limits = Limits::of_group(group, members)?;
    let block: Vec<bool> = members.iter().map(Plan::blocks_writes).collect();
    for (index, plan) in members.iter_mut().enumerate() {
        // A group's recovery point exists only when every member was proven.
        plan.on_quiesce_failure = OnQuiesceFailure::Fail;
        plan.others_wait = block.iter().enumerate().any(|(other, blocks)| other != index && *blocks);
        if group.spec.lease.is_some() {
            plan.limits.lease = limits.lease;
        }
    }
    Ok(limits)
}

impl Plan {
    /// Whether writes wait while something of this plan is held.
    fn blocks_writes(&self) -> bool {
        self.steps.iter().filter_map(|step| step.hold).any(|hold| hold.blocks_writes)
    }
}
