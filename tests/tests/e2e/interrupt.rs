//! Interrupts and ceilings: letting go comes first.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{
    Subject, eventually,
    filesystem::Kind as On,
    place::{Outcome, Started},
    postgresql::Version,
    subject::{Kind, shipped},
};

/// A blueprint that ships, with a step more in `capture` that says that it began and then takes a minute, or until there
/// is a file `go-on`.
pub fn with_slow_capture(subject: &Subject) -> PathBuf {
    let began = subject.place.join("began");
    let go_on = subject.place.join("go-on");
    let text = format!(
        "#!/bin/sh\ntouch '{}'\nn=0\nwhile [ $n -lt 600 ] && [ ! -e '{}' ]; do sleep 0.1; n=$((n + 1)); done\n",
        began.display(),
        go_on.display()
    );
    let script = subject.place.file("slow", &text);
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let text = shipped(subject.kind.blueprint());
    let capture = "      capture:\n";
    assert_eq!(text.matches(capture).count(), 1);
    let slow =
        format!("{capture}        - name: slow\n          exec: {{command: [\"{}\"]}}\n", script.display());
    subject.place.file("slow.yaml", &text.replace(capture, &slow))
}

pub fn start(subject: &Subject, more: &[&str]) -> Started {
    let blueprint = with_slow_capture(subject);
    let mut arguments = subject.backup_arguments();
    blueprint.to_str().unwrap().clone_into(&mut arguments[1]);
    arguments.extend(more.iter().map(|value| format!("--set={value}")));
    subject.place.start(arguments)
}

#[track_caller]
fn ended_without_a_trace(subject: &Subject, outcome: &Outcome, says: &str) {
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let report = outcome.json();
    assert!(report["recoveryPoint"].is_null(), "{outcome}");
    assert!(report["error"]["message"].as_str().unwrap().contains(says), "{outcome}");
    assert!(report["error"]["remedy"].is_string(), "{outcome}");
    assert_eq!(subject.place.points(), Vec::<String>::new());
    subject.assert_clean();
}

#[track_caller]
fn lets_go_on(signal: Signal, kind: &Kind) {
    let Some(subject) = Subject::new(kind) else { return };
    let writer = subject.database().writer();
    let runner = start(&subject, long_freeze(kind));
    let began = subject.place.join("began");
    eventually(Duration::from_mins(1), "the slow step begins", || began.exists());
    let signalled = Instant::now();
    runner.signal(signal);
    writer.goes_on(Duration::from_secs(3));
    assert!(writer.longest_stall(signalled) < Duration::from_secs(3), "writes waited after the signal");
    let outcome = runner.wait();
    assert!(signalled.elapsed() < Duration::from_secs(20), "{:?}: {outcome}", signalled.elapsed());
    ended_without_a_trace(&subject, &outcome, "cancelled");
    writer.goes_on(Duration::from_secs(3));
    fs::remove_file(&began).unwrap();
    subject.backup_ok();
    subject.assert_clean();
}

/// Values with which writes may wait for longer than the test takes.
const fn long_freeze(kind: &Kind) -> &'static [&'static str] {
    match kind {
        Kind::Sqlite | Kind::SqliteOnBtrfs | Kind::MariadbBlocked | Kind::MysqlBlocked | Kind::Frozen(_) => {
            &["maxFreeze=50s"]
        }
        _ => &[],
    }
}

#[test]
fn an_interrupt_during_a_capture_of_sqlite_lets_writers_go_at_once() {
    lets_go_on(Signal::INT, &Kind::Sqlite);
}

#[test]
fn a_request_to_end_during_a_snapshot_of_sqlite_lets_writers_go_at_once() {
    lets_go_on(Signal::TERM, &Kind::SqliteOnBtrfs);
}

#[test]
fn an_interrupt_during_a_capture_of_postgresql_ends_backup_mode() {
    if let Some(version) = Version::first() {
        lets_go_on(Signal::INT, &Kind::Postgresql(version));
    }
}

#[test]
fn a_request_to_end_during_a_dump_ends_its_snapshots() {
    if let Some(version) = Version::first() {
        lets_go_on(Signal::TERM, &Kind::Dump(version));
    }
}

#[test]
fn an_interrupt_during_a_snapshot_of_mariadb_lets_commits_go_at_once() {
    lets_go_on(Signal::INT, &Kind::MariadbBlocked);
    lets_go_on(Signal::TERM, &Kind::Mariadb);
}

#[test]
fn an_interrupt_during_a_capture_of_redis_ends_the_run() {
    lets_go_on(Signal::INT, &Kind::Redis);
    lets_go_on(Signal::TERM, &Kind::RedisAof);
}

#[test]
fn an_interrupt_of_a_snapshot_of_etcd_leaves_nothing() {
    lets_go_on(Signal::INT, &Kind::Etcd);
}

#[test]
fn an_interrupt_during_a_copy_of_a_frozen_file_system_thaws_it_at_once() {
    lets_go_on(Signal::INT, &Kind::Frozen(On::Ext4));
    lets_go_on(Signal::TERM, &Kind::Frozen(On::Xfs));
}

#[test]
fn an_interrupt_during_a_snapshot_of_mysql_lets_writes_go_at_once() {
    lets_go_on(Signal::INT, &Kind::MysqlBlocked);
    lets_go_on(Signal::TERM, &Kind::Mysql);
}

#[test]
fn at_the_ceiling_of_the_freeze_the_backup_is_given_up_and_writers_go_on() {
    let Some(subject) = Subject::new(&Kind::Sqlite) else { return };
    let writer = subject.database().writer();
    let since = Instant::now();
    let outcome = start(&subject, &["maxFreeze=1500ms"]).wait();
    let stalled = writer.longest_stall(since);
    assert!(stalled >= Duration::from_millis(1200), "the ceiling was not used: {stalled:?}");
    assert!(stalled < Duration::from_millis(3500), "writes waited {stalled:?}");
    ended_without_a_trace(&subject, &outcome, "maxFreeze was reached");
    let freeze = &outcome.json()["freeze"];
    assert_eq!(freeze["maximumMilliseconds"], 1500, "{outcome}");
    let milliseconds = freeze["milliseconds"].as_u64().unwrap();
    assert!((1400..3500).contains(&milliseconds), "{outcome}");
}

#[test]
fn at_the_ceiling_of_a_hold_the_backup_is_given_up() {
    let Some(version) = Version::first() else { return };
    let Some(subject) = Subject::new(&Kind::Postgresql(version)) else { return };
    let outcome = start(&subject, &["maxHold=2s"]).wait();
    ended_without_a_trace(&subject, &outcome, "maxHold was reached");
}

#[test]
fn a_step_that_takes_too_long_is_ended_with_everything_that_it_started() {
    let Some(subject) = Subject::new(&Kind::Sqlite) else { return };
    let blueprint = with_slow_capture(&subject);
    let text = fs::read_to_string(&blueprint)
        .unwrap()
        .replace("name: slow\n", "name: slow\n          timeout: 1s\n");
    fs::write(&blueprint, text).unwrap();
    let mut arguments = subject.backup_arguments();
    blueprint.to_str().unwrap().clone_into(&mut arguments[1]);
    let outcome = subject.place.run(arguments);
    ended_without_a_trace(&subject, &outcome, "capture.slow took longer than 1.0 s");
}

#[test]
fn a_second_run_on_the_same_database_is_locked_out_and_harms_nothing() {
    for kind in [Some(Kind::Sqlite), Version::first().map(Kind::Postgresql)].into_iter().flatten() {
        let Some(subject) = Subject::new(&kind) else { return };
        let mut first = start(&subject, long_freeze(&kind));
        let began = subject.place.join("began");
        eventually(Duration::from_mins(1), "the slow step begins", || began.exists());
        let second = subject.backup();
        assert_eq!(second.code(), Some(1), "{second}");
        assert!(second.json()["error"]["message"].as_str().unwrap().contains("is working on"), "{second}");
        assert!(!first.has_ended(), "the first one goes on");
        first.signal(Signal::INT);
        let first = first.wait();
        ended_without_a_trace(&subject, &first, "cancelled");
    }
}
