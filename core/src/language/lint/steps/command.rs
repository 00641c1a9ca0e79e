//! `exec` and `pod`, and what all commands share.

use super::super::{
    Linter,
    declared::parameter_of,
    names::is_variable_name,
    references::Need,
    view::{OF_COMMAND, View},
};
use crate::language::{
    model::Template,
    source::Path,
    step::{Environment, ExecStep, PodStep},
};

impl Linter<'_> {
    pub(super) fn exec(&mut self, step: &ExecStep, path: &Path, view: &View<'_>) {
        self.command(&step.command, &path.key("command"), view);
        self.place_of_command(step.place.as_deref(), step.run_as, path, view);
        self.environment(&step.env, &path.key("env"), view);
        self.runs_as(step.run_as, step.volume.is_some(), "volume", path);
        if let Some(volume) = &step.volume {
            self.volume_named(volume, &path.key("volume"), view);
        }
        if let Some(expect) = &step.expect {
            self.expression(&path.key("expect"), expect, &view.with_result(OF_COMMAND));
        }
    }

    pub(super) fn pod(&mut self, step: &PodStep, path: &Path, view: &View<'_>) {
        self.template(&path.key("image"), &step.image, view, Need::Text);
        self.command(&step.command, &path.key("command"), view);
        self.environment(&step.env, &path.key("env"), view);
        let volumes = path.key("volumes");
        if !step.volumes.is_empty() && view.action_name() != Some("backup") {
            let message = "what this action restores into is in the run's own pod, out of reach of another";
            let remedy = "Remove `volumes`, or run the command by `exec`.";
            self.error_at_key("only-in-backup", &volumes, message, remedy);
        }
        for (index, volume) in step.volumes.iter().enumerate() {
            self.volume_named(volume, &volumes.index(index), view);
        }
        if let Some(resources) = &step.resources {
            let path = path.key("resources");
            self.optional(&path.key("cpu"), resources.cpu.as_ref(), view, Need::Text);
            self.optional(&path.key("memory"), resources.memory.as_ref(), view, Need::Text);
        }
        if let Some(expect) = &step.expect {
            self.expression(&path.key("expect"), expect, &view.with_result(OF_COMMAND));
        }
    }

    /// Checks a command line.
    pub(super) fn command(&mut self, command: &[Template], path: &Path, view: &View<'_>) {
        if command.is_empty() {
            self.error(
                "empty-command",
                path,
                "the command names no program",
                "Write the program and its arguments.",
            );
        }
        self.texts(path, command, view);
    }

    /// Checks environment variables.
    pub(super) fn environment(&mut self, environment: &Environment, path: &Path, view: &View<'_>) {
        for (name, value) in environment {
            let path = path.key(name);
            if !is_variable_name(name) {
                let message = format!("`{name}` is not a name for an environment variable");
                let remedy = "Use letters, digits and underscores, with no digit first.";
                self.error_at_key("invalid-name", &path, message, remedy);
            }
            match value.0.as_object().and_then(parameter_of) {
                Some(parameter) => self.secret_parameter(parameter, &path.key("parameter")),
                None => self.value(&path, &value.0, view, Need::TextLeftOut),
            }
        }
    }
}
