//! Steps: what they share, and what each kind adds.

mod ask;
mod cluster;
mod command;
mod hold;
mod hook;
mod phase;
mod service;
mod store;
mod stream;

use super::{
    Linter,
    known::Kind,
    references::Need,
    view::{PLANNED, StepView, View},
};
use crate::language::{
    model::Phase,
    source::Path,
    step::{ActionStep, As, Step, StepKind},
    suggest,
};

impl Linter<'_> {
    /// Checks a step.
    pub(super) fn step(&mut self, seen: &StepView<'_>, view: &View<'_>) {
        let (step, path) = (seen.step, &seen.path);
        let planned = view.with_roots(PLANNED);
        self.optional(&path.key("timeout"), step.timeout.as_ref(), &planned, Need::Duration);
        if let Some(retry) = &step.retry {
            let path = path.key("retry");
            self.optional(&path.key("delay"), retry.delay.as_ref(), &planned, Need::Duration);
            if retry.attempts == 0 {
                let message = "a step that is tried no times is never done";
                self.error("wrong-value", &path.key("attempts"), message, "Write 1 or more.");
            }
        }
        self.record(seen, view);
        match step.kinds().as_slice() {
            [] => {
                let message = "it is not said what this step does";
                let remedy = format!("Add one of: {}.", Step::KINDS.join(", "));
                self.error("step-without-kind", path, message, remedy);
            }
            [kind] => self.kind(kind, seen, view),
            [first, others @ ..] => {
                for other in others {
                    let message = format!("this step already has `{}`", first.name());
                    let remedy = format!("Make `{}` a step of its own.", other.name());
                    self.error_at_key("step-with-several-kinds", &path.key(other.name()), message, remedy);
                }
            }
        }
    }

    fn kind(&mut self, kind: &StepKind<'_>, seen: &StepView<'_>, view: &View<'_>) {
        let path = seen.path.key(kind.name());
        self.phase_of(kind, seen, &path, view);
        match kind {
            StepKind::Hook(step) => self.hook(step, &path, view),
            StepKind::Exec(step) => self.exec(step, &path, view),
            StepKind::Pod(step) => self.pod(step, &path, view),
            StepKind::Pair(step) => self.pair(step, &path, view),
            StepKind::Session(step) => self.session(step, &path, view),
            StepKind::Service(step) => self.service(step, seen, &path, view),
            StepKind::Snapshot(step) => self.snapshot(step, &path),
            StepKind::Volume(step) => self.volume(step, &path, view),
            StepKind::Files(step) => self.files(step, &path, view),
            StepKind::Stream(step) => self.stream(step, &path, view),
            StepKind::Query(step) => self.query(step, &path, view),
            StepKind::Check(step) => self.check(step, &path, view),
            StepKind::Wait(step) => self.wait(step, &path, view),
            StepKind::Scale(step) => self.scale(step, &path, view),
            StepKind::Kube(step) => self.kube(step, &path, view),
            StepKind::Action(step) => self.action(step, &path, view),
        }
    }

    /// Outputs to keep in the recovery point.
    fn record(&mut self, seen: &StepView<'_>, view: &View<'_>) {
        let (step, path) = (seen.step, seen.path.key("record"));
        if step.record.is_empty() {
            return;
        }
        if view.action_name() != Some("backup") {
            let message = "only a `backup` makes a recovery point to record something in";
            return self.error_at_key("only-in-backup", &path, message, "Remove `record`.");
        }
        if step.name.is_none() {
            let message = "what a step without a name puts out cannot be recorded";
            self.error_at_key("missing-name", &path, message, "Give the step a `name`.");
        }
        let Some(outputs) = &seen.outputs else { return };
        for (index, name) in step.record.iter().enumerate() {
            let path = path.index(index);
            match outputs.get(name.as_str()) {
                Some(output) if output.kind == Kind::Files => {
                    let message = format!("`{name}` is files, which are stored and not recorded");
                    let remedy = "Remove it here, and add a `files` step to `store`.";
                    self.error("wrong-type", &path, message, remedy);
                }
                Some(_) => {}
                None => {
                    let remedy = suggest::remedy(name, "output", outputs.keys().copied());
                    self.error("unknown-output", &path, format!("this step has no output `{name}`"), remedy);
                }
            }
        }
    }

    fn action(&mut self, step: &ActionStep, path: &Path, view: &View<'_>) {
        let blueprint = self.blueprint;
        let actions = &blueprint.spec.actions;
        let Some(inner) = actions.get(&step.run) else {
            let names = actions.keys().map(String::as_str).filter(|name| *name != "backup");
            let remedy = suggest::remedy(&step.run, "other action", names);
            return self.error(
                "unknown-action",
                &path.key("run"),
                format!("there is no action `{}`", step.run),
                remedy,
            );
        };
        if step.run == "backup" {
            let message = "a backup is a run of its own and cannot be part of another action";
            return self.error(
                "nested-backup",
                &path.key("run"),
                message,
                "Run `standstill backup` beside this.",
            );
        }
        let own = view.action.map(|action| &action.action.volumes);
        for (inside, outside) in &step.volumes {
            let path = path.key("volumes").key(inside);
            if !inner.volumes.contains_key(inside) {
                let remedy = suggest::remedy(inside, "volume", inner.volumes.keys().map(String::as_str));
                let message = format!("the action `{}` has no volume `{inside}`", step.run);
                self.error_at_key("unknown-volume", &path, message, remedy);
            }
            if !own.is_some_and(|own| own.contains_key(outside)) {
                let names = own.into_iter().flat_map(|own| own.keys().map(String::as_str));
                let remedy = suggest::remedy(outside, "volume of this action", names);
                let message = format!("this action has no volume `{outside}` that may be written to");
                self.error("unknown-volume", &path, message, remedy);
            }
        }
        for missing in inner.volumes.keys().filter(|name| !step.volumes.contains_key(*name)) {
            let message =
                format!("it is not said what stands in for the volume `{missing}` of `{}`", step.run);
            let remedy = format!("Add `volumes: {{{missing}: …}}` with a volume of this action.");
            self.error("missing-volume", path, message, remedy);
        }
    }

    /// Checks the place where a command runs: `target`, `runner`, or `services.NAME`.
    fn place_of_command(&mut self, place: Option<&str>, run_as: As, path: &Path, view: &View<'_>) {
        let path = path.key("in");
        let Some(name) = place.and_then(|place| place.strip_prefix("services.")) else {
            self.place_of_hold(place, &path, "Write `target`, `runner` or `services.NAME`.");
            if place == Some("target") && !run_as.is_runner() {
                let message = "in the target's own container a command is always that container's user";
                let remedy = "Leave `as` out, or write `in: runner`.";
                self.error("no-other-user", &path, message, remedy);
            }
            return;
        };
        if let Err(unseen) = super::doing::service(name, view) {
            self.error(unseen.code, &path, unseen.message, unseen.remedy);
        }
    }

    /// Checks the place where a hold is kept: `target` or `runner`.
    fn place_of_hold(&mut self, place: Option<&str>, path: &Path, remedy: &str) {
        let Some(place) = place.filter(|place| !["target", "runner"].contains(place)) else { return };
        let message = format!("`{place}` is not a place where a command can run");
        self.error("unknown-place", path, message, remedy);
    }

    /// Checks that a volume is there; also ones that an action restores into.
    fn volume_named(&mut self, name: &str, path: &Path, view: &View<'_>) {
        let known: Vec<String> = self.volumes(view).into_iter().map(str::to_owned).collect();
        if !known.iter().any(|volume| volume == name) {
            let remedy = suggest::remedy(name, "volume", known.iter().map(String::as_str));
            self.error("unknown-volume", path, format!("there is no volume `{name}` here"), remedy);
        }
    }
}

/// Whether a phase of an action is the one that only reads.
fn only_reads(view: &View<'_>) -> bool {
    view.phase() == Some(Phase::Preflight)
}
