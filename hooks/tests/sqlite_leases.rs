//! Nothing stays locked: whatever happens to the runner or to a helper, writers go on within the lease.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test that fails is a test that fails"
)]

#[path = "support/sqlite.rs"]
mod sqlite;
mod support;

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use sqlite::MODES;
use standstill_core::{
    ErrorKind,
    hook::{Hook, Undone},
};
use standstill_hooks::sqlite::Sqlite;
use tempfile::tempdir;

/// What a busy machine may add to a lease.
const MARGIN: Duration = Duration::from_secs(1);

/// A runner in a process group of its own that holds the lock of `app.db`.
struct Runner {
    process: Child,
    output: BufReader<ChildStdout>,
    /// Its journal's record of the hold.
    record: Value,
}

impl Runner {
    fn start(volume: &Path, lease: Duration) -> Self {
        let mut process = Command::new(support::TestRuntime::new().program())
            .args(["run-hold", volume.to_str().unwrap(), "app.db", &lease.as_millis().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let record = serde_json::from_str(line.strip_prefix("held ").unwrap()).unwrap();
        Self { process, output, record }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed()).unwrap()
    }

    /// The last thing it says.
    fn verdict(mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        self.process.wait().unwrap();
    }
}

#[test]
fn a_hold_is_kept_for_longer_than_its_lease_while_it_is_renewed() {
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), "wal");
    let _runner = Runner::start(volume.path(), Duration::from_millis(600));
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        assert!(sqlite::is_locked(volume.path()));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_killed_runner_lets_go_at_once() {
    for mode in MODES {
        let volume = tempdir().unwrap();
        sqlite::make(volume.path(), mode);
        let runner = Runner::start(volume.path(), Duration::from_secs(30));
        assert!(sqlite::is_locked(volume.path()));
        kill_process(runner.pid(), Signal::KILL).unwrap();
        let free = sqlite::wait_until_free(volume.path(), Duration::from_secs(30));
        assert!(free < MARGIN, "{mode}: free after {free:?}");
    }
}

#[test]
fn stopping_the_process_group_frees_the_database_within_the_lease_and_the_runner_notices() {
    let lease = Duration::from_secs(1);
    for mode in MODES {
        let volume = tempdir().unwrap();
        sqlite::make(volume.path(), mode);
        let runner = Runner::start(volume.path(), lease);
        kill_process_group(runner.pid(), Signal::STOP).unwrap();
        assert!(sqlite::is_locked(volume.path()), "{mode}");
        let free = sqlite::wait_until_free(volume.path(), Duration::from_secs(30));
        assert!(free < lease + MARGIN, "{mode}: free after {free:?}");
        // A commit must not wait for a reader that was left behind either.
        let written = Instant::now();
        sqlite::open(volume.path()).execute("INSERT INTO orders VALUES (1, 'x')", ()).unwrap();
        assert!(written.elapsed() < MARGIN, "{mode}");
        kill_process_group(runner.pid(), Signal::CONT).unwrap();
        assert_eq!(runner.verdict(), "Err(HoldLapsed) Err(HoldLapsed)", "{mode}");
    }
}

#[test]
fn stopping_the_runner_alone_frees_the_database_within_the_lease() {
    let lease = Duration::from_secs(1);
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), "wal");
    let runner = Runner::start(volume.path(), lease);
    kill_process(runner.pid(), Signal::STOP).unwrap();
    let free = sqlite::wait_until_free(volume.path(), Duration::from_secs(30));
    assert!(free < lease + MARGIN, "free after {free:?}");
}

#[tokio::test]
async fn a_dropped_hold_lets_go_at_once() {
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), "wal");
    let context = support::context(volume.path(), volume.path(), Duration::from_secs(30));
    let acquired = Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await.unwrap();
    assert!(sqlite::is_locked(volume.path()));
    drop(acquired);
    assert!(sqlite::wait_until_free(volume.path(), Duration::from_secs(30)) < MARGIN);
}

#[tokio::test]
async fn a_hold_that_lapsed_is_never_confirmed_again() {
    for mode in MODES {
        let volume = tempdir().unwrap();
        sqlite::make(volume.path(), mode);
        let lease = Duration::from_millis(500);
        let context = support::context(volume.path(), volume.path(), lease);
        let mut acquired = Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await.unwrap();
        sqlite::wait_until_free(volume.path(), lease + MARGIN);
        let error = acquired.hold.confirm().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HoldLapsed, "{mode}: {}", error.chain());
        for _ in 0..2 {
            let error = acquired.hold.release().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::HoldLapsed, "{mode}: {}", error.chain());
        }
        assert_eq!(acquired.hold.renew().await.unwrap_err().kind(), ErrorKind::HoldLapsed);
    }
}

#[tokio::test]
async fn a_lock_that_went_to_somebody_else_is_not_confirmed() {
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), "wal");
    let context = support::context(volume.path(), volume.path(), Duration::from_secs(30));
    let mut acquired = Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await.unwrap();
    let holder = acquired.hold.confirm().await.unwrap().get("lockOwner").unwrap().as_i64().unwrap();
    kill_process(Pid::from_raw(i32::try_from(holder).unwrap()).unwrap(), Signal::KILL).unwrap();
    let application = sqlite::open(volume.path());
    application.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(acquired.hold.confirm().await.unwrap_err().kind(), ErrorKind::HoldLapsed);
    assert_eq!(acquired.hold.release().await.unwrap_err().kind(), ErrorKind::HoldLapsed);
}

#[tokio::test]
async fn a_holder_that_was_stopped_is_ended_by_the_release() {
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), "wal");
    let context = support::context(volume.path(), volume.path(), Duration::from_millis(900));
    let mut acquired = Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await.unwrap();
    let holder = acquired.hold.confirm().await.unwrap().get("lockOwner").unwrap().as_i64().unwrap();
    kill_process(Pid::from_raw(i32::try_from(holder).unwrap()).unwrap(), Signal::STOP).unwrap();
    assert_eq!(acquired.hold.release().await.unwrap_err().kind(), ErrorKind::HoldLapsed);
    assert!(!sqlite::is_locked(volume.path()));
}

#[tokio::test]
async fn what_a_stopped_runner_holds_is_let_go_from_its_record_alone() {
    for mode in MODES {
        let volume = tempdir().unwrap();
        sqlite::make(volume.path(), mode);
        let runner = Runner::start(volume.path(), Duration::from_mins(1));
        kill_process(runner.pid(), Signal::STOP).unwrap();
        assert!(sqlite::is_locked(volume.path()));
        let mut context = support::context(volume.path(), volume.path(), Duration::from_mins(1));
        context.volume = None;
        context.cancel.cancel();
        assert_eq!(Sqlite.undo(&runner.record, &context).await.unwrap(), Undone::LetGo, "{mode}");
        assert!(!sqlite::is_locked(volume.path()), "{mode}");
        assert_eq!(Sqlite.undo(&runner.record, &context).await.unwrap(), Undone::AlreadyGone, "{mode}");
    }
}

#[tokio::test]
async fn undoing_touches_no_other_run() {
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), "wal");
    let lease = Duration::from_secs(30);
    let with = json!({"file": "app.db"});
    let (alive, dead) = (
        support::context(volume.path(), volume.path(), lease),
        support::context(volume.path(), volume.path(), lease),
    );
    let mut acquired = Sqlite.acquire("write-lock", &alive, &with).await.unwrap();
    let record = Sqlite.undo_record("write-lock", &dead, &with).unwrap();
    assert_eq!(Sqlite.undo(&record, &dead).await.unwrap(), Undone::AlreadyGone);
    acquired.hold.confirm().await.unwrap();
    drop(acquired.hold.release().await.unwrap());
    let record = Sqlite.undo_record("online-backup", &dead, &with).unwrap();
    assert_eq!(Sqlite.undo(&record, &dead).await.unwrap(), Undone::AlreadyGone);
}
