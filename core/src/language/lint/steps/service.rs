//! `service`: a server of the action's own.

use super::super::{
    Linter,
    references::Need,
    view::{StepView, View},
};
use crate::{
    hook::{Place, VerbKind},
    language::{
        source::Path,
        step::{As, Ready, ServiceStep},
    },
};

impl Linter<'_> {
    pub(super) fn service(&mut self, step: &ServiceStep, seen: &StepView<'_>, path: &Path, view: &View<'_>) {
        if seen.step.name.is_none() {
            let message = "nobody can reach a service without a name";
            self.error_at_key("missing-name", path, message, "Give the step a `name`.");
        }
        for (index, volume) in step.volumes.iter().enumerate() {
            self.volume_named(volume, &path.key("volumes").index(index), view);
        }
        self.runs_as(step.run_as, !step.volumes.is_empty(), "volumes", path);
        self.optional(&path.key("port"), step.port.as_ref(), view, Need::Integer);
        self.command(&step.command, &path.key("command"), view);
        self.environment(&step.env, &path.key("env"), view);
        self.ready(&step.ready, &path.key("ready"), view);
        if let Some(stop) = &step.stop {
            self.optional(&path.key("stop").key("timeout"), stop.timeout.as_ref(), view, Need::Duration);
        }
    }

    fn ready(&mut self, ready: &Ready, path: &Path, view: &View<'_>) {
        self.optional(&path.key("timeout"), ready.timeout.as_ref(), view, Need::Duration);
        match (&ready.hook, &ready.command) {
            (Some(hook), None) => self.ready_verb(hook, &path.key("hook")),
            (None, Some(command)) => self.command(command, &path.key("command"), view),
            (None, None) => {
                let message = "it is not said when the service is ready";
                self.error("not-exactly-one", path, message, "Add `hook` or `command`.");
            }
            (Some(_), Some(_)) => {
                let message = "it is said twice when the service is ready";
                self.error("not-exactly-one", path, message, "Remove `hook` or `command`.");
            }
        }
    }

    fn ready_verb(&mut self, name: &str, path: &Path) {
        let Some((_, verb)) = self.verb(name, path) else { return };
        if !verb.places.contains(&Place::Service) {
            let message = format!("`{name}` does not work with a service");
            self.error("wrong-place", path, message, "Use a verb that does, or a `command`.");
        } else if !matches!(verb.kind, VerbKind::Read) {
            let message =
                format!("`{name}` may change something, and whether a service is ready is asked often");
            self.error("not-read-only", path, message, "Use a verb that only reads, or a `command`.");
        } else if verb
            .arguments
            .get("required")
            .is_some_and(|required| required.as_array().is_some_and(|all| !all.is_empty()))
        {
            let message = format!("`{name}` needs arguments, and `ready` has none to give");
            self.error("missing-key", path, message, "Use another verb, or a `command`.");
        }
    }

    /// Checks that the owner that a process runs as is one of a volume.
    pub(super) fn runs_as(&mut self, run_as: As, has_volume: bool, key: &str, path: &Path) {
        if run_as == As::VolumeOwner && !has_volume {
            let message = "this runs as the owner of a volume, and names none";
            self.error_at_key("missing-volume", &path.key("as"), message, format!("Add `{key}`."));
        }
    }
}
