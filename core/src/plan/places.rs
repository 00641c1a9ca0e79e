//! Where the commands of a step run.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Plan, PlannedStep, is_left_out};
use crate::{
    hook::{HoldKind, HoldTraits},
    language::{ExecStep, Step, references, render_value},
    runtime::{CaptureMode, Place},
};

impl Plan {
    /// Whether any command runs in the target's own container.
    pub fn enters_target(&self) -> bool {
        self.steps.iter().any(|step| self.place(&step.step) == Place::Target)
    }

    /// Whether something is held from the runner's place that survives its client, so that who lets go of it must survive
    /// the runner: by a hook, or by commands.
    pub fn holds_outlive_clients(&self) -> bool {
        let lease = |hold: HoldTraits| hold.kind == HoldKind::Lease;
        let mut holds = self.steps.iter().filter(|step| step.hold.is_some_and(lease));
        holds.any(|step| self.place(&step.step) == Place::Runner)
    }

    /// Whether any volume is captured by a snapshot, or may be.
    pub fn takes_snapshots(&self) -> bool {
        let live_only = |mode| matches!(mode, Some(CaptureMode::Live | CaptureMode::Copy));
        let mut snapshots = self.steps.iter().filter_map(|step| step.step.snapshot.as_ref());
        self.commits() && snapshots.any(|snapshot| !live_only(snapshot.mode))
    }

    /// The programs of the blueprint that the steps refer to, by their names; a step that is known to stream nothing
    /// needs none.
    pub fn programs(&self) -> BTreeSet<String> {
        let steps = self.steps.iter().filter(|step| !self.streams_nothing(&step.step));
        let steps = steps.map(|step| serde_json::to_value(&step.step).unwrap_or_default());
        let paths = steps.flat_map(|step| references(&step));
        let named = paths.filter_map(|path| match path.as_slice() {
            [place, name, ..] if place == "programs" => Some(name.clone()),
            _ => None,
        });
        named.collect()
    }

    /// Whether any connection names a file, as a certificate, which is then read where the run is.
    pub fn names_files(&self) -> bool {
        fn is_path(value: &Value) -> bool {
            match value {
                Value::String(text) => text.starts_with('/'),
                Value::Array(items) => items.iter().any(is_path),
                Value::Object(fields) => fields.values().any(is_path),
                _ => false,
            }
        }
        let scope = self.static_scope();
        let connections = self.blueprint.spec.connections.values();
        let settings = connections.flat_map(|connection| connection.0.values());
        let mut given = settings.filter(|setting| !is_left_out(setting, &self.blueprint, &scope));
        // What is not known yet may be one.
        given.any(|setting| render_value(setting, &scope).map_or(true, |setting| is_path(&setting)))
    }

    /// Whether any program of the target's image runs beside it, in the runner's own place, or is looked for there.
    pub fn runs_programs(&self) -> bool {
        let runs = |step: &Step| {
            let streams = step.stream.as_ref().is_some_and(|stream| !stream.command.is_empty())
                && !self.streams_nothing(step);
            let waits = step.wait.as_ref().is_some_and(|wait| wait.exec.is_some());
            streams
                || waits
                || step.exec.is_some()
                || step.pair.is_some()
                || step.session.is_some()
                || step.service.is_some()
        };
        let beside = |step: &PlannedStep| runs(&step.step) && self.place(&step.step) == Place::Runner;
        self.steps.iter().any(|step| step.hook_program || beside(step)) || !self.programs().is_empty()
    }

    /// The first step that has to be done beside the target, where its files and its programs are, and why. `None`: all of
    /// the action can be done from wherever the target's connections and its container can be reached.
    pub fn bound_to_its_place(&self) -> Option<(&PlannedStep, &'static str)> {
        self.steps.iter().find_map(|step| Some((step, self.bound(step)?)))
    }

    fn bound(&self, planned: &PlannedStep) -> Option<&'static str> {
        let step = &planned.step;
        let runs = step.exec.is_some()
            || step.pair.is_some()
            || step.session.is_some()
            || step.wait.as_ref().is_some_and(|wait| wait.exec.is_some());
        let on_files = step.hook.as_ref().is_some_and(|hook| hook.volume.is_some())
            || step.query.as_ref().is_some_and(|query| query.volume.is_some());
        let outlives = step.hook.is_some() && planned.hold.is_some_and(|hold| hold.kind == HoldKind::Lease);
        let reads = step.snapshot.as_ref().and_then(|snapshot| snapshot.mode);
        if step.stream.is_some() && !self.streams_nothing(step) {
            Some("streams all of its data through the runner")
        } else if step.service.is_some() {
            Some("starts a server of the target's image")
        } else if step.pod.is_some() {
            Some("runs in a pod that is given the secrets of a run in the cluster")
        } else if runs && self.place(step) == Place::Runner {
            Some("runs a program of the target's image")
        } else if on_files {
            Some("works on the files of a volume")
        } else if outlives {
            Some("holds what outlives its client, and who lets go of it has to outlive the runner")
        } else if matches!(reads, Some(CaptureMode::Live | CaptureMode::Copy)) {
            Some("reads the files of a volume")
        } else {
            None
        }
    }

    /// Whether it is a stream of which is known before that there is no item.
    fn streams_nothing(&self, step: &Step) -> bool {
        let list = step.stream.as_ref().and_then(|stream| stream.for_each.as_ref());
        let list = list.map(|list| render_value(&list.0, &self.static_scope()));
        matches!(list, Some(Ok(Value::Array(items))) if items.is_empty())
    }

    /// Where the commands of a step run. What a backup does to the application it does in the target's own container,
    /// where its author does not say otherwise; a restore or a verification works on a copy, which is beside it. Data
    /// is streamed beside it, too: it never goes through a connection that may lose its end without a word.
    pub fn place(&self, step: &Step) -> Place {
        let by_default = if self.commits() { Place::Target } else { Place::Runner };
        let of_exec = |exec: &ExecStep| {
            let by_default = if exec.run_as.is_runner() { by_default } else { Place::Runner };
            place(exec.place.as_deref(), by_default)
        };
        let waits = step.wait.as_ref().and_then(|wait| wait.exec.as_ref());
        if let Some(exec) = step.exec.as_ref().or(waits) {
            of_exec(exec)
        } else if let Some(pair) = &step.pair {
            place(pair.place.as_deref(), by_default)
        } else if let Some(session) = &step.session {
            place(session.place.as_deref(), by_default)
        } else if let Some(stream) = &step.stream {
            place(stream.place.as_deref(), Place::Runner)
        } else {
            Place::Runner
        }
    }
}

fn place(written: Option<&str>, by_default: Place) -> Place {
    match written {
        None => by_default,
        Some("target") => Place::Target,
        Some(_) => Place::Runner,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::hook::{Hook, Hooks};

    /// A fake: what is bound to its place is known without them.
    struct NoHooks;

    impl Hooks for NoHooks {
        fn get(&self, _name: &str) -> Option<Arc<dyn Hook>> {
            None
        }

        fn names(&self) -> Vec<&'static str> {
            Vec::new()
        }
    }

    /// A backup with this step in `store`, with this certificate for its connection.
    fn plan(step: &Value, certificate: Option<&str>) -> Plan {
        let blueprint = json!({
            "apiVersion": "standstill.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "db"},
            "spec": {
                "summary": "a database", "volumes": {"data": {"path": "/data"}},
                "parameters": {"more": {"type": "list"}, "certificate": {"type": "string", "optional": true}},
                "connections": {"db": {"hook": "db", "host": "localhost", "tlsCa": "{{ params.certificate }}"}},
                "programs": {"tool": {"search": ["/opt"]}},
                "actions": {"backup": {"store": [step]}},
            },
        });
        let mut request = json!({
            "blueprintText": "", "blueprintOrigin": "db.yaml", "action": "backup", "application": "db",
            "parameters": {"more": []}, "secrets": {}, "repository": null, "point": null,
        });
        request["parameters"]
            .as_object_mut()
            .unwrap()
            .extend(certificate.map(|path| ("certificate".into(), path.into())));
        let blueprint = Arc::new(serde_json::from_value(blueprint).unwrap());
        Plan::make(blueprint, serde_json::from_value(request).unwrap(), None, &NoHooks).unwrap()
    }

    /// Why a backup of these steps in `store` is bound to its place.
    fn bound(step: &Value) -> Option<&'static str> {
        plan(step, None).bound_to_its_place().map(|(_, why)| why)
    }

    #[test]
    fn programs_beside_the_target_are_those_that_run_or_are_looked_for_there() {
        for (step, runs) in [
            (json!({"exec": {"command": ["sync"]}}), false),
            (json!({"snapshot": {"volume": "data", "mode": "auto"}}), false),
            (json!({"exec": {"command": ["sync"], "in": "runner"}}), true),
            (json!({"exec": {"command": ["{{ programs.tool }}"]}}), true),
            (json!({"stream": {"artifact": "all", "command": ["dump"]}}), true),
            (
                json!({"stream": {"forEach": "{{ params.more }}", "artifact": "{{ item }}", "command": ["{{ programs.tool }}"]}}),
                false,
            ),
            (json!({"stream": {"artifact": "all", "hook": {"use": "db/dump", "connection": "db"}}}), false),
        ] {
            assert_eq!(plan(&step, None).runs_programs(), runs, "{step}");
        }
    }

    #[test]
    fn a_connection_names_a_file_where_a_setting_is_an_absolute_path() {
        let step = json!({"exec": {"command": ["sync"]}});
        assert!(plan(&step, Some("/etc/ssl/ca.pem")).names_files());
        assert!(!plan(&step, None).names_files());
    }

    #[test]
    fn what_goes_by_connections_and_containers_is_bound_to_no_place() {
        for step in [
            json!({"exec": {"command": ["sync"]}}),
            json!({"hook": {"use": "db/ready", "connection": "db"}}),
            json!({"snapshot": {"volume": "data", "mode": "auto"}}),
            json!({"stream": {"forEach": "{{ params.more }}", "artifact": "{{ item }}", "command": ["tar"]}}),
        ] {
            assert_eq!(bound(&step), None, "{step}");
        }
    }

    #[test]
    fn what_needs_files_or_programs_of_the_target_is_bound_to_its_place() {
        for (step, why) in [
            (json!({"exec": {"command": ["sync"], "in": "runner"}}), "runs a program"),
            (json!({"hook": {"use": "db/lock", "volume": "data"}}), "works on the files"),
            (json!({"snapshot": {"volume": "data", "mode": "live"}}), "reads the files"),
            (json!({"stream": {"artifact": "all", "command": ["dump"]}}), "streams"),
            (json!({"pod": {"image": "tools", "command": ["convert"]}}), "runs in a pod"),
        ] {
            assert!(
                bound(&step).is_some_and(|because| because.starts_with(why)),
                "{step}: {:?}",
                bound(&step)
            );
        }
    }
}
