//! Actions as a whole: their phases, what they run, what they hold and store.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Linter,
    artifacts::artifact,
    spec,
    view::{ActionView, Connections, STEP, View},
};
use crate::{
    hook::VerbKind,
    language::{
        model::{ConnectionSpec, Phase},
        source::Path,
        step::Step,
    },
};

impl Linter<'_> {
    /// Checks the actions.
    pub(super) fn actions(&mut self) {
        let (blueprint, hooks) = (self.blueprint, self.hooks);
        let spec = &blueprint.spec;
        let connections: Connections<'_> = spec
            .connections
            .iter()
            .map(|(name, connection)| (name.as_str(), ConnectionSpec::hook(connection)))
            .collect();
        for (name, action) in &spec.actions {
            let seen = ActionView::of(name, action, &connections, hooks);
            let view = View { action: Some(&seen), roots: STEP, ..View::outside(STEP) };
            self.phases(&seen);
            self.limits(name, action, &seen.path, &view);
            self.places(name, action, &seen.path, &view);
            self.step_names(&seen);
            for step in &seen.steps {
                let view = View { at: step.at, ..view };
                self.step(step, &view);
            }
            if name == "backup" && self.stored.by_backup {
                self.backup(&seen);
            }
        }
        self.circles();
        if spec.actions.contains_key("backup") && !spec.actions.contains_key("restore") {
            let message = "there is a `backup` and no `restore`";
            let remedy = "Add the action `restore`: a backup that nobody can restore protects nothing.";
            self.warning("no-restore", &super::spec().key("actions").key("backup"), message, remedy);
        }
    }

    /// Phases that the action does not have.
    fn phases(&mut self, action: &ActionView<'_>) {
        let has = Phase::of_action(action.name);
        let other = Phase::BACKUP.into_iter().chain(Phase::OTHER).collect::<BTreeSet<_>>();
        for phase in other.into_iter().filter(|phase| !has.contains(phase)) {
            let path = action.path.key(phase.name());
            if self.source.node(&path).is_some() {
                let message = format!("the action `{}` has no phase `{}`", action.name, phase.name());
                let phases: Vec<&str> = has.iter().map(|phase| phase.name()).collect();
                self.error_at_key(
                    "unknown-phase",
                    &path,
                    message,
                    format!("Its phases are: {}.", phases.join(", ")),
                );
            }
        }
    }

    fn step_names(&mut self, action: &ActionView<'_>) {
        let mut first: BTreeMap<&str, &Path> = BTreeMap::new();
        for step in &action.steps {
            let Some(name) = step.step.name.as_deref() else { continue };
            let path = step.path.key("name");
            self.identifier(&path, "step", name);
            if let Some(known) = first.insert(name, &step.path) {
                let line = self.source.position(&known.key("name")).line;
                let message =
                    format!("there is already a step `{name}` in `{}`, on line {line}", action.name);
                self.error("duplicate-step", &path, message, "Give one of the two another name.");
            }
        }
    }

    /// What only a backup can do wrong.
    fn backup(&mut self, action: &ActionView<'_>) {
        self.artifacts_once(action);
        let captures = action.steps.iter().any(|step| step.phase == Phase::Capture);
        for step in &action.steps {
            if captures || !self.blocks_writes(step.step) {
                continue;
            }
            let message = "this makes writes wait, and nothing is captured meanwhile";
            let remedy = "Add a `snapshot` or a `stream` to `capture`, or remove this step.";
            self.error("freeze-without-capture", &step.path, message, remedy);
        }
        for (name, capture) in action.captures() {
            let from = format!("captures.{name}");
            let stores =
                |step: &Step| step.volume.as_ref().is_some_and(|volume| volume.from.as_ref() == Some(&from));
            if !action.steps.iter().any(|step| stores(step.step)) {
                let message = format!("the capture `{name}` is never stored");
                let remedy = format!("Add `volume: {{from: {from}, artifact: {name}}}` to `store`.");
                self.warning("capture-not-stored", &capture.path.key("snapshot"), message, remedy);
            }
        }
        if self.stored.names().next().is_none() {
            let message = "this backup stores nothing";
            let remedy = "Add a `volume`, `files` or `stream` step to `store` or `capture`.";
            self.warning("nothing-stored", &action.path, message, remedy);
        }
    }

    fn artifacts_once(&mut self, action: &ActionView<'_>) {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for step in &action.steps {
            let Some((name, _)) = artifact(step.step) else { continue };
            let kind = step.step.kinds().first().map_or("volume", |kind| kind.name());
            let path = step.path.key(kind).key("artifact");
            let line = self.source.position(&path).line;
            if let Some(known) = first.get(&name) {
                let message = format!("the artifact `{name}` is already stored, on line {known}");
                self.error("artifact-stored-twice", &path, message, "Give one of the two another name.");
            } else {
                first.insert(name, line);
            }
        }
    }

    fn blocks_writes(&self, step: &Step) -> bool {
        if let Some(pair) = &step.pair {
            return pair.blocks_writes;
        }
        if let Some(session) = &step.session {
            return session.blocks_writes.unwrap_or(true);
        }
        let verb = step.hook.as_ref().and_then(|hook| {
            let (hook, verb) = hook.verb.split_once('/')?;
            self.hooks.get(hook)?.verb(verb)
        });
        verb.is_some_and(|verb| matches!(verb.kind, VerbKind::Hold(traits) if traits.blocks_writes))
    }

    /// Actions that run each other in a circle.
    fn circles(&mut self) {
        let blueprint = self.blueprint;
        for (name, action) in &blueprint.spec.actions {
            for &phase in Phase::of_action(name) {
                for (index, step) in action.phase(phase).iter().enumerate() {
                    let Some(inner) = &step.action else { continue };
                    if self.reaches(&inner.run, name, &mut BTreeSet::new()) {
                        let path = spec().key("actions").key(name).key(phase.name()).index(index);
                        let message = format!("`{name}` runs itself by running `{}`", inner.run);
                        let remedy = "Remove one of the `action` steps of this circle.";
                        self.error("action-circle", &path.key("action").key("run"), message, remedy);
                    }
                }
            }
        }
    }

    /// Whether an action is or runs another one.
    fn reaches<'n>(&'n self, from: &'n str, to: &str, seen: &mut BTreeSet<&'n str>) -> bool {
        if from == to {
            return true;
        }
        let Some(action) = self.blueprint.spec.actions.get(from).filter(|_| seen.insert(from)) else {
            return false;
        };
        let steps = Phase::of_action(from).iter().flat_map(|phase| action.phase(*phase));
        let inner: Vec<&str> = steps.filter_map(|step| Some(step.action.as_ref()?.run.as_str())).collect();
        inner.into_iter().any(|run| self.reaches(run, to, seen))
    }
}
