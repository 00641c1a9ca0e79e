//! An application with SQLite in a pod, that writes all the time.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Space, eventually,
    place::{Outcome, Started},
};

/// The application: it commits 1, 2, 3, … and says each in its log.
pub struct Application<'a> {
    space: &'a Space,
    values: PathBuf,
}

impl<'a> Application<'a> {
    /// Starts it.
    pub fn start(space: &'a Space) -> Self {
        space.apply_file("sqlite-app.yaml");
        let values = space.place.file(
            "values.yaml",
            "parameters:\n  directory: /data\n  file: app.db\ntarget: {workload: pod/app}\n",
        );
        let application = Self { space, values };
        eventually(Duration::from_mins(2), "the application writes", || application.acknowledged() > 50);
        application
    }

    /// The last number that it committed.
    pub fn acknowledged(&self) -> i64 {
        let said = self.space.try_kubectl(&["logs", "app", "--tail=1"]);
        String::from_utf8_lossy(&said.stdout).trim().parse().unwrap_or_default()
    }

    /// Seconds since 1970, as the application notes them with each row.
    pub fn now() -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
    }

    /// The longest time between two commits since a moment.
    #[track_caller]
    pub fn longest_stall(&self, since: f64) -> Duration {
        self.seconds(&format!(
            "SELECT max(pause) FROM (SELECT at - lag(at) OVER (ORDER BY number) AS pause FROM rows WHERE at > {since})"
        ))
    }

    /// How long after a moment it went on.
    #[track_caller]
    pub fn waited_after(&self, moment: f64) -> Duration {
        self.seconds(&format!("SELECT min(at) - {moment} FROM rows WHERE at > {moment}"))
    }

    #[track_caller]
    fn seconds(&self, sql: &str) -> Duration {
        let said = self.space.kubectl(&["exec", "app", "--", "sqlite3", "/data/app.db", sql]);
        let seconds: f64 = said.trim().parse().unwrap_or_else(|_| panic!("not a time: {said}"));
        Duration::from_secs_f64(seconds)
    }

    /// Starts a backup that is killed at a line of its journal.
    pub fn start_backup_with(&self, blueprint: &str, more: &[&str], failpoint: &str) -> Started {
        self.space.start_with(
            &self.arguments(blueprint, more).iter().map(String::as_str).collect::<Vec<_>>(),
            &[("STANDSTILL_FAILPOINT", failpoint.into())],
        )
    }

    /// Starts a backup with more arguments.
    pub fn start_backup(&self, blueprint: &str, more: &[&str]) -> Started {
        self.space.start(&self.arguments(blueprint, more).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn arguments(&self, blueprint: &str, more: &[&str]) -> Vec<String> {
        let values = self.values.to_str().unwrap();
        let arguments = ["backup", blueprint, "--name=app", "--output=json", "--values", values];
        arguments.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    }

    /// Runs `restore` or `verify` of the newest recovery point.
    #[track_caller]
    pub fn of_newest(&self, command: &str, more: &[&str]) -> Outcome {
        let arguments = [command, "latest", "--output=json", "--set=target.workload=pod/app"];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        self.space.run(&arguments)
    }

    /// The numbers in the database on a claim.
    #[track_caller]
    pub fn numbers_on(&self, claim: &str) -> Vec<i64> {
        let read = r#"set -e; [ "$(sqlite3 /data/app.db "PRAGMA integrity_check")" = ok ]; sqlite3 /data/app.db "SELECT number FROM rows ORDER BY number""#;
        let said = self.space.read_on(claim, read);
        said.lines().map(|number| number.parse().unwrap()).collect()
    }
}
