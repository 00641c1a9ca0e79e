//! Nothing stays frozen: the runner is killed or stopped before and after each line of its journal.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Subject, eventually,
    filesystem::Kind as On,
    kind::Kind,
    place::{Outcome, Started},
    postgresql::Version,
    sample::{Random, full},
    subject::LEASE,
    writer::Writer,
};

/// Room for a busy machine, on top of the second that is promised.
const ROOM: Duration = Duration::from_secs(2);

/// How long writes may wait after the runner is gone.
const PROMISED: Duration = Duration::from_secs(LEASE.as_secs() + 1);

/// A point of the journal, and whether the line is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    line: usize,
    after: bool,
}

impl Point {
    fn failpoint(self, signal: &str) -> String {
        format!("{}:{}:{signal}", self.line, if self.after { "after" } else { "before" })
    }
}

/// The subject, with its writer, and all points of a clean run.
struct Matrix {
    // Before its database.
    writer: Writer,
    subject: Subject,
    points: Vec<Point>,
    random: Random,
}

impl Matrix {
    fn of(kind: &Kind, test: &str) -> Option<Self> {
        let subject = Subject::new(kind)?.with_short_lease();
        let writer = subject.database().writer();
        writer.slow_down();
        let clean = subject.backup_ok();
        let lines = subject.place.journal(&clean).len();
        assert!(lines > 8, "the journal of a clean run has only {lines} lines");
        let points = (0..lines).flat_map(|line| [false, true].map(|after| Point { line, after })).collect();
        Some(Self { writer, subject, points, random: Random::of(&format!("{test} {kind}")) })
    }

    /// The points to try: all, or a sample in which those around the hold are well represented.
    fn chosen(&mut self, count: usize) -> Vec<Point> {
        let points = self.points.clone();
        self.random.sample(points, count)
    }

    fn start(&self, point: Point, signal: &str) -> Started {
        let mut command = self.subject.place.command(self.subject.backup_arguments());
        command.env("STANDSTILL_FAILPOINT", point.failpoint(signal));
        self.subject.place.spawn(command)
    }

    /// Whether something may be held at the end of a journal: it was intended, and its release is not noted.
    fn may_be_held(&self, run: &str) -> bool {
        let journal = self.subject.place.journal(run);
        let holds = journal.iter().filter(|(event, held)| {
            let undo = &held["undo"];
            event == "intent"
                && (undo.get("hold").is_some() || undo["runtime"]["record"].get("keeper").is_some())
        });
        let released = journal.iter().filter(|(event, _)| event == "released");
        holds.count() > released.count()
    }

    /// After the runner is gone or stopped: the writer goes on within what is promised, and nothing is held then.
    fn writes_go_on(&self, since: Instant, held: bool) {
        if held {
            std::thread::sleep(PROMISED.saturating_sub(since.elapsed()));
        }
        self.writer.goes_on(PROMISED + ROOM);
        let stalled = self.writer.longest_stall(since);
        assert!(stalled <= PROMISED + ROOM, "writes waited {stalled:?} after the runner was gone");
        if held {
            // Not the freeze alone: a session's slot and lock go with it.
            eventually(ROOM, &format!("the hold has ended: {:?}", self.holds_in_the_database()), || {
                self.holds_in_the_database().is_empty()
            });
        }
    }

    /// What is held, without the lock on the target and plain sessions, which a stopped runner keeps.
    fn holds_in_the_database(&self) -> Vec<String> {
        let held = self.subject.database().held();
        let is_hold = |what: &String| {
            !what.starts_with("advisory lock") && (!what.starts_with("session") || what.contains(" hold "))
        };
        held.into_iter().filter(is_hold).collect()
    }

    /// The recovery point of a run is there if and only if its commit was reached; then it is whole.
    fn listed_if_committed(&self, run: &str, point: Point) {
        let journal = self.subject.place.journal(run);
        let at = |name: &str| journal.iter().position(|(event, _)| event == name);
        let reached = match (at("committing"), at("committed")) {
            (_, Some(_)) => true,
            // The commit is between the two lines: only a kill before the second one has seen it done.
            (Some(committing), None) => point.line == committing + 1,
            (None, None) => false,
        };
        let listed = self.subject.place.points().contains(&run.to_owned());
        assert_eq!(listed, reached, "listed, reached ({point:?})");
        if reached {
            self.subject.verify_ok(run);
        }
    }

    /// Recovers, by the command or by the next backup; then nothing is left, and the next backup succeeds.
    fn recovers(&mut self, run: &str) {
        if self.random.coin() {
            let recovered = self.subject.place.ok(["recover", "--output=json"]);
            assert!(!recovered.stdout.contains("panicked"), "{recovered}");
            self.subject.assert_clean();
        }
        self.subject.backup_ok();
        self.writer.goes_on(Duration::from_secs(10));
        self.subject.assert_clean();
        let last = self.subject.place.journal(run).pop();
        assert!(
            last.is_none_or(|(event, _)| event == "finished"),
            "run {run} was not finished by the next one"
        );
    }
}

/// Tries every chosen point, also after one that went wrong, and fails if any did.
#[track_caller]
fn try_all(kind: &Kind, signal: &str, count: usize, try_one: fn(&mut Matrix, Point)) {
    let Some(mut matrix) = Matrix::of(kind, signal) else { return };
    let chosen = matrix.chosen(count);
    println!("{kind}: {} of {} points", chosen.len(), matrix.points.len());
    let tried = chosen.iter().filter(|point| {
        println!("{kind}: {}", point.failpoint(signal));
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| try_one(&mut matrix, **point)));
        tried.is_err()
    });
    let wrong: Vec<String> = tried.map(|point| point.failpoint(signal)).collect();
    assert_eq!(wrong, Vec::<String>::new(), "{kind}: these points went wrong, as told above");
}

/// Kills the runner at each point.
#[track_caller]
fn survives_kills(kind: &Kind) {
    try_all(kind, "kill", 4, survives_kill);
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
    try_all(kind, "stop", 3, survives_stop);
}

fn survives_stop(matrix: &mut Matrix, point: Point) {
    let group = matrix.random.coin();
    println!("  {}", if group { "with its group" } else { "alone" });
    let mut runner = matrix.start(point, "stop");
    eventually(Duration::from_mins(1), "the runner stops", || runner.is_stopped() || runner.has_ended());
    let (stopped, stopped_at) = (Instant::now(), now());
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
/// proof and the order to let go may have been on their way, to holders that went on meanwhile.
fn says_no_more_than_was_proven(matrix: &Matrix, ended: &Outcome, stopped_at: f64) {
    let report = ended.json();
    if ended.code() == Some(0) {
        // (The hold of an online backup is a moment: nothing stays held that could lapse.)
        for hold in report["holds"].as_array().unwrap().iter().filter(|hold| hold["kind"] != "moment") {
            let on = seconds(&hold["releasedAt"]) - seconds(&hold["acquiredAt"]);
            let capture =
                report["phases"].as_array().unwrap().iter().find(|phase| phase["name"] == "capture");
            let capture = capture.unwrap_or_else(|| panic!("nothing was captured: {ended}"));
            let cut = seconds(&capture["startedAt"]) + capture["milliseconds"].as_f64().unwrap() / 1000.0;
            assert!(
                on < PROMISED.as_secs_f64() || cut <= stopped_at,
                "a hold of {on} s was called proven: {ended}"
            );
        }
    } else {
        assert_eq!(ended.code(), Some(1), "{ended}");
        assert!(report["recoveryPoint"].is_null(), "{ended}");
        let run = report["run"].as_str().unwrap().to_owned();
        assert!(!matrix.subject.place.points().contains(&run), "a failed run is listed: {ended}");
    }
}

/// The seconds of the day, now.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    f64::from(u32::try_from(since.as_secs() % 86_400).unwrap()) + f64::from(since.subsec_millis()) / 1000.0
}

/// The seconds of the day of a timestamp such as `2026-01-31T12:34:56.789Z`.
fn seconds(timestamp: &Value) -> f64 {
    let timestamp = timestamp.as_str().unwrap_or_else(|| panic!("{timestamp} is not a timestamp"));
    let time = timestamp.split_once('T').unwrap().1.trim_end_matches('Z');
    let mut parts = time.split(':').map(|part| part.parse::<f64>().unwrap());
    let mut next = || parts.next().unwrap();
    next() * 3600.0 + next() * 60.0 + next()
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
