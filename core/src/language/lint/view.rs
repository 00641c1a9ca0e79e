//! What the templates of one place can see.

use std::collections::BTreeMap;

use super::{Known, known::Kind};
use crate::{
    hook::{Available, OutputDescription},
    language::{
        model::{Action, Phase},
        source::Path,
        step::{HookStep, QueryStep, Step, StepKind},
    },
};

/// What the templates of one place can see.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// The names at the top.
    pub roots: &'static [&'static str],
    /// The action that the place is in.
    pub action: Option<&'a ActionView<'a>>,
    /// When the place is rendered.
    pub at: Moment,
    /// What `item` is, if there is one.
    pub item: Option<Kind>,
    /// What `result` has, if there is one.
    pub result: Option<&'static [(&'static str, Kind)]>,
}

/// When something is rendered, or there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// The position of the phase.
    pub phase: usize,
    /// The position in it.
    pub step: usize,
}

/// Where nothing is known but what was given to the run.
pub(super) const GIVEN: &[&str] = &["params"];
/// What is known when a plan is made.
pub(super) const PLANNED: &[&str] = &["params", "point"];
/// What is known when programs are looked for.
pub(super) const FOUND: &[&str] = &["params", "point", "target", "run", "connections", "volumes"];
/// What steps see.
pub(super) const STEP: &[&str] = &[
    "params",
    "point",
    "target",
    "run",
    "connections",
    "volumes",
    "captures",
    "steps",
    "services",
    "programs",
];
/// Where only `result` is known.
pub(super) const NOTHING: &[&str] = &[];

/// What `result` has after a command.
pub(super) const OF_COMMAND: &[(&str, Kind)] =
    &[("exitCode", Kind::INTEGER), ("stdout", Kind::TEXT), ("stderr", Kind::TEXT)];
/// What `result` has when an object of the cluster is waited for.
pub(super) const OF_KUBE: &[(&str, Kind)] = &[("found", Kind::BOOLEAN), ("object", Kind::Any)];
/// What `result` has after a query.
pub(super) const OF_QUERY: &[(&str, Kind)] = &[("rows", Kind::Items(&[])), ("value", Kind::Any)];

impl View<'static> {
    /// The view of something that is in no action.
    pub(super) const fn outside(roots: &'static [&'static str]) -> Self {
        Self { roots, action: None, at: Moment { phase: 0, step: 0 }, item: None, result: None }
    }
}

impl<'a> View<'a> {
    /// The view with `result`.
    pub(super) const fn with_result(self, result: &'static [(&'static str, Kind)]) -> Self {
        Self { result: Some(result), ..self }
    }

    /// The view with `item`.
    pub(super) const fn with_item(self, item: Kind) -> Self {
        Self { item: Some(item), ..self }
    }

    /// The view with other names at the top.
    pub(super) const fn with_roots(self, roots: &'static [&'static str]) -> Self {
        Self { roots, ..self }
    }

    /// The name of the action.
    pub(super) fn action_name(&self) -> Option<&'a str> {
        self.action.map(|action| action.name)
    }

    /// The phase of the action that the place is in.
    pub(super) fn phase(&self) -> Option<Phase> {
        Phase::of_action(self.action?.name).get(self.at.phase).copied()
    }
}

/// An action with its steps in the order in which they are done.
pub(super) struct ActionView<'a> {
    pub name: &'a str,
    pub action: &'a Action,
    pub path: Path,
    pub steps: Vec<StepView<'a>>,
}

/// A step of an action.
pub(super) struct StepView<'a> {
    pub step: &'a Step,
    pub path: Path,
    pub phase: Phase,
    pub at: Moment,
    /// What it puts out; `None` if that is not known.
    pub outputs: Option<BTreeMap<&'a str, Output>>,
}

/// What is known of an output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub kind: Kind,
    pub available: Available,
}

impl<'a> ActionView<'a> {
    pub(super) fn of(
        name: &'a str,
        action: &'a Action,
        connections: &Connections<'a>,
        hooks: &'a Known,
    ) -> Self {
        let path = super::spec().key("actions").key(name);
        let mut steps = Vec::new();
        for (number, &phase) in Phase::of_action(name).iter().enumerate() {
            let all = action.phase(phase);
            for (index, step) in all.iter().enumerate() {
                // Snapshots are taken together, before the other steps of their phase.
                let after = if step.snapshot.is_some() { 0 } else { all.len() };
                let at = Moment { phase: number, step: after + index };
                let path = path.key(phase.name()).index(index);
                steps.push(StepView { step, path, phase, at, outputs: outputs(step, connections, hooks) });
            }
        }
        Self { name, action, path, steps }
    }

    /// The first step of that name.
    pub(super) fn step(&self, name: &str) -> Option<&StepView<'a>> {
        self.steps.iter().find(|step| step.step.name.as_deref() == Some(name))
    }

    /// The steps of a kind that have a name, with it.
    pub(super) fn named(&self, wanted: fn(&Step) -> bool) -> impl Iterator<Item = (&'a str, &StepView<'a>)> {
        let of_kind = self.steps.iter().filter(move |step| wanted(step.step));
        of_kind.filter_map(|step| Some((step.step.name.as_deref()?, step)))
    }

    /// The captures, by name: a snapshot's own, or its volume's.
    pub(super) fn captures(&self) -> impl Iterator<Item = (&'a str, &StepView<'a>)> {
        self.steps.iter().filter_map(|step| {
            let snapshot = step.step.snapshot.as_ref()?;
            Some((step.step.name.as_deref().unwrap_or(&snapshot.volume), step))
        })
    }
}

/// The hook of each connection.
pub(super) type Connections<'a> = BTreeMap<&'a str, &'a str>;

/// What a step puts out.
fn outputs<'a>(
    step: &'a Step,
    connections: &Connections<'a>,
    hooks: &'a Known,
) -> Option<BTreeMap<&'a str, Output>> {
    let fixed = |list: &'static [(&'static str, Kind)]| {
        let output = |(name, kind): &(&'static str, Kind)| {
            (*name, Output { kind: *kind, available: Available::Acquired })
        };
        Some(list.iter().map(output).collect())
    };
    match step.kinds().first()? {
        StepKind::Hook(hook) => of_hook(hook, hooks),
        StepKind::Exec(_) | StepKind::Pod(_) => fixed(OF_COMMAND),
        StepKind::Pair(_) | StepKind::Session(_) => {
            fixed(&[("exitCode", Kind::INTEGER), ("stdout", Kind::TEXT)])
        }
        StepKind::Scale(_) => fixed(&[("replicas", Kind::INTEGER)]),
        StepKind::Stream(_) => fixed(&[("bytes", Kind::INTEGER)]),
        StepKind::Volume(volume) if volume.to.is_some() => {
            fixed(&[("bytes", Kind::INTEGER), ("entries", Kind::INTEGER)])
        }
        StepKind::Query(query) => of_query(query, connections, hooks).or_else(|| fixed(OF_QUERY)),
        StepKind::Service(_)
        | StepKind::Snapshot(_)
        | StepKind::Volume(_)
        | StepKind::Files(_)
        | StepKind::Check(_)
        | StepKind::Wait(_)
        | StepKind::Kube(_)
        | StepKind::Action(_) => Some(BTreeMap::new()),
    }
}

fn of_hook<'a>(step: &HookStep, hooks: &'a Known) -> Option<BTreeMap<&'a str, Output>> {
    let (hook, verb) = step.verb.split_once('/')?;
    Some(described(&hooks.get(hook)?.verb(verb)?.outputs))
}

fn of_query<'a>(
    step: &QueryStep,
    connections: &Connections<'a>,
    hooks: &'a Known,
) -> Option<BTreeMap<&'a str, Output>> {
    let named = step.connection.as_deref().and_then(|name| connections.get(name).copied());
    let hook = step.hook.as_deref().or(named).or_else(|| connections.values().next().copied())?;
    let outputs = &hooks.get(hook)?.verb("query")?.outputs;
    (!outputs.is_empty()).then(|| described(outputs))
}

fn described(outputs: &[OutputDescription]) -> BTreeMap<&str, Output> {
    let known = |output: &OutputDescription| Output { kind: output.ty.into(), available: output.available };
    outputs.iter().map(|output| (output.name, known(output))).collect()
}
