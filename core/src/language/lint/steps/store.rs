//! `snapshot`, `volume` and `files`: captures into artifacts, and artifacts into places.

use super::super::{
    Linter,
    artifacts::Form,
    doing,
    known::Kind,
    names::is_artifact_name,
    view::{ActionView, View},
};
use crate::{
    language::{
        source::Path,
        step::{FilesStep, SnapshotStep, VolumeStep},
        suggest,
    },
    runtime::CaptureMode,
};

impl Linter<'_> {
    pub(super) fn snapshot(&mut self, step: &SnapshotStep, path: &Path) {
        let volumes = &self.blueprint.spec.volumes;
        if !volumes.contains_key(&step.volume) {
            let remedy = suggest::remedy(&step.volume, "volume", volumes.keys().map(String::as_str));
            let message = format!("there is no volume `{}`", step.volume);
            self.error("unknown-volume", &path.key("volume"), message, remedy);
        }
    }

    pub(super) fn volume(&mut self, step: &VolumeStep, path: &Path, view: &View<'_>) {
        self.artifact_name(&step.artifact, &path.key("artifact"));
        if view.action_name() == Some("backup") {
            self.store_volume(step, path, view);
        } else {
            self.restore_volume(step, path, view);
        }
    }

    fn store_volume(&mut self, step: &VolumeStep, path: &Path, view: &View<'_>) {
        for (key, given) in [("to", step.to.is_some()), ("under", step.under.is_some())] {
            if given {
                let message = format!("`{key}` is for restoring, and `backup` stores");
                self.error_at_key("only-outside-backup", &path.key(key), message, format!("Remove `{key}`."));
            }
        }
        let place = path.key("from");
        let Some(from) = &step.from else {
            let message = "it is not said what is stored";
            return self.error("missing-key", path, message, "Add `from: captures.NAME`.");
        };
        let Some(name) = from.strip_prefix("captures.") else {
            let message = format!("`{from}` is not a capture");
            return self.error("unknown-capture", &place, message, "Write `captures.NAME`.");
        };
        if let Err(unseen) = doing::capture(name, view) {
            self.error(unseen.code, &place, unseen.message, unseen.remedy);
        }
        if step.keep.is_some() {
            self.kept(step, name, path, view);
        }
    }

    /// Only a snapshot can be kept.
    fn kept(&mut self, step: &VolumeStep, name: &str, path: &Path, view: &View<'_>) {
        let of_this = |action: &ActionView<'_>| {
            let found = action.captures().find(|(known, _)| *known == name);
            found.and_then(|(_, seen)| seen.step.snapshot.as_ref()?.mode)
        };
        let mode = view.action.and_then(of_this);
        if matches!(mode, Some(CaptureMode::Live | CaptureMode::Copy)) {
            let message = format!("the capture `{name}` is no snapshot that could be kept");
            let remedy = "Capture it with `mode: atomic`, or remove `keep`.";
            self.error_at_key("nothing-to-keep", &path.key("keep"), message, remedy);
        }
        if !step.last.is_empty() {
            let message = "of a snapshot that is kept nothing is read";
            self.error_at_key("nothing-to-keep", &path.key("last"), message, "Remove `last` or `keep`.");
        }
    }

    fn restore_volume(&mut self, step: &VolumeStep, path: &Path, view: &View<'_>) {
        let keys = [
            ("from", step.from.is_some()),
            ("exclude", !step.exclude.is_empty()),
            ("last", !step.last.is_empty()),
            ("keep", step.keep.is_some()),
        ];
        for (key, _) in keys.into_iter().filter(|(_, given)| *given) {
            let message = format!("`{key}` is for storing, and only `backup` stores");
            self.error_at_key("only-in-backup", &path.key(key), message, format!("Remove `{key}`."));
        }
        self.artifact_is_there(&step.artifact, Form::Tree, &path.key("artifact"));
        match &step.to {
            None => {
                let message = "it is not said where it is restored to";
                self.error("missing-key", path, message, "Add `to` with a volume of this action.");
            }
            Some(to) => self.destination(to, &path.key("to"), view),
        }
        if let Some(under) = &step.under {
            let inside = |part: &str| !part.is_empty() && part != "." && part != "..";
            if !under.split('/').all(inside) {
                let message = format!("`{under}` is not a path inside a volume");
                self.error("wrong-value", &path.key("under"), message, "Write a relative path without `..`.");
            }
        }
    }

    /// A restore writes only to places that the action declares for it.
    fn destination(&mut self, to: &str, path: &Path, view: &View<'_>) {
        let own = view.action.map(|action| &action.action.volumes);
        if own.is_some_and(|own| own.contains_key(to)) {
            return;
        }
        if self.blueprint.spec.volumes.contains_key(to) {
            let message = format!("`{to}` is the original, and a restore never writes over it");
            let remedy =
                format!("Declare a place under this action's `volumes`: `new: {{like: {to}, path: …}}`.");
            return self.error("restore-over-original", path, message, remedy);
        }
        let names = own.into_iter().flat_map(|own| own.keys().map(String::as_str));
        let remedy = suggest::remedy(to, "volume of this action", names);
        self.error("unknown-volume", path, format!("there is no volume `{to}` here"), remedy);
    }

    pub(super) fn files(&mut self, step: &FilesStep, path: &Path, view: &View<'_>) {
        self.artifact_name(&step.artifact, &path.key("artifact"));
        let place = path.key("from");
        let names: Vec<String> = step.from.split('.').map(str::to_owned).collect();
        let [root, _, _] = names.as_slice() else {
            let message = format!("`{}` is not an output", step.from);
            return self.error("unknown-output", &place, message, "Write `steps.NAME.OUTPUT`.");
        };
        if root != "steps" {
            let message = format!("`{}` is not an output of a step", step.from);
            return self.error("unknown-output", &place, message, "Write `steps.NAME.OUTPUT`.");
        }
        match self.resolve(&names, view) {
            Err(unseen) => self.error(unseen.code, &place, unseen.message, unseen.remedy),
            Ok(seen) if !matches!(seen.kind, Kind::Files | Kind::Any) => {
                let message = format!("`{}` is not files", step.from);
                self.error("wrong-type", &place, message, "Name an output that its hook declares as files.");
            }
            Ok(_) => {}
        }
    }

    /// Checks how an artifact's name is written.
    pub(super) fn artifact_name(&mut self, name: &str, path: &Path) {
        if !is_artifact_name(name) {
            let message = format!("`{name}` is not a name for an artifact");
            let remedy = "Use letters, digits, dots, hyphens and underscores; slashes between them.";
            self.error("invalid-name", path, message, remedy);
        }
    }

    /// Checks that `backup` stores an artifact, and what it is made of.
    pub(super) fn artifact_is_there(&mut self, name: &str, form: Form, path: &Path) {
        if !self.stored.by_backup {
            return;
        }
        match self.stored.form(name) {
            None => {
                let remedy = suggest::remedy(name, "artifact", self.stored.names());
                self.error("unknown-artifact", path, format!("`backup` stores no artifact `{name}`"), remedy);
            }
            Some(found) if found != form => {
                let (is, by) = match found {
                    Form::Tree => ("files", "volume"),
                    Form::Stream => ("a stream", "stream"),
                };
                let message = format!("the artifact `{name}` is {is}");
                self.error("wrong-artifact", path, message, format!("Restore it by a `{by}` step."));
            }
            Some(_) => {}
        }
    }
}
