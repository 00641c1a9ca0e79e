//! Redis' append-only file, dumps over the connection, and Valkey.

use std::{fs, process::Command, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    redis::{server, verify_changed, verify_changed_after},
    support::{
        Subject,
        cases::claims_nothing_after_a_restart,
        eventually,
        kind::Kind,
        leftovers,
        redis::{MIN_SIZE, USER, valkey},
        slow::Slow,
        writer::assert_whole,
    },
};

/// The permissions of the READMEs.
const FOR_AOF: &str = "+ping +info +client|setname +client|list +config|get +config|set";
const FOR_DUMPS: &str = "+ping +info +client|setname +client|list +psync +replconf";

fn aof() -> Option<Subject> {
    Subject::new(&Kind::RedisAof)
}

fn dump() -> Option<Subject> {
    Subject::new(&Kind::RedisDump)
}

#[test]
fn a_server_without_an_append_only_file_is_refused() {
    let Some(subject) = aof() else { return };
    subject.redis().ask::<()>("CONFIG SET appendonly no");
    let outcome = subject.backup();
    subject.assert_refused(&outcome, 2, &["has no append-only file", "Use the blueprint redis"]);
}

/// A rewrite that is done in the middle of a copy removes the base that the copied list still names.
#[test]
fn a_rewrite_that_runs_already_is_waited_for_and_none_happens_by_itself() {
    let Some(subject) = aof() else { return };
    // Small enough that the writer would cause one rewrite after the other.
    subject.redis().ask::<()>("CONFIG SET auto-aof-rewrite-percentage 1");
    subject.redis().ask::<()>("CONFIG SET rdb-key-save-delay 500");
    subject.redis().ask::<String>("BGREWRITEAOF");
    let writer = subject.database().writer();
    let before = writer.acknowledged();
    let point = subject.backup_ok();
    let after = writer.stop();
    subject.redis().ask::<()>("CONFIG SET rdb-key-save-delay 0");
    assert_whole(&subject.read(&subject.restore(&point, "restored")), before, after);
    subject.verify_ok(&point);
    subject.assert_clean();
}

#[test]
fn a_rewrite_that_somebody_orders_meanwhile_fails_the_backup() {
    let Some(subject) = aof() else { return };
    let slow = Slow::start(&subject, &[]);
    assert!(subject.redis().setting("auto-aof-rewrite-min-size").ends_with(&MIN_SIZE.to_string()));
    subject.redis().ask::<String>("BGREWRITEAOF");
    let outcome = slow.finish();
    subject.assert_refused(&outcome, 1, &["rewrite its append-only file"]);
    subject.backup_ok();
}

/// The processes that hold rewrites off.
#[track_caller]
fn holders(subject: &Subject) -> Vec<Pid> {
    let all = leftovers::processes(&subject.place, &[]).into_iter();
    let holders = all.filter(|process| process.line().contains("hold redis"));
    let holders: Vec<Pid> =
        holders.map(|holder| Pid::from_raw(i32::try_from(holder.pid).unwrap()).unwrap()).collect();
    assert!(!holders.is_empty());
    holders
}

#[test]
fn a_run_whose_holder_is_killed_claims_nothing_and_puts_the_setting_back() {
    let Some(subject) = aof() else { return };
    let slow = Slow::start(&subject, &[]);
    for pid in holders(&subject) {
        kill_process(pid, Signal::KILL).unwrap();
    }
    let outcome = slow.finish();
    subject.assert_refused(&outcome, 1, &["lapsed"]);
    subject.backup_ok();
}

/// The runner and the holder are both killed: only the setting itself knows what it was before.
#[test]
fn what_a_killed_holder_left_is_put_back_by_recovery() {
    let Some(subject) = aof() else { return };
    let slow = Slow::start(&subject, &[]);
    // The holder first, or it would let go when the runner is gone.
    let killed = holders(&subject);
    for pid in &killed {
        kill_process(*pid, Signal::STOP).unwrap();
    }
    slow.runner.signal(Signal::KILL);
    drop(slow.runner.wait());
    for pid in killed {
        let _gone = kill_process(pid, Signal::KILL);
    }
    let left = subject.redis().setting("auto-aof-rewrite-min-size");
    assert!(left.starts_with('4') && left.ends_with(&MIN_SIZE.to_string()), "{left}");
    subject.place.ok(["recover"]);
    subject.assert_clean();
    subject.backup_ok();
}

#[test]
fn a_hold_of_somebody_else_is_refused_with_the_command_that_ends_it() {
    let Some(subject) = aof() else { return };
    subject.redis().ask::<()>(&format!("CONFIG SET auto-aof-rewrite-min-size 401234{MIN_SIZE:013}"));
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let error = outcome.json()["error"].to_string();
    let command = format!("CONFIG SET auto-aof-rewrite-min-size {MIN_SIZE}");
    assert!(error.contains("held off by another run") && error.contains(&command), "{outcome}");
    subject.redis().ask::<()>(&command);
    subject.backup_ok();
    subject.assert_clean();
}

/// The setting dies with the server too.
#[test]
fn a_server_that_is_killed_while_rewrites_are_held_off_fails_the_backup() {
    if let Some(subject) = aof() {
        claims_nothing_after_a_restart(subject, "lapsed");
    }
}

/// Nobody answers, and no connection is closed either: as when packets are dropped.
#[test]
fn a_server_that_falls_silent_while_rewrites_are_held_off_has_its_setting_back_afterwards() {
    let Some(subject) = aof() else { return };
    let subject = subject.with_short_lease();
    let mut slow = Slow::start(&subject, &[]);
    let pid: i32 = subject.redis().info("process_id").parse().unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_secs(8));
    let ended_early = slow.runner.has_ended();
    kill_process(pid, Signal::CONT).unwrap();
    let outcome = slow.finish();
    assert!(!ended_early || outcome.code() != Some(0), "{outcome}");
    subject.assert_refused(&outcome, 1, &[]);
    subject.backup_ok();
}

#[test]
fn each_missing_permission_is_named() {
    for (kind, permissions) in [(Kind::RedisAof, FOR_AOF), (Kind::RedisDump, FOR_DUMPS)] {
        let Some(subject) = Subject::new(&kind) else { return };
        for permission in permissions.split(' ').filter(|permission| *permission != "+ping") {
            let name = permission.trim_start_matches('+');
            subject.redis().ask::<()>(&format!("ACL SETUSER {USER} -{name}"));
            let outcome = subject.backup();
            assert_eq!(outcome.code(), Some(2), "{name}: {outcome}");
            let error = outcome.json()["error"].to_string();
            assert!(error.contains(&format!("'{name}'")) && error.contains("ACL SETUSER"), "{outcome}");
            subject.redis().ask::<()>(&format!("ACL SETUSER {USER} {permission}"));
            subject.assert_clean();
        }
        // Nothing but these.
        subject.redis().ask::<()>(&format!("ACL SETUSER {USER} reset on nopass {permissions}"));
        subject.backup_ok();
        subject.assert_clean();
    }
}

/// For snapshots of a block device, which this machine has none of: what is demanded then is looked at before and after.
#[test]
fn a_server_that_acknowledges_what_is_not_on_its_disk_is_refused_where_that_matters() {
    let Some(subject) = aof() else { return };
    let subject = subject.with("durable=true");
    let set = |setting: &str| subject.redis().ask::<()>(&format!("CONFIG SET {setting}"));
    set("no-appendfsync-on-rewrite yes");
    for (name, wrong, right) in
        [("appendfsync", "everysec", "always"), ("no-appendfsync-on-rewrite", "yes", "no")]
    {
        let says = [format!("has `{name} {wrong}`"), format!("CONFIG SET {name} {right}")];
        subject.backup().claims_nothing(2, &[&says[0], &says[1]]);
        set(&format!("{name} {right}"));
    }
    let slow = Slow::start(&subject, &[]);
    set("appendfsync everysec");
    subject.assert_refused(&slow.finish(), 1, &["has `appendfsync everysec`"]);
    set("appendfsync always");
    subject.backup_ok();
}

/// A server takes a file that was cut in the middle, and says nothing to those who do not read its log.
#[test]
fn an_append_only_file_that_lost_what_was_acknowledged_fails_the_verification() {
    let Some(subject) = aof() else { return };
    let changes = [
        ("cut", "truncate -s -2000 \"$1\"/appendonlydir/*.incr.aof", "had been acknowledged"),
        ("missing", "rm \"$1\"/appendonlydir/*.base.rdb", "cannot be read"),
        (
            "broken",
            "printf XXXX | dd of=\"$(echo \"$1\"/appendonlydir/*.incr.aof)\" bs=1 seek=0 conv=notrunc",
            "is not understood at byte",
        ),
    ];
    for (name, change, says) in changes {
        let outcome = verify_changed(&subject, change);
        assert_eq!(outcome.code(), Some(4), "{name}: {outcome}");
        assert!(outcome.json()["checks"].to_string().contains(says), "{name}: {outcome}");
    }
    subject.assert_clean();
}

/// As a snapshot of btrfs may have it: longer, and without the bytes. A server ends at that with "Bad file format".
#[test]
fn what_was_being_written_at_the_cut_is_cut_off() {
    let Some(subject) = aof() else { return };
    let writer = subject.database().writer();
    writer.stop();
    let stored = "        - volume: {artifact: data, to: new}\n";
    for (name, change) in [
        ("zeros", "truncate -s +5000 \"$1\"/appendonlydir/*.incr.aof"),
        ("half", "printf '*3\\r\\n$3\\r\\nSE' >> \"$(echo \"$1\"/appendonlydir/*.incr.aof)\""),
    ] {
        let outcome = verify_changed_after(&subject, stored, "new", change);
        assert_eq!(outcome.code(), Some(0), "{name}: {outcome}");
        println!("{name}: {}", outcome.json()["checks"]);
    }
    let lost = "truncate -s -2000 \"$1\"/appendonlydir/*.incr.aof; truncate -s +4000 \"$1\"/appendonlydir/*.incr.aof";
    let outcome = verify_changed_after(&subject, stored, "new", lost);
    assert_eq!(outcome.code(), Some(4), "{outcome}");
    assert!(outcome.json()["error"].to_string().contains("had been acknowledged"), "{outcome}");
    subject.assert_clean();
}

/// What came so far is a beginning of a file; only its end tells.
#[test]
fn a_dump_that_is_cut_off_leaves_no_recovery_point() {
    let Some(subject) = dump() else { return };
    subject.redis().ask::<()>("CONFIG SET repl-diskless-sync-delay 0");
    subject.redis().ask::<()>("CONFIG SET rdbcompression no");
    subject.redis().ask::<()>("CONFIG SET rdb-key-save-delay 2000");
    let runner = subject.place.start(subject.backup_arguments());
    eventually(Duration::from_secs(30), "some of the dump has come", || {
        let mut find = Command::new("find");
        find.arg(subject.place.tmp()).args(["-name", "dump.rdb", "-size", "+0"]);
        !find.output().unwrap().stdout.is_empty()
    });
    subject.redis().ask::<i64>("CLIENT KILL TYPE replica");
    let outcome = runner.wait();
    subject.redis().ask::<()>("CONFIG SET rdb-key-save-delay 0");
    subject.assert_refused(&outcome, 1, &["broke off after", "client-output-buffer-limit"]);
    assert_eq!(fs::read_dir(subject.place.repository().join("snapshots")).unwrap().count(), 0);
    subject.backup_ok();
}

#[test]
fn a_dump_is_whole_too_where_the_server_writes_a_file_first() {
    let Some(subject) = dump() else { return };
    for (setting, without) in [("yes", true), ("no", false)] {
        subject.redis().ask::<()>(&format!("CONFIG SET repl-diskless-sync {setting}"));
        let outcome = subject.backup();
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        let report = outcome.json();
        assert_eq!(report["holds"][0]["evidence"]["withoutAFile"], without, "{outcome}");
        assert_eq!(report["holds"][0]["evidence"]["checksum"], "ok", "{outcome}");
        subject.verify_ok(report["recoveryPoint"].as_str().unwrap());
    }
    subject.assert_clean();
}

#[test]
fn valkey_goes_the_whole_way_by_every_blueprint() {
    let Some(names) = valkey() else { return };
    for kind in [Kind::Redis, Kind::RedisAof, Kind::RedisDump] {
        let Some(subject) = Subject::new(&kind) else { return };
        let mut subject = subject.with(&format!("binDir={}", names.display()));
        let server = server(&mut subject);
        server.stop();
        server.program = Some(names.join("redis-server"));
        server.start();
        assert!(!server.info("valkey_version").is_empty());
        let writer = subject.database().writer();
        let before = writer.acknowledged();
        let outcome = subject.backup();
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        let report = outcome.json();
        let said = report["holds"][0]["evidence"]["server"].to_string();
        assert!(said.contains("Valkey"), "{outcome}");
        let after = writer.stop();
        let point = report["recoveryPoint"].as_str().unwrap();
        subject.verify_ok(point);
        assert_whole(&subject.read(&subject.restore(point, "restored")), before, after);
        subject.assert_clean();
    }
}
