//! Nothing stays frozen: the runner is killed or stopped before and after each line of its journal.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Subject, eventually,
    filesystem::Kind as On,
    kind::Kind,
    matrix::{Matrix, PROMISED, Point, ROOM, try_all},
    place::Outcome,
    postgresql::Version,
    sample::full,
};

/// Kills the runner at each point.
#[track_caller]
fn survives_kills(kind: &Kind) {
    try_all(kind, "kill", 3, survives_kill);
}

fn survives_kill(matrix: &mut Matrix, point: Point) {
    let runs = matrix.subject.place.run_ids().len();
    let ended = matrix.start(point, "kill").wait();
    let gone = Instant::now();
    if !ended.was_killed() {
        // Notes of things that happen at the same time may be fewer than in the clean run.
        assert_eq!(ended.code(), Some(0), "neither killed nor done: {ended}");
        println!("  the run had fewer lines");
        return;
    }
    assert_eq!(matrix.subject.place.run_ids().len(), runs + 1);
    let run = matrix.subject.place.newest_run();
    let held = matrix.may_be_held(&run);
    matrix.writes_go_on(gone, held);
    matrix.listed_if_committed(&run, point);
    matrix.recovers(&run);
}

/// Stops the runner, alone or with its whole process group, for longer than the lease, and lets it go on.
#[track_caller]
fn survives_stops(kind: &Kind) {
    try_all(kind, "stop", 2, survives_stop);
}

fn survives_stop(matrix: &mut Matrix, point: Point) {
    let group = matrix.random.coin();
    println!("  {}", if group { "with its group" } else { "alone" });
    let mut runner = matrix.start(point, "stop");
    eventually(Duration::from_mins(1), "the runner stops", || runner.is_stopped() || runner.has_ended());
    let (stopped, stopped_at) = (Instant::now(), Timestamp::now());
    if runner.has_ended() {
        println!("  the run had fewer lines");
        return;
    }
    if group {
        runner.signal_group(Signal::STOP);
    }
    let run = matrix.subject.place.newest_run();
    let held = matrix.may_be_held(&run);
    matrix.writes_go_on(stopped, held);
    std::thread::sleep((PROMISED + ROOM).saturating_sub(stopped.elapsed()));
    if group {
        runner.signal_group(Signal::CONT);
    }
    runner.signal(Signal::CONT);
    let ended = runner.wait();
    says_no_more_than_was_proven(matrix, &ended, stopped_at);
    matrix.writer.goes_on(Duration::from_secs(10));
    matrix.subject.assert_clean();
    if matrix.subject.place.points().contains(&run) {
        matrix.subject.verify_ok(&run);
    }
    matrix.subject.backup_ok();
}

/// A run that was stopped with a hold on must not have succeeded, unless the cut was before it was stopped: then the
/// proof and the order to let go may have been on their way, to holders that went on meanwhile. What it acquired later
/// may have been on for as long as it was renewed.
fn says_no_more_than_was_proven(matrix: &Matrix, ended: &Outcome, stopped_at: Timestamp) {
    let report = ended.json();
    if ended.code() == Some(0) {
        // (The hold of an online backup is a moment: nothing stays held that could lapse.)
        for hold in report["holds"].as_array().unwrap().iter().filter(|hold| hold["kind"] != "moment") {
            let acquired = timestamp(&hold["acquiredAt"]);
            let on = timestamp(&hold["releasedAt"]).duration_since(acquired);
            let capture =
                report["phases"].as_array().unwrap().iter().find(|phase| phase["name"] == "capture");
            let capture = capture.unwrap_or_else(|| panic!("nothing was captured: {ended}"));
            let took = SignedDuration::from_millis(capture["milliseconds"].as_i64().unwrap());
            let cut = timestamp(&capture["startedAt"]) + took;
            assert!(
                on < SignedDuration::try_from(PROMISED).unwrap()
                    || cut <= stopped_at
                    || acquired > stopped_at,
                "a hold of {on:#} was called proven: {ended}"
            );
        }
    } else {
        assert_eq!(ended.code(), Some(1), "{ended}");
        assert!(report["recoveryPoint"].is_null(), "{ended}");
        let run = report["run"].as_str().unwrap().to_owned();
        assert!(!matrix.subject.place.points().contains(&run), "a failed run is listed: {ended}");
    }
}

/// A timestamp of a report.
fn timestamp(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is not a timestamp"));
    text.parse().unwrap_or_else(|cause| panic!("{text}: {cause}"))
}

#[test]
fn killed_anywhere_a_backup_of_sqlite_leaves_it_writable() {
    survives_kills(&Kind::Sqlite);
}

#[test]
fn killed_anywhere_a_snapshot_of_sqlite_leaves_it_writable() {
    survives_kills(&Kind::SqliteOnBtrfs);
}

#[test]
fn killed_anywhere_an_online_backup_of_sqlite_leaves_it_writable() {
    survives_kills(&Kind::SqliteOnline);
}

#[test]
fn killed_anywhere_a_live_backup_of_postgresql_leaves_no_slot() {
    if let Some(version) = Version::first() {
        survives_kills(&Kind::Postgresql(version));
    }
}

#[test]
fn killed_anywhere_a_snapshot_of_postgresql_leaves_no_slot() {
    if let Some(version) = Version::first() {
        survives_kills(&Kind::PostgresqlOnBtrfs(version));
    }
}

#[test]
fn killed_anywhere_a_copy_of_postgresql_leaves_no_slot() {
    if let Some(version) = Version::first() {
        survives_kills(&Kind::PostgresqlCopied(version));
    }
}

#[test]
fn killed_anywhere_a_base_backup_of_postgresql_leaves_nothing() {
    if let Some(version) = Version::first() {
        survives_kills(&Kind::Basebackup(version));
    }
}

#[test]
fn killed_anywhere_a_dump_of_postgresql_leaves_nothing() {
    if let Some(version) = Version::first() {
        survives_kills(&Kind::Dump(version));
    }
}

#[test]
fn killed_anywhere_a_snapshot_of_mariadb_leaves_no_stage() {
    survives_kills(&Kind::Mariadb);
}

#[test]
fn killed_anywhere_a_snapshot_of_mariadb_lets_commits_go_on() {
    survives_kills(&Kind::MariadbBlocked);
}

#[test]
fn killed_anywhere_mariadbs_own_program_goes_with_its_runner() {
    survives_kills(&Kind::MariadbBackup);
}

#[test]
fn killed_anywhere_a_dump_of_mariadb_leaves_nothing() {
    survives_kills(&Kind::MariadbDump);
}

#[test]
fn killed_anywhere_a_backup_of_a_group_lets_every_member_go() {
    if let Some(version) = Version::first() {
        survives_kills(&Kind::Group(version));
    }
}

#[test]
fn killed_anywhere_snapshots_of_a_group_let_every_member_go() {
    if let Some(version) = Version::first() {
        survives_kills(&Kind::GroupOnBtrfs(version));
    }
}

#[test]
fn killed_anywhere_a_save_of_redis_leaves_nothing() {
    survives_kills(&Kind::Redis);
    survives_kills(&Kind::RedisOnBtrfs);
}

#[test]
fn killed_anywhere_a_copy_of_redis_append_only_file_lets_rewrites_go_on() {
    survives_kills(&Kind::RedisAof);
    survives_kills(&Kind::RedisAofOnBtrfs);
}

#[test]
fn killed_anywhere_a_dump_of_redis_leaves_nothing() {
    survives_kills(&Kind::RedisDump);
}

#[test]
fn killed_anywhere_a_snapshot_of_etcd_leaves_nothing() {
    survives_kills(&Kind::Etcd);
}

/// On the fake, which keeps the lock as the manual describes it.
#[test]
fn killed_anywhere_a_copy_of_mongodb_leaves_no_lock() {
    survives_kills(&Kind::MongodbLocked);
}

#[test]
fn killed_anywhere_a_snapshot_of_mongodb_leaves_nothing() {
    survives_kills(&Kind::Mongodb);
}

#[test]
fn killed_anywhere_a_dump_of_mongodb_leaves_nothing() {
    survives_kills(&Kind::MongodbDump);
}

#[test]
fn killed_anywhere_a_backup_of_a_frozen_file_system_thaws_it() {
    survives_kills(&Kind::Frozen(On::Ext4));
    survives_kills(&Kind::Frozen(On::Xfs));
}

#[test]
fn killed_anywhere_a_snapshot_of_mysql_leaves_no_lock() {
    survives_kills(&Kind::Mysql);
}

#[test]
fn killed_anywhere_a_snapshot_of_mysql_lets_writes_go_on() {
    survives_kills(&Kind::MysqlBlocked);
}

#[test]
fn killed_anywhere_a_dump_of_mysql_leaves_nothing() {
    survives_kills(&Kind::MysqlDump);
}

#[test]
fn killed_anywhere_a_pair_of_commands_is_let_go() {
    survives_kills(&Kind::Pair);
}

#[test]
fn killed_anywhere_a_session_is_let_go() {
    survives_kills(&Kind::Session);
}

#[test]
fn stopped_anywhere_a_backup_of_sqlite_lets_go_and_claims_nothing() {
    survives_stops(&Kind::Sqlite);
    survives_stops(&Kind::SqliteOnBtrfs);
}

#[test]
fn stopped_anywhere_a_physical_backup_of_postgresql_lets_go_and_claims_nothing() {
    if let Some(version) = Version::first() {
        survives_stops(&Kind::Postgresql(version.clone()));
        survives_stops(&Kind::PostgresqlOnBtrfs(version));
    }
}

#[test]
fn stopped_anywhere_a_dump_of_postgresql_lets_go_and_claims_nothing() {
    if let Some(version) = Version::first() {
        survives_stops(&Kind::Dump(version.clone()));
        if full() {
            survives_stops(&Kind::Basebackup(version));
        }
    }
}

#[test]
fn stopped_anywhere_a_backup_of_mariadb_lets_go_and_claims_nothing() {
    survives_stops(&Kind::Mariadb);
    survives_stops(&Kind::MariadbBlocked);
    if full() {
        survives_stops(&Kind::MariadbBackup);
        survives_stops(&Kind::MariadbDump);
    }
}

#[test]
fn stopped_anywhere_a_backup_of_a_group_lets_go_and_claims_nothing() {
    if let Some(version) = Version::first() {
        survives_stops(&Kind::Group(version.clone()));
        survives_stops(&Kind::GroupOnBtrfs(version));
    }
}

#[test]
fn stopped_anywhere_a_copy_of_redis_append_only_file_lets_rewrites_go_on() {
    survives_stops(&Kind::RedisAof);
    survives_stops(&Kind::RedisAofOnBtrfs);
}

#[test]
fn stopped_anywhere_a_save_of_redis_claims_nothing() {
    survives_stops(&Kind::RedisOnBtrfs);
    if full() {
        survives_stops(&Kind::Redis);
        survives_stops(&Kind::RedisDump);
    }
}

#[test]
fn stopped_anywhere_a_snapshot_of_etcd_claims_nothing() {
    survives_stops(&Kind::Etcd);
}

#[test]
fn stopped_anywhere_a_copy_of_mongodb_is_unlocked_and_claims_nothing() {
    survives_stops(&Kind::MongodbLocked);
    if full() {
        survives_stops(&Kind::Mongodb);
        survives_stops(&Kind::MongodbDump);
    }
}

#[test]
fn stopped_anywhere_a_backup_of_a_frozen_file_system_thaws_it_and_claims_nothing() {
    survives_stops(&Kind::Frozen(On::Ext4));
    survives_stops(&Kind::Frozen(On::Xfs));
}

#[test]
fn stopped_anywhere_a_backup_of_mysql_lets_go_and_claims_nothing() {
    survives_stops(&Kind::Mysql);
    survives_stops(&Kind::MysqlBlocked);
    if full() {
        survives_stops(&Kind::MysqlDump);
    }
}

#[test]
fn stopped_anywhere_an_application_of_ones_own_is_let_go_and_nothing_is_claimed() {
    survives_stops(&Kind::Pair);
    survives_stops(&Kind::Session);
}

#[test]
fn a_commit_that_nobody_could_see_is_neither_claimed_nor_denied() {
    let Some(subject) = Subject::new(&Kind::Sqlite) else { return };
    subject.backup_ok();
    let journal = subject.place.journal(&subject.place.newest_run());
    let committed = journal.iter().position(|(event, _)| event == "committed").unwrap();
    let mut command = subject.place.command(subject.backup_arguments());
    command.env("STANDSTILL_FAILPOINT", format!("{committed}:before:kill"));
    let killed = subject.place.spawn(command).wait();
    assert!(killed.was_killed(), "{killed}");
    let run = subject.place.newest_run();
    let mut command = subject.place.command(["recover"]);
    command.env_remove("STANDSTILL_REPOSITORY");
    let recovered = subject.place.spawn(command).wait();
    assert_eq!(recovered.code(), Some(0), "{recovered}");
    let told = "whether the run reached its commit could not be seen";
    assert!(recovered.stdout.contains(told), "{recovered}");
    assert!(subject.place.ok(["logs", &run]).stdout.contains(told));
    let recovered = subject.place.ok(["recover"]);
    assert!(recovered.stdout.contains(&run), "it was not finished before: {recovered}");
    assert!(subject.place.ok(["logs", &run]).stdout.contains("finished: success"));
    subject.verify_ok(&run);
    subject.assert_clean();
}
