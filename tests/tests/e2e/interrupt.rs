//! Interrupts and ceilings: letting go comes first.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Subject, filesystem::Kind as On, kind::Kind, postgresql::Version, slow::Slow};

#[track_caller]
fn lets_go_on(signal: Signal, kind: &Kind) {
    let Some(subject) = Subject::new(kind) else { return };
    let writer = subject.database().writer();
    let slow = Slow::start(&subject, long_freeze(kind));
    let signalled = Instant::now();
    slow.runner.signal(signal);
    writer.goes_on(Duration::from_secs(3));
    assert!(writer.longest_stall(signalled) < Duration::from_secs(3), "writes waited after the signal");
    let outcome = slow.runner.wait();
    assert!(signalled.elapsed() < Duration::from_secs(20), "{:?}: {outcome}", signalled.elapsed());
    subject.assert_refused(&outcome, 1, &["cancelled"]);
    writer.goes_on(Duration::from_secs(3));
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
    let outcome = Slow::start(&subject, &["maxFreeze=1500ms"]).runner.wait();
    let stalled = writer.longest_stall(since);
    assert!(stalled >= Duration::from_millis(1200), "the ceiling was not used: {stalled:?}");
    assert!(stalled < Duration::from_millis(3500), "writes waited {stalled:?}");
    subject.assert_refused(&outcome, 1, &["maxFreeze was reached"]);
    let freeze = &outcome.json()["freeze"];
    assert_eq!(freeze["maximumMilliseconds"], 1500, "{outcome}");
    let milliseconds = freeze["milliseconds"].as_u64().unwrap();
    assert!((1400..3500).contains(&milliseconds), "{outcome}");
}

#[test]
fn at_the_ceiling_of_a_hold_the_backup_is_given_up() {
    let Some(version) = Version::first() else { return };
    let Some(subject) = Subject::new(&Kind::Postgresql(version)) else { return };
    let mut arguments = subject.with_blueprint(&Slow::blueprint(&subject));
    arguments.push("--set=maxHold=2s".into());
    let outcome = subject.place.run(arguments);
    subject.assert_refused(&outcome, 1, &["maxHold was reached"]);
}

#[test]
fn a_step_that_takes_too_long_is_ended_with_everything_that_it_started() {
    let Some(subject) = Subject::new(&Kind::Sqlite) else { return };
    let text = Slow::blueprint(&subject).replace("name: slow\n", "name: slow\n          timeout: 1s\n");
    let outcome = subject.place.run(subject.with_blueprint(&text));
    subject.assert_refused(&outcome, 1, &["capture.slow took longer than 1.0 s"]);
}

#[test]
fn a_second_run_on_the_same_database_is_locked_out_and_harms_nothing() {
    for kind in [Some(Kind::Sqlite), Version::first().map(Kind::Postgresql)].into_iter().flatten() {
        let Some(subject) = Subject::new(&kind) else { return };
        let mut first = Slow::start(&subject, long_freeze(&kind)).runner;
        let second = subject.backup();
        assert_eq!(second.code(), Some(1), "{second}");
        assert!(second.json()["error"]["message"].as_str().unwrap().contains("is working on"), "{second}");
        assert!(!first.has_ended(), "the first one goes on");
        first.signal(Signal::INT);
        let first = first.wait();
        subject.assert_refused(&first, 1, &["cancelled"]);
    }
}
