//! `stream`: the output of a command or a hook into an artifact, or an artifact into a command.

use super::{
    super::{Linter, artifacts::Form, known::Kind, references::Need, view::View},
    hook::Use,
};
use crate::language::{
    model::Template,
    source::Path,
    step::{HookStep, StreamStep},
    template::{analyse_template, is_template, references},
};

/// What `item` is for each artifact below a name.
const ARTIFACT: Kind = Kind::Items(&["name", "artifact"]);

impl Linter<'_> {
    pub(super) fn stream(&mut self, step: &StreamStep, path: &Path, view: &View<'_>) {
        let artifact = step.artifact.0.as_str().unwrap_or_default();
        let backup = view.action_name() == Some("backup");
        let item = match &step.for_each {
            Some(list) => {
                self.template(&path.key("forEach"), list, view, Need::List);
                Some(self.item_of(list, view))
            }
            None if !backup && artifact.ends_with("/*") => Some(ARTIFACT),
            None => None,
        };
        let inner = item.map_or(*view, |item| view.with_item(item));
        self.artifact_of_stream(step, artifact, backup, path, &inner);
        match &step.hook {
            Some(hook) => self.stream_of_hook(step, hook, backup, path, &inner),
            None => self.command(&step.command, &path.key("command"), &inner),
        }
        self.place_of_command(step.place.as_deref(), step.run_as, path, &inner);
        self.environment(&step.env, &path.key("env"), &inner);
        self.runs_as(step.run_as, step.volume.is_some(), "volume", path);
        if let Some(volume) = &step.volume {
            self.volume_named(volume, &path.key("volume"), view);
        }
    }

    /// A hook's verb in the place of a command.
    fn stream_of_hook(
        &mut self,
        step: &StreamStep,
        hook: &HookStep,
        backup: bool,
        path: &Path,
        view: &View<'_>,
    ) {
        let of_commands = [
            ("command", !step.command.is_empty()),
            ("in", step.place.is_some()),
            ("env", !step.env.is_empty()),
            ("as", !step.run_as.is_runner()),
            ("volume", step.volume.is_some()),
            ("lastLine", step.last_line.is_some()),
            ("lastMessage", step.last_message.is_some()),
        ];
        for (key, _) in of_commands.iter().filter(|(_, given)| *given) {
            let message = format!("`{key}` is for a stream of a command, and this one is of a hook");
            self.error_at_key("wrong-place", &path.key(*key), message, format!("Remove `{key}` or `hook`."));
        }
        if !backup {
            let message = "a hook gives streams, and only `backup` stores them";
            let remedy = "Restore by a `command` that reads the artifact from its standard input.";
            self.error_at_key("only-in-backup", &path.key("hook"), message, remedy);
        }
        self.hook_that(Use::Stream, hook, &path.key("hook"), view);
    }

    fn artifact_of_stream(
        &mut self,
        step: &StreamStep,
        artifact: &str,
        backup: bool,
        path: &Path,
        view: &View<'_>,
    ) {
        let place = path.key("artifact");
        self.template(&place, &step.artifact, view, Need::Text);
        if is_template(artifact) {
            let uses_item = references(&step.artifact.0)
                .iter()
                .any(|path| path.first().is_some_and(|root| root == "item"));
            if step.for_each.is_some() && !uses_item {
                self.every_item_the_same(&place);
            }
            return;
        }
        if backup {
            self.artifact_name(artifact, &place);
            if step.for_each.is_some() {
                self.every_item_the_same(&place);
            }
        } else {
            self.artifact_is_there(artifact, Form::Stream, &place);
        }
    }

    fn every_item_the_same(&mut self, path: &Path) {
        let message = "every item would be the same artifact";
        self.error(
            "artifact-without-item",
            path,
            message,
            "Put the item into its name: `db/{{ item.name }}`.",
        );
    }

    /// What an item of a list is.
    fn item_of(&self, list: &Template, view: &View<'_>) -> Kind {
        let text = list.0.as_str().unwrap_or_default();
        match self.given(&analyse_template(text).gives, view) {
            Some(Kind::Texts) => Kind::Texts,
            Some(Kind::Items(fields)) => Kind::Items(fields),
            _ => Kind::Any,
        }
    }
}
