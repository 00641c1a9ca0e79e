//! What stands around an application, and a blueprint that changes it for as long as a backup takes.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{Space, eventually, image};

/// What it changes. FRONT is a parameter, so that the Role is made of a value.
const PREPARE: &str = r#"      prepare:
        - name: down
          scale: {workload: "deployment/{{ params.front }}", replicas: 0}
        - kube: {apiVersion: v1, kind: ConfigMap, name: flag, patch: {data: {mode: backup, left: null, new: x}}}
        - kube: {apiVersion: v1, kind: ConfigMap, name: made, apply: {data: {by: "{{ run.id }}"}}}
        - kube: {apiVersion: v1, kind: ConfigMap, name: gone, delete: true}
        - kube: {apiVersion: GROUP/v1, kind: Pause, name: it, patch: {spec: {paused: true}}}
        - kube: {apiVersion: v1, kind: ConfigMap, name: made, until: "result.object.data.by == run.id"}
"#;

/// The surroundings of a test.
pub struct Around<'a> {
    space: &'a Space,
    group: String,
    /// A file: SQLite's blueprint, that changes them.
    pub blueprint: String,
}

impl<'a> Around<'a> {
    /// Makes them.
    pub fn start(space: &'a Space) -> Self {
        let group = format!("{}.example", space.name);
        let manifests = fs::read_to_string(image::folder().join("manifests/around.yaml")).unwrap();
        space.apply(&manifests.replace("GROUP", &group));
        let shipped =
            fs::read_to_string(image::folder().join("../../blueprints/sqlite/blueprint.yaml")).unwrap();
        let (front, prepare) =
            ("  parameters:\n    front: {type: string, default: front}\n", PREPARE.replace("GROUP", &group));
        let text = shipped.replacen("  parameters:\n", front, 1).replacen("      prepare:\n", &prepare, 1);
        assert!(text.contains("params.front"));
        let blueprint = space.place.file("around.yaml", &text).to_str().unwrap().to_owned();
        let around = Self { space, group, blueprint };
        let object = json!({
            "apiVersion": format!("{}/v1", around.group), "kind": "Pause", "metadata": {"name": "it"},
            "spec": {"paused": false, "since": 1},
        });
        eventually(Duration::from_mins(1), "the custom resource is served", || {
            let file = space.place.file("pause.json", &object.to_string());
            space.try_kubectl(&["apply", "--filename", file.to_str().unwrap()]).status.success()
        });
        around.assert_as_before("at the beginning");
        around
    }

    /// What a run may change.
    #[track_caller]
    pub fn state(&self) -> Value {
        let scale = |what: &str| {
            let found = self.space.get(&[what]);
            json!([found["spec"]["replicas"], found["status"]["readyReplicas"]])
        };
        let configs = self.space.get(&["configmaps"]);
        let config = |name: &str| {
            let found =
                configs["items"].as_array().unwrap().iter().find(|found| found["metadata"]["name"] == name);
            found.map_or_else(
                || json!([null, null]),
                |found| json!([found["data"], found["metadata"]["labels"]]),
            )
        };
        json!({
            "front": scale("deployment/front"), "flag": config("flag"),
            "gone": config("gone"), "made": config("made")[0],
            "it": self.space.get(&[&format!("pauses.{}/it", self.group)])["spec"],
        })
    }

    /// Waits until all is as it was before any run.
    #[track_caller]
    pub fn assert_as_before(&self, when: &str) {
        let stays = json!({"stays": "here"});
        let before = json!({
            "front": [2, 2], "flag": [{"mode": "normal", "left": "here"}, stays],
            "gone": [{"all": "of it"}, stays], "made": null, "it": {"paused": false, "since": 1},
        });
        let mut last = Value::Null;
        eventually(Duration::from_mins(1), &format!("all is as before {when}"), || {
            let state = self.state();
            if state != last && state != before {
                println!("  {when}: {state}");
            }
            last = state;
            last == before
        });
    }

    /// Asserts that all was changed by a run that is at its capture.
    #[track_caller]
    pub fn assert_changed(&self) {
        let state = self.state();
        assert_eq!(state["front"], json!([0, null]), "{state}");
        assert_eq!(state["flag"][0], json!({"mode": "backup", "new": "x"}), "{state}");
        assert!(state["gone"][0].is_null() && state["made"]["by"].is_string(), "{state}");
        assert_eq!(state["it"], json!({"paused": true, "since": 1}), "{state}");
    }
}

impl Drop for Around<'_> {
    fn drop(&mut self) {
        let name = format!("pauses.{}", self.group);
        self.space.try_kubectl(&[
            "delete",
            "customresourcedefinition",
            &name,
            "--ignore-not-found",
            "--wait=false",
        ]);
    }
}
