//! `hook`: a verb with its place and its arguments.

use serde_json::Value;

use super::{
    super::{
        Linter, doing,
        references::{InArguments, Need},
        view::View,
    },
    only_reads,
};
use crate::{
    hook::{Place, Verb, VerbKind},
    language::{
        model::Phase,
        shape,
        source::{Node, NodeValue, Path},
        step::HookStep,
        suggest,
    },
};

/// What a verb is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A step of its own.
    Step,
    /// What a `stream` stores.
    Stream,
}

impl<'a> Linter<'a> {
    pub(super) fn hook(&mut self, step: &HookStep, path: &Path, view: &View<'_>) {
        self.hook_that(Use::Step, step, path, view);
    }

    /// Checks a verb with its place and its arguments.
    pub(super) fn hook_that(&mut self, purpose: Use, step: &HookStep, path: &Path, view: &View<'_>) {
        let named = path.key("use");
        let found = self.verb(&step.verb, &named);
        if let Some((hook, verb)) = found {
            self.verb_as(purpose, verb, &step.verb, &named);
            self.verb_in_phase(verb, &step.verb, &named, view);
            let places = [
                (Place::Network, "connection", step.connection.as_deref()),
                (Place::Volume, "volume", step.volume.as_deref()),
                (Place::Service, "service", step.service.as_deref()),
            ];
            self.place_of_verb(verb, &step.verb, &places, path);
            self.connection_of(hook, step.connection.as_deref(), &path.key("connection"));
            self.arguments(&verb.arguments, &step.verb, path, view);
        }
        if let Some(volume) = &step.volume {
            self.volume_named(volume, &path.key("volume"), view);
        }
        if let Some(Err(unseen)) = step.service.as_deref().map(|name| doing::service(name, view)) {
            self.error(unseen.code, &path.key("service"), unseen.message, unseen.remedy);
        }
        for (name, value) in &step.with {
            self.value(&path.key("with").key(name), value, view, Need::LeftOut);
        }
    }

    /// The verb `HOOK/VERB`, with its hook's name.
    pub(super) fn verb<'n>(&mut self, name: &'n str, path: &Path) -> Option<(&'n str, &'a Verb)> {
        let hooks = self.hooks;
        let Some((hook, verb)) = name.split_once('/') else {
            let message = format!("`{name}` is not a verb");
            self.error("unknown-verb", path, message, "Write the hook and its verb: `HOOK/VERB`.");
            return None;
        };
        let Some(described) = hooks.get(hook) else {
            let remedy = suggest::remedy(hook, "hook", hooks.names());
            self.error("unknown-hook", path, format!("there is no hook `{hook}`"), remedy);
            return None;
        };
        let found = described.verb(verb);
        if found.is_none() {
            let remedy = suggest::remedy(verb, "verb", described.verbs.iter().map(|verb| verb.name));
            self.error("unknown-verb", path, format!("the hook `{hook}` has no verb `{verb}`"), remedy);
        }
        Some((hook, found?))
    }

    fn verb_as(&mut self, purpose: Use, verb: &Verb, name: &str, path: &Path) {
        let (message, remedy) = match (purpose, verb.kind == VerbKind::Stream) {
            (Use::Step, false) | (Use::Stream, true) => return,
            (Use::Step, true) => (
                format!("`{name}` gives a stream, which nothing stores here"),
                "Write it as `stream: {artifact: NAME, hook: {use: …}}`.",
            ),
            (Use::Stream, false) => {
                (format!("`{name}` gives no stream"), "Name a verb that gives one, or a `command`.")
            }
        };
        self.error("wrong-verb", path, message, remedy);
    }

    fn verb_in_phase(&mut self, verb: &Verb, name: &str, path: &Path, view: &View<'_>) {
        let Some(phase) = view.phase() else { return };
        match verb.kind {
            VerbKind::Hold(_) if phase != Phase::Quiesce => {
                let message = format!("`{name}` acquires a hold, and `{}` acquires none", phase.name());
                let remedy = match view.action_name() {
                    Some("backup") => "Move it to `quiesce`.",
                    _ => "Only `backup` has a phase for it: `quiesce`.",
                };
                self.error("wrong-phase", path, message, remedy);
            }
            VerbKind::Act if only_reads(view) => {
                let message = format!("`preflight` only reads, and `{name}` changes something");
                let remedy = match view.action_name() {
                    Some("backup") => "Move it to `prepare`.",
                    _ => "Move it to `steps`.",
                };
                self.error("not-read-only", path, message, remedy);
            }
            VerbKind::Hold(_) | VerbKind::Act | VerbKind::Read | VerbKind::Stream => {}
        }
    }

    fn place_of_verb(&mut self, verb: &Verb, name: &str, given: &[(Place, &str, Option<&str>)], path: &Path) {
        for (place, key, value) in given {
            if value.is_some() && !verb.places.contains(place) {
                let message = format!("`{name}` does not work with a {key}");
                let remedy = format!("Remove `{key}`{}.", instead(verb.places));
                self.error_at_key("wrong-place", &path.key(*key), message, remedy);
            }
        }
        if !verb.places.is_empty() && given.iter().all(|(_, _, value)| value.is_none()) {
            let message = format!("it is not said where `{name}` works");
            self.error("missing-place", &path.key("use"), message, format!("Add {}.", keys(verb.places)));
        }
    }

    /// Checks that a connection is there and of the right hook.
    pub(super) fn connection_of(&mut self, hook: &str, connection: Option<&str>, path: &Path) {
        let Some(name) = connection else { return };
        let connections = &self.blueprint.spec.connections;
        let Some(found) = connections.get(name) else {
            let of_hook = connections.iter().filter(|(_, connection)| connection.hook() == hook);
            let remedy = suggest::remedy(name, "connection", of_hook.map(|(name, _)| name.as_str()));
            return self.error(
                "unknown-connection",
                path,
                format!("there is no connection `{name}`"),
                remedy,
            );
        };
        // A connection of a hook that has none is told where the connection is.
        let other = self.hooks.get(found.hook()).is_some_and(|other| other.connection.is_some());
        if other && found.hook() != hook {
            let message =
                format!("the connection `{name}` is one of the hook `{}`, not of `{hook}`", found.hook());
            self.error("wrong-connection", path, message, format!("Name a connection of the hook `{hook}`."));
        }
    }

    /// Checks the arguments in `with` against a verb's schema.
    pub(super) fn arguments(&mut self, schema: &Value, verb: &str, path: &Path, view: &View<'_>) {
        let place = path.key("with");
        // Without `with` there are no arguments; what is missing is told then where the step is.
        let empty = Node { value: NodeValue::Map(Vec::new()), span: 0..0 };
        let node = self.source.node(&place).unwrap_or(&empty);
        let templates = InArguments { linter: self, view };
        let mut faults = shape::check(self.source, &place, node, schema, &templates);
        for fault in &mut faults {
            if fault.code == "unknown-key" || fault.code == "missing-key" {
                fault.message = format!("{} (arguments of `{verb}`)", fault.message);
            }
        }
        self.faults.extend(faults);
    }
}

/// The keys of places: `connection or volume`.
fn keys(places: &[Place]) -> String {
    let key = |place: &Place| match place {
        Place::Network => "`connection`",
        Place::Volume => "`volume`",
        Place::Service => "`service`",
    };
    places.iter().map(key).collect::<Vec<_>>().join(" or ")
}

fn instead(places: &[Place]) -> String {
    if places.is_empty() { String::new() } else { format!("; it works with {}", keys(places)) }
}
