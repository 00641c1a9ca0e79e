//! `query`, `check` and `wait`: questions and what is expected of the answers.

use super::super::{
    Linter, doing,
    references::Need,
    view::{OF_COMMAND, OF_QUERY, View},
};
use crate::language::{
    model::ConnectionSpec,
    source::Path,
    step::{CheckStep, QueryStep, WaitStep},
    suggest,
};

impl Linter<'_> {
    pub(super) fn query(&mut self, step: &QueryStep, path: &Path, view: &View<'_>) {
        let places = [step.connection.is_some(), step.service.is_some(), step.volume.is_some()];
        if places.iter().filter(|given| **given).count() != 1 {
            let message = "it is not said exactly once where the question is put";
            self.error("not-exactly-one", path, message, "Give one of `connection`, `service` and `volume`.");
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
        if let Some(expect) = &step.expect {
            self.expression(&path.key("expect"), expect, &view.with_result(OF_QUERY));
        }
        self.query_verb(step, path, view);
    }

    fn query_verb(&mut self, step: &QueryStep, path: &Path, view: &View<'_>) {
        let (blueprint, hooks) = (self.blueprint, self.hooks);
        let connections = &blueprint.spec.connections;
        let of = |name: &String| connections.get(name).map(ConnectionSpec::hook);
        let only = || connections.values().next().map(ConnectionSpec::hook);
        let named = step.hook.as_deref().or_else(|| step.connection.as_ref().map_or_else(only, of));
        let Some(name) = named else {
            if let Some(connection) = &step.connection {
                let remedy =
                    suggest::remedy(connection, "connection", connections.keys().map(String::as_str));
                let message = format!("there is no connection `{connection}`");
                return self.error("unknown-connection", &path.key("connection"), message, remedy);
            }
            return self.error("missing-key", path, "it is not said which hook asks", "Add `hook: NAME`.");
        };
        self.connection_of(name, step.connection.as_deref(), &path.key("connection"));
        let place = if step.hook.is_some() { path.key("hook") } else { path.clone() };
        let Some(hook) = hooks.get(name) else {
            // A connection's unknown hook is told where the connection is.
            if step.hook.is_some() {
                let remedy = suggest::remedy(name, "hook", hooks.names());
                self.error("unknown-hook", &place, format!("there is no hook `{name}`"), remedy);
            }
            return;
        };
        if let Some(verb) = hook.verb("query") {
            self.arguments(&verb.arguments, &format!("{name}/query"), path, view);
        } else {
            let message = format!("the hook `{name}` cannot be asked by `query`");
            self.error("unknown-verb", &place, message, "Ask by `exec` with the database's own client.");
        }
    }

    pub(super) fn check(&mut self, step: &CheckStep, path: &Path, view: &View<'_>) {
        self.expression(&path.key("that"), &step.that, view);
        self.optional(&path.key("message"), step.message.as_ref(), view, Need::Text);
    }

    pub(super) fn wait(&mut self, step: &WaitStep, path: &Path, view: &View<'_>) {
        self.optional(&path.key("every"), step.every.as_ref(), view, Need::Duration);
        let result = match (&step.exec, &step.query) {
            (Some(exec), None) => {
                self.exec(exec, &path.key("exec"), view);
                OF_COMMAND
            }
            (None, Some(query)) => {
                self.query(query, &path.key("query"), view);
                OF_QUERY
            }
            _ => {
                let message = "it is not said exactly once what is asked";
                return self.error("not-exactly-one", path, message, "Give one of `exec` and `query`.");
            }
        };
        self.expression(&path.key("until"), &step.until, &view.with_result(result));
    }
}
