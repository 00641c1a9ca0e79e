//! MongoDB: the lock on the fake, which keeps it as the manual describes.

use std::time::Duration;

use bson::doc;
use rustix::process::Signal;

use crate::support::{
    Subject, cases, eventually,
    kind::Kind,
    mongodb::{Client, Flavour, Server},
    process,
    relay::Relay,
    slow::Slow,
};

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
fn a_missing_privilege_is_named() {
    let mut subject = locked();
    for action in ["fsync", "unlock", "inprog", "serverStatus", "getCmdLineOpts", "insert", "remove"] {
        subject.mongodb().restart(&["--lacks", action]);
        let outcome = subject.backup();
        let lacks = format!("it lacks `{action}`");
        subject.assert_refused(&outcome, 2, &["user backup may not", &lacks, "db.grantPrivilegesToRole"]);
    }
    // The least that is needed.
    subject.mongodb().restart(&["--lacks", "nothing"]);
    subject.backup_ok();
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

/// SCRAM-SHA-256 on `SecantusDB`, a server that was not written here. It has no lock, and no files of MongoDB's.
#[test]
fn users_log_in_and_a_wrong_password_is_told() {
    let subject = locked();
    if Flavour::Secantus.program().is_none() {
        return;
    }
    let (data, bin) = (subject.place.join("secantus"), subject.place.join("secantus-bin"));
    let mut server = Server::make(Flavour::Secantus, &data, &bin);
    server.ask("admin", doc! {"createUser": "backup", "pwd": "a-pass/word", "roles": ["root"]});
    // In order, or it may have forgotten the user.
    server.end(Signal::TERM);
    server.options = vec!["--auth".to_owned()];
    server.start();
    let right = subject.place.file("right", "a-pass/word\n");
    let wrong = subject.place.file("wrong", "another\n");
    let says = |more: &[String], says: &[&str]| {
        let mut arguments = subject.backup_arguments();
        arguments.push(format!("--set=port={}", server.port));
        arguments.extend_from_slice(more);
        subject.place.run(arguments).claims_nothing(2, says);
    };
    says(&[], &["asks who one is", "`user` and `password`"]);
    let user = "--set=user=backup".to_owned();
    says(std::slice::from_ref(&user), &["user backup has no password"]);
    says(&[user.clone(), format!("--set=password=@{}", wrong.display())], &["or the password, is wrong"]);
    says(&[user, format!("--set=password=@{}", right.display())], &[]);
}

/// On `SecantusDB`, which is a database of its own.
#[track_caller]
fn dumped() -> Option<Subject> {
    Subject::new(&Kind::MongodbDump)
}

#[test]
fn a_dump_is_restored_with_its_options_and_indexes_and_replaces_nothing() {
    let Some(mut subject) = dumped() else { return };
    let server = subject.mongodb();
    for number in 0..1500_i64 {
        server.ask(
            "app",
            doc! {"insert": "rows", "documents": [{"_id": number + 1, "text": "x".repeat(1000)}]},
        );
    }
    let index = doc! {"key": {"text": 1, "_id": -1}, "name": "by_text"};
    server.ask("app", doc! {"createIndexes": "rows", "indexes": [index]});
    server.ask("app", doc! {"create": "log", "capped": true, "size": 4096});
    server.ask("other", doc! {"insert": "empty", "documents": [{"_id": 1}]});
    server.ask("other", doc! {"delete": "empty", "deletes": [{"q": {}, "limit": 0}]});
    let subject = subject.with("facts=exact");
    let point = subject.backup_ok();
    let verified = subject.verify(&point);
    assert_eq!(verified.code(), Some(0), "{verified}");
    let checks = verified.json()["checks"].as_array().cloned().unwrap();
    let passed =
        |name: &str| checks.iter().any(|check| check["name"] == name && check["outcome"] == "passed");
    assert!(
        passed("documents app.rows") && passed("documents other.empty") && passed("app.rows"),
        "{verified}"
    );
    let restored = subject.restore(&point, "restored");
    assert_eq!(subject.read(&restored).len(), 1500);
    let port = restored.port();
    let mut client = Client::open(port).unwrap();
    let indexes = client.all("app", doc! {"listIndexes": "rows"}).unwrap();
    assert!(
        indexes.iter().any(|index| index.get_str("name").is_ok_and(|name| name == "by_text")),
        "{indexes:?}"
    );
    let again = subject.place.run([
        "restore".to_owned(),
        point,
        format!("--set=port={port}"),
        format!("--set=file={}", subject.place.join("again").display()),
    ]);
    assert_eq!(again.code(), Some(2), "{again}");
    assert!(again.stderr.contains("is there already"), "{again}");
    drop(restored);
    subject.assert_clean();
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_its_dump_leaves_no_recovery_point() {
    let Some(mut subject) = dumped() else { return };
    for number in 0..300_i64 {
        let documents = [doc! {"_id": number + 1, "text": "x".repeat(100_000)}];
        subject.mongodb().ask("app", doc! {"insert": "rows", "documents": documents.to_vec()});
    }
    let relay = Relay::to(subject.mongodb().port);
    let mut subject = subject.with(&format!("port={}", relay.port)).with("facts=none");
    relay.pass_at_most(8_000_000);
    let runner = subject.place.start(subject.backup_arguments());
    eventually(Duration::from_mins(1), "much was sent", || relay.is_full());
    subject.mongodb().end(Signal::KILL);
    relay.pass_at_most(u64::MAX);
    let outcome = runner.wait();
    outcome.claims_nothing(1, &["MongoDB at", "read app.rows"]);
    assert_eq!(subject.place.points(), Vec::<String>::new());
    let snapshots = std::fs::read_dir(subject.place.repository().join("snapshots")).unwrap().count();
    assert_eq!(snapshots, 0, "a part of a dump was stored");
}

#[test]
fn a_server_without_history_and_one_that_is_no_mongodb_are_told_so() {
    let Some(mut subject) = dumped() else { return };
    subject.mongodb().restart(&["--standalone"]);
    let outcome = subject.backup();
    subject.assert_refused(&outcome, 2, &["stands alone", "rs.initiate()"]);
    let subject = subject.with("port=1");
    let outcome = subject.backup();
    outcome.claims_nothing(2, &["nobody listens at 127.0.0.1:1"]);
}
