//! The key-value application in a pod, with a writer beside it: its socket is where only its own container sees it.

use std::{path::Path, time::Duration};

use super::{
    Space, eventually, image,
    place::{Outcome, Started},
    runs::{HELD, await_held},
};

#[path = "../../e2e/support/kv_blueprint.rs"]
mod kv_blueprint;

/// The lease of the tests.
pub const LEASE: Duration = Duration::from_secs(5);

/// The application, and the blueprint that protects it.
pub struct Kv<'a> {
    space: &'a Space,
    blueprint: String,
}

impl<'a> Kv<'a> {
    /// Starts it, to be protected by commands or by a session.
    pub fn start(space: &'a Space, by_session: bool) -> Self {
        let image = image::of(&space.state, "kv", Path::new(env!("CARGO_BIN_EXE_kv")));
        let manifest = std::fs::read_to_string(image::folder().join("manifests/kv-app.yaml")).unwrap();
        space.apply(&manifest.replace("IMAGE", &image));
        let blueprint = space.place.file("kv.yaml", &kv_blueprint::blueprint(by_session));
        let kv = Self { space, blueprint: blueprint.to_str().unwrap().to_owned() };
        eventually(Duration::from_mins(2), "the application writes", || kv.acknowledged() > 50);
        kv
    }

    /// Starts a backup with more arguments.
    pub fn start_backup(&self, more: &[&str], failpoint: Option<&str>) -> Started {
        let arguments = ["backup", &self.blueprint, "--name=kv", "--output=json"];
        let values = ["--set=directory=/data", "--set=kv=/opt/kv/kv", "--set=lease=5s"];
        let target = ["--set=target.workload=pod/kv", "--set=target.container=kv"];
        let arguments: Vec<&str> =
            [&arguments[..], &values, &target, more].into_iter().flatten().copied().collect();
        let failpoint = failpoint.map(|point| ("STANDSTILL_FAILPOINT", point.into()));
        self.space.start_with(&arguments, failpoint.as_slice())
    }

    /// A backup, whatever comes of it.
    pub fn attempt(&self) -> Outcome {
        self.start_backup(&[], None).wait()
    }

    /// A backup that must succeed; its run.
    #[track_caller]
    pub fn back_up(&self) -> String {
        let outcome = self.attempt();
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        assert_eq!(outcome.json()["consistency"], "application", "{outcome}");
        println!("writes waited {}", outcome.json()["freeze"]);
        outcome.json()["run"].as_str().unwrap().to_owned()
    }

    /// Starts a backup whose hold stays on: the storage never answers.
    #[track_caller]
    pub fn start_held(&self) -> Started {
        let mut run = self.start_backup(&HELD, None);
        await_held(self.space, &mut run);
        assert_eq!(self.ask("STATE"), "paused");
        run
    }

    /// Runs `restore` or `verify` of the newest recovery point.
    #[track_caller]
    pub fn of_newest(&self, command: &str, more: &[&str]) -> Outcome {
        let target = ["--set=target.workload=pod/kv", "--set=target.container=kv", "--output=json"];
        let arguments: Vec<&str> =
            [&[command, "latest"], &target[..], more].into_iter().flatten().copied().collect();
        self.space.run(&arguments)
    }

    /// Asks the application in its container.
    #[track_caller]
    pub fn ask(&self, word: &str) -> String {
        let said = self.space.kubectl(&["exec", "kv", "--container=kv", "--", "/opt/kv/kv", "/data", word]);
        said.trim().to_owned()
    }

    /// The processes in the application's container, besides itself and who looks.
    #[track_caller]
    pub fn processes(&self) -> Vec<String> {
        let look = "for process in /proc/[0-9]*; do tr '\\0\\n' '  ' <$process/cmdline; echo; done";
        let said = self.space.kubectl(&["exec", "kv", "--container=kv", "--", "sh", "-c", look]);
        let others = said.lines().map(str::trim).filter(|line| !line.is_empty());
        others
            .filter(|line| !line.starts_with("/opt/kv/kv serve") && !line.contains("/proc/[0-9]"))
            .map(str::to_owned)
            .collect()
    }

    /// What the writer was told, and when.
    fn log(&self) -> Vec<(i64, f64)> {
        rows(&self.space.try_kubectl(&["logs", "kv", "--container=writer"]).stdout)
    }

    /// The last number that was acknowledged.
    pub fn acknowledged(&self) -> i64 {
        self.log().last().map(|(number, _)| *number).unwrap_or_default()
    }

    /// The longest time between two acknowledged numbers since a moment.
    pub fn longest_stall(&self, since: f64) -> Duration {
        let log: Vec<f64> = self.log().into_iter().map(|(_, at)| at).filter(|at| *at > since).collect();
        let longest = log.windows(2).map(|two| two[1] - two[0]).fold(0.0, f64::max);
        Duration::from_secs_f64(longest)
    }

    /// How long after a moment it went on.
    #[track_caller]
    pub fn waited_after(&self, moment: f64) -> Duration {
        let mut went_on = None;
        eventually(Duration::from_mins(1), "the application goes on", || {
            went_on = self.log().into_iter().map(|(_, at)| at).find(|at| *at > moment);
            went_on.is_some()
        });
        Duration::from_secs_f64(went_on.unwrap() - moment)
    }

    /// The numbers in the data on a claim.
    #[track_caller]
    pub fn numbers_on(&self, claim: &str) -> Vec<i64> {
        let text = self.space.read_on(claim, "cat /data/data");
        text.lines().map(|line| line.strip_suffix(';').unwrap().parse().unwrap()).collect()
    }
}

/// The numbers of a writer's log, and when each was written.
pub(super) fn rows(said: &[u8]) -> Vec<(i64, f64)> {
    let row = |line: &str| {
        let (number, at) = line.split_once(' ')?;
        Some((number.parse().ok()?, at.parse().ok()?))
    };
    String::from_utf8_lossy(said).lines().filter_map(row).collect()
}
