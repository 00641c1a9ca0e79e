//! `scale` and `kube`: changes of the cluster around the target.

use serde_json::{Map, Value};

use super::super::{
    Linter,
    references::Need,
    view::{OF_KUBE, View},
};
use crate::language::{
    source::Path,
    step::{KubeStep, ScaleStep},
    template::is_template,
};

/// What says which object it is, in places where that is said already.
const IDENTITY: [&str; 2] = ["name", "namespace"];

impl Linter<'_> {
    pub(super) fn scale(&mut self, step: &ScaleStep, path: &Path, view: &View<'_>) {
        let place = path.key("workload");
        self.template(&place, &step.workload, view, Need::Text);
        if let Some(text) = step.workload.0.as_str().filter(|text| !is_template(text)) {
            let named = ["statefulset/", "deployment/"].iter().find_map(|kind| text.strip_prefix(kind));
            if !named.is_some_and(|name| !name.is_empty() && !name.contains('/')) {
                let message = format!("`{text}` is no workload that can be scaled");
                let remedy = "Write `statefulset/NAME` or `deployment/NAME`.";
                self.error("wrong-value", &place, message, remedy);
            }
        }
        let place = path.key("replicas");
        self.template(&place, &step.replicas, view, Need::Integer);
        let number = step.replicas.0.as_number();
        if number.is_some_and(|number| number.as_u64().is_none_or(|number| u32::try_from(number).is_err())) {
            let message = "a workload cannot have so many pods";
            self.error("wrong-value", &place, message, "Write a whole number from 0 on.");
        }
    }

    pub(super) fn kube(&mut self, step: &KubeStep, path: &Path, view: &View<'_>) {
        self.object(step, path, view);
        let does = [step.apply.is_some(), step.patch.is_some(), step.delete, step.until.is_some()];
        if does.iter().filter(|does| **does).count() != 1 {
            let message = "it is not said exactly once what is done";
            let remedy = "Give one of `apply`, `patch`, `delete: true` and `until`.";
            self.error("not-exactly-one", path, message, remedy);
        }
        for (key, fields) in [("apply", &step.apply), ("patch", &step.patch)] {
            if let Some(fields) = fields {
                self.fields(fields, &path.key(key), view);
            }
        }
        if let Some(until) = &step.until {
            self.expression(&path.key("until"), until, &view.with_result(OF_KUBE));
            if step.keep {
                let message = "a wait changes nothing that could be kept";
                self.error_at_key("nothing-to-keep", &path.key("keep"), message, "Remove `keep`.");
            }
        }
    }

    /// What the run may touch is decided before it begins, so it must be written out.
    fn object(&mut self, step: &KubeStep, path: &Path, view: &View<'_>) {
        let texts = [
            ("apiVersion", Some(&step.api_version)),
            ("kind", Some(&step.kind)),
            ("plural", step.plural.as_ref()),
        ];
        for (key, text) in texts {
            let Some(text) = text else { continue };
            if text.is_empty() {
                let message = format!("`{key}` is empty: the permissions of the run are made of it");
                self.error("wrong-value", &path.key(key), message, "Write it out.");
            }
        }
        if step.kind == "Secret" {
            let message = "what is put back is in the journal, and a secret must not be there";
            let remedy = "Change the Secret by a command of your own, or leave it alone.";
            self.error("secret-in-journal", &path.key("kind"), message, remedy);
        }
        self.template(&path.key("name"), &step.name, view, Need::Text);
    }

    fn fields(&mut self, fields: &Map<String, Value>, path: &Path, view: &View<'_>) {
        for key in ["apiVersion", "kind"].into_iter().filter(|key| fields.contains_key(*key)) {
            self.said_twice(&path.key(key));
        }
        let metadata = fields.get("metadata").and_then(Value::as_object);
        for key in IDENTITY.into_iter().filter(|key| metadata.is_some_and(|map| map.contains_key(*key))) {
            self.said_twice(&path.key("metadata").key(key));
        }
        if fields.contains_key("status") {
            let message = "the status of an object is what its controller says, and cannot be changed here";
            self.error_at_key("wrong-value", &path.key("status"), message, "Remove `status`.");
        }
        for (key, value) in fields {
            self.value(&path.key(key), value, view, Need::Anything);
        }
    }

    fn said_twice(&mut self, path: &Path) {
        let message = "which object it is has been said beside this";
        let remedy = "Remove it here; objects of other namespaces than the target's are out of reach.";
        self.error_at_key("said-twice", path, message, remedy);
    }
}
