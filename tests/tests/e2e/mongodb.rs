//! MongoDB: the lock on the fake, which keeps it as the manual describes.

use std::time::Duration;

use bson::doc;
use rustix::process::Signal;

use crate::support::{Subject, cases, eventually, kind::Kind, pages::page, process, slow::Slow};

#[track_caller]
fn locked() -> Subject {
    Subject::new(&Kind::MongodbLocked).unwrap().with_short_lease()
}

#[test]
fn a_copy_is_made_while_writes_wait_and_the_evidence_says_so() {
    let subject = locked();
    let writer = subject.database().writer();
    let backup = subject.backup();
    assert_eq!(backup.code(), Some(0), "{backup}");
    let report = backup.json();
    let hold = &report["holds"][0];
    assert_eq!(
        (hold["kind"].as_str(), hold["blocksWrites"].as_bool()),
        (Some("lease"), Some(true)),
        "{backup}"
    );
    assert_eq!(hold["evidence"]["lockCount"], 1, "{backup}");
    assert_eq!(hold["evidence"]["lockCountAfter"], 0, "{backup}");
    assert!(hold["evidence"]["lastWrite"].is_string(), "{backup}");
    assert!(report["freeze"]["milliseconds"].as_f64().unwrap() > 0.0, "{backup}");
    drop(writer);
    subject.verify_ok("latest");
    subject.assert_clean();
}

#[test]
fn a_snapshot_after_a_flush_holds_nothing() {
    let Some(subject) = Subject::new(&Kind::Mongodb) else { return };
    let backup = subject.backup();
    assert_eq!(backup.code(), Some(0), "{backup}");
    assert_eq!(backup.json()["holds"][0]["kind"], "moment", "{backup}");
    assert_eq!(backup.json()["freeze"]["milliseconds"].as_f64(), Some(0.0), "{backup}");
    subject.verify_ok("latest");
    subject.assert_clean();
}

/// Without the lock, files that are copied one after the other are of different times.
#[test]
fn a_copy_without_the_lock_is_refused_before_anything_is_touched() {
    let subject = locked().with("quiesce=flush");
    let outcome = subject.backup();
    subject.assert_refused(&outcome, 2, &["data"]);
    subject.assert_clean();
}

#[test]
fn a_lock_that_was_there_before_is_refused_and_stays() {
    let mut subject = locked();
    subject.mongodb().ask("admin", doc! {"fsync": 1, "lock": true});
    let outcome = subject.backup();
    outcome.claims_nothing(1, &["somebody else has locked MongoDB", "db.fsyncUnlock()"]);
    assert!(subject.place.run(["recover"]).code() == Some(0));
    let left = subject.mongodb().ask("admin", doc! {"fsyncUnlock": 1});
    assert_eq!(left.get_i64("lockCount").unwrap(), 0, "somebody else's lock was taken off");
    subject.backup_ok();
    subject.assert_clean();
}

/// The server counts; who counted it up, it does not know.
#[test]
fn a_lock_that_somebody_makes_at_the_same_moment_is_left_to_them() {
    let mut subject = locked();
    subject.mongodb().restart(&["--locked-beside"]);
    let outcome = subject.backup();
    outcome.claims_nothing(1, &["somebody else locked MongoDB", "at the same moment"]);
    let left = subject.mongodb().ask("admin", doc! {"fsyncUnlock": 1});
    assert_eq!(left.get_i64("lockCount").unwrap(), 0, "ours was left on, or theirs was taken off");
    subject.backup_ok();
    subject.assert_clean();
}

/// It says so itself: then nothing of ours is on, and whoever has locked it is somebody else.
#[test]
fn a_lock_that_the_server_refuses_leaves_that_of_somebody_else_alone() {
    let mut subject = locked();
    subject.mongodb().restart(&["--refuses"]);
    let outcome = subject.backup();
    outcome.claims_nothing(1, &["refuses to lock it", "the server's log"]);
    subject.place.ok(["recover"]);
    let left = subject.mongodb().ask("admin", doc! {"fsyncUnlock": 1});
    assert_eq!(left.get_i64("lockCount").unwrap(), 0, "somebody else's lock was taken off");
    subject.mongodb().restart(&[]);
    subject.backup_ok();
    subject.assert_clean();
}

/// The mark cannot go before somebody else's lock does. Whoever finishes the run must know all the same that the lock
/// that is on is not the run's.
#[test]
fn a_lock_that_somebody_made_at_the_same_moment_outlives_a_runner_that_dies_then() {
    let mut subject = locked();
    subject.mongodb().restart(&["--locked-beside"]);
    let failed = subject.backup();
    let run = failed.json()["run"].as_str().unwrap().to_owned();
    let noted = subject.place.journal(&run).iter().position(|(event, _)| event == "failed").unwrap();
    subject.mongodb().restart(&["--locked-beside"]);
    let mut command = subject.place.command(subject.backup_arguments());
    command.env("STANDSTILL_FAILPOINT", format!("{noted}:before:kill"));
    let killed = subject.place.spawn(command).wait();
    assert!(killed.was_killed(), "{killed}");
    subject.place.ok(["recover"]);
    let left = subject.mongodb().ask("admin", doc! {"fsyncUnlock": 1});
    assert_eq!(left.get_i64("lockCount").unwrap(), 0, "ours was left on, or theirs was taken off");
    subject.backup_ok();
    subject.assert_clean();
}

/// The line of a journal that says that the server is locked.
fn is_held((event, what): &(String, serde_json::Value)) -> bool {
    event == "done" && what["step"].as_str().is_some_and(|step| step.ends_with("quiesced"))
}

/// Both the runner and its holder are killed: the lock is on, and only the mark says whose it is.
#[test]
fn the_next_run_takes_off_the_lock_of_a_run_whose_holder_died_too() {
    let subject = locked();
    let clean = subject.backup_ok();
    let acquired = subject.place.journal(&clean).iter().position(is_held).unwrap();
    let mut command = subject.place.command(subject.backup_arguments());
    command.env("STANDSTILL_FAILPOINT", format!("{acquired}:after:stop"));
    let runner = subject.place.spawn(command);
    eventually(Duration::from_mins(1), "the runner stops", || runner.is_stopped());
    let ours =
        |process: &process::Process| process.program.as_deref() == Some(subject.place.binary.as_path());
    let holders = process::all()
        .into_iter()
        .filter(|process| ours(process) && process.line().contains(" hold mongodb "));
    for holder in holders {
        let pid = rustix::process::Pid::from_raw(i32::try_from(holder.pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }
    runner.signal(Signal::KILL);
    runner.wait();
    assert_eq!(subject.database().held().len(), 2, "the lock and the mark: {:?}", subject.database().held());
    let recovered = subject.place.run(["recover", "--output=json"]);
    assert_eq!(recovered.code(), Some(0), "{recovered}");
    subject.assert_clean();
    subject.backup_ok();
    subject.assert_clean();
}

#[test]
fn a_server_that_is_restarted_while_it_is_locked_fails_the_backup() {
    cases::claims_nothing_after_a_restart(locked(), "the lock on writes (fsyncLock) lapsed");
}

#[test]
fn a_server_that_somebody_unlocks_meanwhile_fails_the_backup() {
    let mut subject = locked();
    let slow = Slow::start(&subject, &[]);
    subject.mongodb().ask("admin", doc! {"fsyncUnlock": 1});
    subject.assert_refused(&slow.finish(), 1, &["somebody else unlocked MongoDB"]);
    subject.backup_ok();
    subject.assert_clean();
}

#[test]
fn a_server_of_the_wrong_kind_is_told_what_it_is() {
    let mut subject = locked();
    for (kind, says) in [
        ("mongos", "the router of a sharded cluster"),
        ("shard", "a part of a sharded cluster (shardsvr)"),
        ("inMemory", "the storage engine of MongoDB at"),
        ("primary", "is a primary, and a secondary was asked for"),
    ] {
        subject.mongodb().restart(&["--as", kind]);
        let outcome = subject.backup();
        subject.assert_refused(&outcome, 2, &[says]);
    }
    subject.mongodb().restart(&["--as", "secondary"]);
    let subject = subject.with("role=primary");
    let outcome = subject.backup();
    subject.assert_refused(&outcome, 2, &["is a secondary, and a primary was asked for"]);
}

#[test]
fn each_privilege_that_a_lock_lacks_is_named() {
    let mut subject = locked();
    for action in ["fsync", "unlock", "inprog", "serverStatus", "getCmdLineOpts", "insert", "remove"] {
        assert!(page("mongodb").contains(&format!("\"{action}\"")), "the page does not list {action}");
        subject.mongodb().restart(&["--lacks", action]);
        let outcome = subject.backup();
        let lacks = format!("it lacks `{action}`");
        subject.assert_refused(&outcome, 2, &["user backup may not", &lacks, "db.grantPrivilegesToRole"]);
    }
    // It is for the compatibility version, which is noted.
    for lacks in ["getParameter", "nothing"] {
        subject.mongodb().restart(&["--lacks", lacks]);
        subject.backup_ok();
    }
}

#[test]
fn each_privilege_that_a_flush_lacks_is_named() {
    let Some(mut subject) = Subject::new(&Kind::Mongodb) else { return };
    for action in ["fsync", "serverStatus", "getCmdLineOpts"] {
        subject.mongodb().restart(&["--lacks", action]);
        subject.assert_refused(&subject.backup(), 2, &[&format!("it lacks `{action}`")]);
    }
    // Those are for the lock.
    for lacks in ["unlock", "inprog", "insert"] {
        subject.mongodb().restart(&["--lacks", lacks]);
        subject.backup_ok();
    }
}

#[test]
fn a_server_that_takes_too_long_to_lock_is_given_up_and_unlocked() {
    let mut subject = locked();
    subject.mongodb().restart(&["--slow", "14000"]);
    let subject = subject.with("lockWait=1s");
    let outcome = subject.backup();
    subject.assert_refused(&outcome, 1, &["gave no answer within"]);
    subject.assert_clean();
}

#[test]
fn files_elsewhere_and_a_missing_program_are_said() {
    let subject = locked();
    let mut arguments = subject.backup_arguments();
    let elsewhere = subject.place.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    arguments.push(format!("--set=dataDir={}", elsewhere.display()));
    let outcome = subject.place.run(arguments);
    subject.assert_refused(&outcome, 2, &["are in", "storage.dbPath"]);
}
