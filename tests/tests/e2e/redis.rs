//! Redis: its traps, and what an operator is told.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{
    Application, Subject,
    cases::{claims_nothing_after_a_restart, locks_somebody_else_out},
    certificates::Certificates,
    eventually, free_port,
    kind::Kind,
    place::Outcome,
    postgresql::ROLE_PASSWORD,
    redis::{KEEPER, PERMISSIONS, Server, USER},
    subject::shipped,
    writer::assert_whole,
};

fn redis() -> Option<Subject> {
    Subject::new(&Kind::Redis)
}

pub(crate) fn server(subject: &mut Subject) -> &mut Server {
    let Application::Redis(server) = &mut subject.application else { panic!("not Redis") };
    server
}

/// A count that was made inside `MULTI`, or before the save, is of another instant than the file.
#[test]
fn keys_are_counted_at_the_very_instant_of_the_save() {
    let Some(subject) = redis() else { return };
    let _writer = subject.database().writer();
    for _ in 0..3 {
        let outcome = subject.backup();
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        let report = outcome.json();
        let facts = report["facts"].as_array().unwrap();
        let keys = facts.iter().find(|fact| fact["name"] == "keys").unwrap();
        assert_eq!(keys["bound"], "exact", "{outcome}");
        assert_eq!(report["freeze"]["milliseconds"], 0, "{outcome}");
        subject.verify_ok(report["recoveryPoint"].as_str().unwrap());
    }
}

/// What has expired by the time of the verification is gone from it, and was there when it was counted.
#[test]
fn keys_that_expire_before_the_verification_raise_no_alarm() {
    let Some(subject) = redis() else { return };
    let mut session = subject.redis().connect();
    for number in 0..500 {
        session.ask::<()>(&format!("SET expiring:{number} 1 PX 4000")).unwrap();
    }
    let point = subject.backup_ok();
    eventually(Duration::from_secs(20), "they expire", || {
        session.ask::<Vec<String>>("KEYS expiring:*").unwrap().is_empty()
    });
    subject.verify_ok(&point);
}

/// Has the server begin something that takes eight seconds: four thousandths of one for each of two thousand keys. What
/// it begins later takes no longer than usual: a child process keeps the settings with which it was started.
fn slowly(subject: &Subject, command: &str) {
    subject.redis().ask::<()>("CONFIG SET rdb-key-save-delay 4000");
    subject.redis().ask::<String>(command);
    subject.redis().ask::<()>("CONFIG SET rdb-key-save-delay 0");
}

/// Somebody else's save began earlier than ours would: what was acknowledged since is not in it.
#[test]
fn a_save_of_somebody_else_is_waited_for_and_not_taken_for_ours() {
    let Some(subject) = redis() else { return };
    slowly(&subject, "BGSAVE");
    let writer = subject.database().writer();
    let before = writer.acknowledged();
    assert_eq!(subject.redis().info("rdb_bgsave_in_progress"), "1");
    let point = subject.backup_ok();
    let after = writer.stop();
    assert_whole(&subject.read(&subject.restore(&point, "restored")), before, after);
    subject.verify_ok(&point);
}

/// While the append-only file is rewritten `BGSAVE` is refused, and nothing is being saved: whoever only waits for the
/// end of a save would be content at once with the file of an earlier one.
#[test]
fn a_rewrite_of_the_append_only_file_is_not_taken_for_a_save() {
    let Some(subject) = redis() else { return };
    subject.redis().ask::<()>("CONFIG SET appendonly yes");
    eventually(Duration::from_secs(20), "the append-only file begins", || {
        subject.redis().info("aof_rewrite_in_progress") == "0"
    });
    slowly(&subject, "BGREWRITEAOF");
    let writer = subject.database().writer();
    let before = writer.acknowledged();
    assert_eq!(subject.redis().info("aof_rewrite_in_progress"), "1");
    let point = subject.backup_ok();
    let after = writer.stop();
    assert_whole(&subject.read(&subject.restore(&point, "restored")), before, after);
}

#[test]
fn others_that_never_end_are_given_up_on_and_named() {
    let Some(subject) = redis() else { return };
    let subject = subject.with("waitFor=1s");
    subject.redis().ask::<()>("CONFIG SET rdb-key-save-delay 20000");
    subject.redis().ask::<String>("BGSAVE");
    let outcome = subject.backup();
    subject.assert_refused(&outcome, 1, &["a save of somebody else", "did not end within 1.0 s"]);
}

/// The file of a save that failed is still the one of the save before, and nothing is in progress.
#[test]
fn a_save_that_fails_fails_the_backup() {
    let Some(subject) = redis() else { return };
    // Nothing can take the name of a directory.
    fs::create_dir(subject.data().join("dump.rdb")).unwrap();
    let outcome = subject.backup();
    subject.assert_refused(&outcome, 1, &["could not save", "stop-writes-on-bgsave-error"]);
    fs::remove_dir(subject.data().join("dump.rdb")).unwrap();
    subject.backup_ok();
}

/// A save that fails for want of room makes the server refuse writes; so it is not tried.
#[test]
fn a_save_for_which_there_is_no_room_is_not_tried() {
    let Some(subject) = Subject::sized(&Kind::RedisOnBtrfs, 128) else { return };
    subject.backup_ok();
    let filler = subject.data().join("filler");
    let _full = Command::new("dd")
        .arg("if=/dev/urandom")
        .arg(format!("of={}", filler.display()))
        .args(["bs=64k", "count=4000", "conv=fsync"])
        .output()
        .unwrap();
    let saves = subject.redis().info("rdb_saves");
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    let error = outcome.json()["error"].to_string();
    assert!(error.contains("free, and a save") && error.contains("refuse all writes"), "{outcome}");
    assert_eq!(subject.redis().info("rdb_saves"), saves);
    fs::remove_file(filler).unwrap();
    // Room that is free again is not there at once.
    Command::new("sync").arg("-f").arg(subject.data()).status().unwrap();
    subject.backup_ok();
    subject.assert_clean();
}

/// Whatever was asked of the server before is not what is on the disk after.
#[test]
fn a_server_that_was_restarted_before_the_cut_fails_the_backup() {
    if let Some(subject) = redis() {
        claims_nothing_after_a_restart(subject, "was restarted, or is another one now");
    }
}

#[test]
fn each_missing_permission_is_named() {
    let Some(subject) = redis() else { return };
    for permission in PERMISSIONS.split(' ') {
        let name = permission.trim_start_matches('+');
        subject.redis().ask::<()>(&format!("ACL SETUSER {USER} -{name}"));
        let outcome = subject.backup();
        if name == "ping" {
            // A courtesy; nothing needs it.
            assert_eq!(outcome.code(), Some(0), "{outcome}");
        } else {
            assert_eq!(outcome.code(), Some(2), "{name}: {outcome}");
            let error = outcome.json()["error"].to_string();
            assert!(error.contains(&format!("'{name}'")) && error.contains("ACL SETUSER"), "{outcome}");
        }
        subject.redis().ask::<()>(&format!("ACL SETUSER {USER} {permission}"));
        subject.assert_clean();
    }
    // Nothing but these.
    subject.redis().ask::<()>(&format!("ACL SETUSER {USER} reset on nopass {PERMISSIONS}"));
    subject.backup_ok();
}

#[test]
fn a_wrong_password_a_missing_one_and_a_server_that_is_not_there_are_told() {
    let Some(subject) = redis() else { return };
    let wrong = subject.place.file("wrong", "not it");
    let port = subject.redis().port;
    let with = |more: &[String]| subject.backup_over_tcp(more);
    let (user, own) = (format!("user={KEEPER}"), format!("port={port}"));
    let outcome = with(&[user.clone(), own.clone(), format!("password=@{}", wrong.display())]);
    subject.assert_refused(
        &outcome,
        2,
        &[&format!("user {KEEPER} or the password is wrong at 127.0.0.1:{port}")],
    );
    let outcome = with(&[user.clone(), own.clone()]);
    subject.assert_refused(&outcome, 2, &["does not let user keeper in without a password"]);
    let outcome = with(&[user, "port=1".to_owned()]);
    subject.assert_refused(&outcome, 2, &["nobody listens at 127.0.0.1:1"]);
    subject.redis().ask::<()>(&format!("CONFIG SET requirepass {}", ROLE_PASSWORD.as_str()));
    let outcome = with(&["user=default".to_owned(), own]);
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    assert!(outcome.json()["error"].to_string().contains("without a password"), "{outcome}");
}

#[test]
fn a_directory_that_is_not_the_servers_is_refused() {
    let Some(subject) = redis() else { return };
    let other = subject.place.join("other");
    fs::create_dir(&other).unwrap();
    let mut arguments = subject.backup_arguments();
    arguments.push(format!("--set=dataDir={}", other.display()));
    let outcome = subject.place.run(arguments);
    subject.assert_refused(&outcome, 2, &["keeps its files in", "Set the volume's path to"]);
}

/// A directory of another server, at the path that this one names as its own: a container's and its host's.
#[test]
fn a_volume_that_another_server_saves_into_is_refused() {
    let Some(subject) = redis() else { return };
    let (data, other) = (subject.data(), subject.place.join("other"));
    subject.redis().ask::<String>("SAVE");
    let copied = Command::new("cp").arg("-a").arg(&data).arg(&other).status().unwrap();
    assert!(copied.success());
    // Older than the save that follows.
    std::thread::sleep(Duration::from_millis(2500));
    if !Command::new("mount").arg("--bind").arg(&other).arg(&data).status().unwrap().success() {
        println!("left out: nothing can be mounted here");
        return;
    }
    let outcome = subject.backup();
    assert!(Command::new("umount").arg(&data).status().unwrap().success());
    subject.assert_refused(&outcome, 2, &["is not what the server", "has just saved"]);
    subject.backup_ok();
}

#[test]
fn a_wrong_role_and_a_replica_that_lost_its_primary_are_refused() {
    let Some(mut subject) = redis() else { return };
    let mut primary = Server::make(&subject.place.join("primary"), &subject.place.join("p"), &[]);
    primary.make_keys();
    let writer = crate::support::database::Database::writer(&primary);
    subject.redis().ask::<()>(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    eventually(Duration::from_secs(30), "the replica is in step", || {
        subject.redis().info("master_link_status") == "up"
    });
    let point = subject.backup_ok();
    let outcome = subject.place.run(["show", &point, "--output=json"]);
    assert!(outcome.stdout.contains("\"replica\""), "{outcome}");
    writer.stop();
    subject.verify_ok(&point);
    primary.end(Signal::KILL);
    eventually(Duration::from_secs(30), "the replica notices", || {
        subject.redis().info("master_link_status") == "down"
    });
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    assert!(outcome.json()["error"].to_string().contains("has lost its primary"), "{outcome}");
    subject = subject.with("role=primary");
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    assert!(
        outcome.json()["error"].to_string().contains("is a replica, and a primary was asked for"),
        "{outcome}"
    );
    subject.assert_clean();
}

/// Backs up, and verifies a restored copy that this command of the shell's has changed; `$1` is the copy.
pub(crate) fn verify_changed(subject: &Subject, change: &str) -> Outcome {
    verify_changed_after(
        subject,
        "        - action: {run: restore, volumes: {new: scratch}}\n",
        "scratch",
        change,
    )
}

/// The same, after any step, on the volume as it is called there.
#[track_caller]
pub(crate) fn verify_changed_after(subject: &Subject, step: &str, volume: &str, change: &str) -> Outcome {
    let change = subject.script("change", change);
    let changed = format!(
        "{step}        - exec: {{command: [\"{}\", \"{{{{ volumes.{volume}.path }}}}\"]}}\n",
        change.display()
    );
    let text = shipped(subject.kind.blueprint()).replacen(step, &changed, 1);
    let outcome = subject.place.run(subject.with_blueprint(&text));
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    subject.verify(outcome.json()["recoveryPoint"].as_str().unwrap())
}

/// What `redis-check-rdb` and the server itself take for a good file, and what they do not.
#[test]
fn every_change_of_the_file_fails_the_verification() {
    let Some(subject) = redis() else { return };
    let changes = [
        ("flipped", "printf X | dd of=\"$1/dump.rdb\" bs=1 seek=40000 conv=notrunc"),
        ("cut", "truncate -s -100 \"$1/dump.rdb\""),
        ("longer", "printf XXXX >> \"$1/dump.rdb\""),
    ];
    for (name, change) in changes {
        let outcome = verify_changed(&subject, change);
        assert_eq!(outcome.code(), Some(4), "{name}: {outcome}");
        let checks = outcome.json()["checks"].to_string();
        assert!(checks.contains("checksum of dump.rdb"), "{name}: {outcome}");
    }
    subject.assert_clean();
}

#[test]
fn a_run_of_somebody_else_on_the_same_server_is_locked_out() {
    if let Some(subject) = redis() {
        locks_somebody_else_out(&subject, "is working on the server");
    }
}

/// A server that hangs answers nobody, and says nothing either.
#[test]
fn a_server_that_hangs_is_given_up_on() {
    let Some(subject) = redis() else { return };
    let pid: i32 = subject.redis().info("process_id").parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    let since = Instant::now();
    let outcome = subject.backup();
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    assert!(since.elapsed() < Duration::from_mins(1), "{outcome}");
    subject.assert_refused(&outcome, 2, &["no answer from"]);
}

#[test]
fn certificates_of_both_sides_are_looked_at() {
    let Some(mut subject) = redis() else { return };
    let certificates = Certificates::make(&subject.place);
    let file = |name: &str| certificates.file(name);
    let port = free_port();
    let server = server(&mut subject);
    server.stop();
    server.settings = ["--tls-port", &port.to_string(), "--tls-cert-file", &file("server.pem")]
        .iter()
        .chain(&["--tls-key-file", &file("server.key"), "--tls-ca-cert-file", &file("ca.pem")])
        .map(|&text| text.to_owned())
        .collect();
    server.start();
    let with = |more: &[String]| {
        let mut arguments = subject.backup_arguments();
        let usual = [
            "socket=".to_owned(),
            "host=127.0.0.1".to_owned(),
            "tls=true".to_owned(),
            format!("port={port}"),
        ];
        arguments.extend(usual.iter().chain(more).map(|value| format!("--set={value}")));
        subject.place.run(arguments)
    };
    let (authority, own, key) = (
        format!("tlsCa={}", file("ca.pem")),
        format!("tlsCert={}", file("client.pem")),
        format!("tlsKey={}", file("client.key")),
    );
    let outcome = with(&[]);
    subject.assert_refused(&outcome, 2, &["TLS needs an authority"]);
    // The server asks for a certificate by itself.
    let outcome = with(std::slice::from_ref(&authority));
    subject.assert_refused(&outcome, 2, &[]);
    let outcome = with(&[format!("tlsCa={}", file("client.pem")), own.clone(), key.clone()]);
    subject.assert_refused(&outcome, 2, &["TLS to 127.0.0.1", "is refused by one side"]);
    let plain = format!("port={}", subject.redis().port);
    let outcome = with(&[authority.clone(), own.clone(), key.clone(), plain]);
    subject.assert_refused(&outcome, 2, &["no answer from", "`tls-port`"]);
    let outcome = with(&[authority, own, key]);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
}
