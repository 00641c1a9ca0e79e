//! From a blueprint and values to the list of steps.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Limits,
    limits::{duration, step_timeout},
};
use crate::{
    Error, Result,
    hook::{HoldKind, HoldTraits, Hooks, Tolerance},
    journal::RunRequest,
    language::{
        Action, Blueprint, OnQuiesceFailure, Phase, Scope, Step, StepKind, Tolerates, read, render_value,
    },
    point::{RecoveryPoint, qualified},
};

/// The recovery point that an action works on.
pub type Point = Arc<RecoveryPoint>;

/// What would run, in order, with everything that is known before it runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What was asked for; enough to make the plan again.
    pub request: RunRequest,
    /// The blueprint.
    pub blueprint: Arc<Blueprint>,
    /// The ceilings.
    pub limits: Limits,
    /// What a failed proof leads to.
    pub on_quiesce_failure: OnQuiesceFailure,
    /// The steps, in order within each phase.
    pub steps: Vec<PlannedStep>,
    /// The recovery point that is restored or verified.
    pub point: Option<Point>,
    /// Whether writes to another member of its group wait while this one is captured.
    pub others_wait: bool,
}

/// One step of a plan.
#[derive(Debug, Clone)]
pub struct PlannedStep {
    /// Its id, unique in the run: `quiesce.backupMode`, `store[1]`, `steps[0].steps[2]`; of a member of a group
    /// `MEMBER/quiesce.backupMode`.
    pub id: String,
    /// Its phase.
    pub phase: Phase,
    /// The step as the author wrote it.
    pub step: Step,
    /// How long it may take.
    pub timeout: Duration,
    /// How often it is tried.
    pub attempts: u32,
    /// How long to wait between two attempts.
    pub delay: Duration,
    /// What it holds, if it acquires a hold.
    pub hold: Option<HoldTraits>,
    /// Whether its hook runs a program of the database's own.
    pub hook_program: bool,
    /// For the steps of another action: its volumes, by the volumes of this action that stand in for them.
    pub volumes: BTreeMap<String, String>,
}

impl PlannedStep {
    /// The one kind that the step has.
    ///
    /// # Errors
    /// When it has none or several; lint refuses such a blueprint.
    pub fn kind(&self) -> Result<StepKind<'_>> {
        only_kind(&self.step, &self.id)
    }

    /// The step's name, or its id where it has none, without the member's name.
    pub fn label(&self) -> &str {
        let id = self.id.split_once('/').map_or(self.id.as_str(), |(_, id)| id);
        self.step.name.as_deref().unwrap_or(id)
    }

    /// What the recovery point and reports call what acquired the hold: `postgresql/backup-mode`, `pair`.
    pub fn what(&self) -> String {
        match &self.step.hook {
            Some(hook) => hook.verb.clone(),
            None => self.step.kinds().first().map_or("", StepKind::name).to_owned(),
        }
    }
}

fn only_kind<'a>(step: &'a Step, id: &str) -> Result<StepKind<'a>> {
    match step.kinds().as_slice() {
        [kind] => Ok(*kind),
        kinds => Err(Error::input(format!("the step {id} has {} kinds instead of one", kinds.len()))
            .remedy("Run `standstill lint` on the blueprint.")),
    }
}

impl Plan {
    /// Makes the plan of an action. Nothing is touched.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] when there is no such action, or when a ceiling cannot be rendered.
    pub fn make(
        blueprint: Arc<Blueprint>,
        request: RunRequest,
        point: Option<Point>,
        hooks: &dyn Hooks,
    ) -> Result<Self> {
        let action = action_of(&blueprint, &request.action)?;
        let scope = static_scope(&request, point.as_deref());
        let limits = Limits::of(action, &scope)?;
        let mut maker = Maker { blueprint: &blueprint, hooks, scope: &scope, steps: Vec::new() };
        let prefix = qualified(request.member.as_deref(), "");
        for &phase in Phase::of_action(&request.action) {
            maker.phase(action, phase, phase, &prefix, &BTreeMap::new(), 0)?;
        }
        let (steps, on_quiesce_failure) =
            (maker.steps, action.on_quiesce_failure.unwrap_or(OnQuiesceFailure::Fail));
        Ok(Self { request, blueprint, limits, on_quiesce_failure, steps, point, others_wait: false })
    }

    /// The same action with its values, made of the request that a journal holds.
    ///
    /// # Errors
    /// When the blueprint's text cannot be read any more.
    pub fn remake(request: RunRequest, point: Option<Point>, hooks: &dyn Hooks) -> Result<Self> {
        // It was linted when the run began, and is not again: a rule that came later must not stop a recovery.
        let blueprint = read(&request.blueprint_origin, &request.blueprint_text)?;
        Self::make(Arc::new(blueprint), request, point, hooks)
    }

    /// The action.
    ///
    /// # Errors
    /// Never for a plan that was made.
    pub fn action(&self) -> Result<&Action> {
        action_of(&self.blueprint, &self.request.action)
    }

    /// Whether the action ends with the commit of a recovery point.
    pub fn commits(&self) -> bool {
        self.request.action == "backup"
    }

    /// The step of that id.
    pub fn step(&self, id: &str) -> Option<&PlannedStep> {
        self.steps.iter().find(|step| step.id == id)
    }

    /// What the run calls something of this plan: by its name alone, or, for a member of a group, `MEMBER/NAME`.
    pub fn qualified(&self, name: &str) -> String {
        qualified(self.request.member.as_deref(), name)
    }

    /// What is known before anything runs: parameters, and the recovery point.
    pub fn static_scope(&self) -> Scope {
        static_scope(&self.request, self.point.as_deref())
    }
}

/// The parameters that have a value, and the recovery point.
fn static_scope(request: &RunRequest, point: Option<&RecoveryPoint>) -> Scope {
    let mut scope = Scope::default();
    scope.insert("params", Value::Object(request.parameters.clone()));
    if let Some(point) = point {
        let artifacts: serde_json::Map<String, Value> = point
            .artifacts
            .iter()
            .map(|artifact| (artifact.name.clone(), json!({"name": artifact.name, "bytes": artifact.bytes})))
            .collect();
        scope.insert(
            "point",
            json!({
                "id": point.id, "artifacts": artifacts, "facts": point.facts, "outputs": point.outputs,
                "parameters": point.parameters, "version": point.version, "cutAt": point.cut_at,
            }),
        );
    }
    scope
}

fn action_of<'a>(blueprint: &'a Blueprint, name: &str) -> Result<&'a Action> {
    blueprint.spec.actions.get(name).ok_or_else(|| {
        let known: Vec<&str> = blueprint.spec.actions.keys().map(String::as_str).collect();
        Error::input(format!("the blueprint {} has no action `{name}`", blueprint.metadata.name))
            .remedy(format!("Its actions are: {}.", known.join(", ")))
    })
}

struct Maker<'a> {
    blueprint: &'a Blueprint,
    hooks: &'a dyn Hooks,
    scope: &'a Scope,
    steps: Vec<PlannedStep>,
}

impl Maker<'_> {
    /// Adds the steps of `from`, a phase of `action`, to the plan's phase `into`.
    fn phase(
        &mut self,
        action: &Action,
        from: Phase,
        into: Phase,
        prefix: &str,
        volumes: &BTreeMap<String, String>,
        depth: usize,
    ) -> Result<()> {
        for (index, step) in action.phase(from).iter().enumerate() {
            let id = match &step.name {
                Some(name) => format!("{prefix}{}.{name}", from.name()),
                None => format!("{prefix}{}[{index}]", from.name()),
            };
            if let StepKind::Action(inner) = only_kind(step, &id)? {
                self.inline(inner, into, &id, volumes, depth)?;
            } else {
                self.step(step, id, into, volumes)?;
            }
        }
        Ok(())
    }

    /// Adds the steps of another action in this one's place; what it cleans up is cleaned up at the end.
    fn inline(
        &mut self,
        inner: &crate::language::ActionStep,
        into: Phase,
        id: &str,
        volumes: &BTreeMap<String, String>,
        depth: usize,
    ) -> Result<()> {
        const DEEPEST: usize = 8;
        if depth >= DEEPEST {
            return Err(Error::input(format!("actions run each other in a circle at {id}"))
                .remedy("Remove one of the `action` steps."));
        }
        let action = action_of(self.blueprint, &inner.run)?;
        let outer = |name: &String| volumes.get(name).unwrap_or(name).clone();
        let volumes: BTreeMap<String, String> =
            inner.volumes.iter().map(|(inside, outside)| (inside.clone(), outer(outside))).collect();
        for &phase in Phase::of_action(&inner.run) {
            let target = if phase == Phase::Cleanup { Phase::Cleanup } else { into };
            self.phase(action, phase, target, &format!("{id}."), &volumes, depth + 1)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        step: &Step,
        id: String,
        phase: Phase,
        volumes: &BTreeMap<String, String>,
    ) -> Result<()> {
        let kind = only_kind(step, &id)?;
        let timeout = duration(step.timeout.as_ref(), step_timeout(&kind), self.scope)?;
        let (attempts, delay) = match &step.retry {
            Some(retry) => {
                (retry.attempts.max(1), duration(retry.delay.as_ref(), Duration::from_secs(1), self.scope)?)
            }
            None => (1, Duration::ZERO),
        };
        let (hold, hook_program) = (self.hold(&kind, phase), self.runs_program(&kind));
        let (step, volumes) = (step.clone(), volumes.clone());
        self.steps.push(PlannedStep {
            id,
            phase,
            step,
            timeout,
            attempts,
            delay,
            hold,
            hook_program,
            volumes,
        });
        Ok(())
    }

    fn runs_program(&self, kind: &StepKind<'_>) -> bool {
        let StepKind::Hook(step) = kind else { return false };
        let named = step.verb.split_once('/');
        named.is_some_and(|(hook, verb)| self.hooks.get(hook).is_some_and(|hook| hook.runs_program(verb)))
    }

    fn hold(&self, kind: &StepKind<'_>, phase: Phase) -> Option<HoldTraits> {
        match kind {
            StepKind::Hook(step) if phase == Phase::Quiesce => {
                let (hook, verb) = step.verb.split_once('/')?;
                // Arguments that cannot be rendered yet do not decide what a hold is.
                let arguments = Value::Object(step.with.clone());
                let arguments = render_value(&arguments, self.scope).unwrap_or(arguments);
                self.hooks.get(hook)?.hold_traits(verb, &arguments)
            }
            StepKind::Pair(pair) => {
                Some(author_traits(HoldKind::Lease, pair.blocks_writes, pair.tolerates.as_deref()))
            }
            StepKind::Session(session) => {
                let kind = if session.survives_client { HoldKind::Lease } else { HoldKind::Session };
                Some(author_traits(kind, session.blocks_writes.unwrap_or(true), session.tolerates.as_deref()))
            }
            _ => None,
        }
    }
}

/// The traits of a hold of the author's own. While writes wait nothing changes, so a copy need not be atomic.
fn author_traits(kind: HoldKind, blocks_writes: bool, tolerates: Option<&[Tolerates]>) -> HoldTraits {
    let says = |what: Tolerates, default: bool| tolerates.map_or(default, |list| list.contains(&what));
    HoldTraits {
        kind,
        blocks_writes,
        tolerates: Tolerance {
            not_atomic: says(Tolerates::NotAtomic, blocks_writes),
            changing_files: says(Tolerates::ChangingFiles, false),
            block_level: says(Tolerates::BlockLevel, false),
        },
    }
}
