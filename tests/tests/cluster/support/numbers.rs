//! An application on two volumes, which must be cut while both have the same.

use std::time::Duration;

use serde_json::Value;

use super::{
    Space, eventually, kv,
    place::{Outcome, Started},
};

/// Its blueprint: a pause by commands, and a snapshot of each volume.
const BLUEPRINT: &str = r#"apiVersion: standstill.dev/v1alpha1
kind: Blueprint
metadata: {name: numbers}
spec:
  summary: Numbers on two volumes
  parameters:
    lease: {type: duration, default: 5s, summary: how long its pause may outlive a runner that died}
  volumes:
    data: {path: /data}
    log: {path: /log}
  actions:
    backup:
      lease: "{{ params.lease }}"
      quiesce:
        - name: pause
          pair:
            blocksWrites: true
            acquire: [sh, -c, "touch /run/numbers/pause; until [ -e /run/numbers/paused ]; do sleep 0.02; done"]
            confirm: {command: [ls, /run/numbers], expect: "'paused' in result.stdout"}
            release: [sh, -c, "rm -f /run/numbers/pause; while [ -e /run/numbers/paused ]; do sleep 0.02; done"]
      capture:
        - name: data
          snapshot: {volume: data}
        - name: log
          snapshot: {volume: log}
      store:
        - volume: {from: captures.data, artifact: data}
        - volume: {from: captures.log, artifact: log}
    restore:
      volumes: {newData: {like: data, path: /data, empty: true}, newLog: {like: log, path: /log, empty: true}}
      steps:
        - volume: {artifact: data, to: newData}
        - volume: {artifact: log, to: newLog}
    verify:
      volumes: {scratchData: {like: data, scratch: true}, scratchLog: {like: log, scratch: true}}
      steps:
        - action: {run: restore, volumes: {newData: scratchData, newLog: scratchLog}}
        - exec: {command: [cmp, "{{ volumes.scratchData.path }}/numbers", "{{ volumes.scratchLog.path }}/numbers"]}
"#;

/// The application, and its blueprint.
pub struct Numbers<'a> {
    space: &'a Space,
    pub blueprint: String,
}

impl<'a> Numbers<'a> {
    /// Starts it.
    pub fn start(space: &'a Space) -> Self {
        space.apply_file("two-volumes.yaml");
        let blueprint = space.place.file("numbers.yaml", BLUEPRINT).to_str().unwrap().to_owned();
        let numbers = Self { space, blueprint };
        eventually(Duration::from_mins(2), "the application writes", || numbers.log().len() > 20);
        numbers
    }

    /// Starts a backup with more arguments.
    pub fn start_backup(&self, more: &[&str], failpoint: Option<&str>) -> Started {
        let arguments = ["backup", &self.blueprint, "--output=json", "--set=target.workload=pod/numbers"];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        let failpoint = failpoint.map(|point| ("STANDSTILL_FAILPOINT", point.into()));
        self.space.start_with(&arguments, failpoint.as_slice())
    }

    /// A backup, whatever comes of it.
    pub fn attempt(&self, more: &[&str]) -> Outcome {
        self.start_backup(more, None).wait()
    }

    /// A backup that must succeed: its report.
    #[track_caller]
    pub fn back_up(&self, more: &[&str]) -> Value {
        let outcome = self.attempt(more);
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        outcome.json()
    }

    /// Runs `restore` or `verify` of the newest recovery point.
    #[track_caller]
    pub fn of_newest(&self, command: &str, more: &[&str]) -> Outcome {
        let target = ["--set=target.workload=pod/numbers", "--output=json"];
        let arguments: Vec<&str> =
            [&[command, "latest"], &target[..], more].into_iter().flatten().copied().collect();
        self.space.run(&arguments)
    }

    /// Each number that was written, and when.
    pub fn log(&self) -> Vec<(i64, f64)> {
        kv::rows(&self.space.try_kubectl(&["logs", "numbers"]).stdout)
    }

    /// The numbers on a claim that was restored.
    #[track_caller]
    pub fn numbers_on(&self, claim: &str) -> Vec<i64> {
        let text = self.space.read_on(claim, "cat /data/numbers");
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}
