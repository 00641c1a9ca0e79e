//! Frozen file systems: never left so, and nobody waits for himself.

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::support::{
    Application, Subject, eventually,
    files::Files,
    filesystem::{Kind as On, Mounted},
    kind::Kind,
    slow::Slow,
};

fn frozen() -> Option<Subject> {
    Subject::new(&Kind::Frozen(On::Ext4))
}

#[track_caller]
fn files(subject: &Subject) -> &Files {
    match &subject.application {
        Application::Files(files) => files,
        _ => panic!("{} is no file system", subject.kind),
    }
}

#[test]
fn a_freeze_that_was_there_before_is_refused_and_stays() {
    let Some(subject) = frozen() else { return };
    assert!(files(&subject).fsfreeze("--freeze").status.success());
    let outcome = subject.backup();
    let stays = files(&subject).is_frozen();
    files(&subject).fsfreeze("--unfreeze");
    subject.assert_refused(&outcome, 1, &["is frozen already, by somebody else"]);
    assert!(stays, "a foreign freeze was thawed");
    subject.backup_ok();
    subject.assert_clean();
}

/// Who writes to what is frozen cannot thaw it.
#[test]
fn what_a_run_writes_to_may_not_be_on_the_frozen_file_system() {
    let Some(mut subject) = frozen() else { return };
    let on_it = subject.data().join("on-it");
    fs::create_dir(&on_it).unwrap();
    let says = "is on the file system that is to be frozen";
    for name in ["TMPDIR", "XDG_STATE_HOME"] {
        subject.place.env.push((name.into(), on_it.clone().into()));
        let outcome = subject.backup();
        subject.place.env.pop();
        subject.assert_refused(&outcome, 2, &[says, "TMPDIR"]);
        assert!(!files(&subject).is_frozen());
    }
    let log = fs::File::create(on_it.join("log")).unwrap();
    let mut command = subject.place.command(subject.backup_arguments());
    let output = command.stdout(Stdio::piped()).stderr(log).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("the log of this program") && said.contains(says), "{said}");
    let program = on_it.join("program");
    fs::copy(&subject.place.binary, &program).unwrap();
    let built = std::mem::replace(&mut subject.place.binary, program);
    let outcome = subject.backup();
    subject.place.binary = built;
    subject.assert_refused(&outcome, 2, &[says]);
    fs::remove_dir_all(&on_it).unwrap();
    subject.backup_ok();
    subject.assert_clean();
}

#[test]
fn a_part_of_a_file_system_and_a_btrfs_are_not_frozen() {
    let Some(subject) = frozen() else { return };
    let part = subject.data().join("ballast");
    let part = subject.place.run([
        "backup".to_owned(),
        "filesystem".to_owned(),
        "--output=json".to_owned(),
        format!("--set=path={}", part.display()),
    ]);
    subject.assert_refused(&part, 2, &["is not where a file system is mounted"]);
    let Some(btrfs) = Mounted::new(On::Btrfs, &subject.place.join("btrfs"), 256) else { return };
    let outcome = subject.place.run([
        "backup".to_owned(),
        "filesystem".to_owned(),
        "--output=json".to_owned(),
        format!("--set=path={}", btrfs.path().display()),
    ]);
    subject.assert_refused(&outcome, 2, &["is a btrfs, whose snapshots wait while it is frozen"]);
}

#[test]
fn a_thaw_by_somebody_else_is_noticed_and_nothing_is_claimed() {
    let Some(subject) = frozen() else { return };
    let slow = Slow::start(&subject, &["maxFreeze=50s", "lease=3s"]);
    assert!(files(&subject).fsfreeze("--unfreeze").status.success());
    subject.assert_refused(&slow.finish(), 1, &[]);
}

/// Nobody is left who would thaw it by himself.
#[test]
fn when_the_keeper_is_killed_with_the_runner_the_next_one_thaws() {
    let Some(subject) = frozen() else { return };
    let writer = subject.database().writer();
    let runner = Slow::start(&subject, &["maxFreeze=50s", "lease=3s"]).runner;
    subject.kill_with_keeper(runner);
    let since = Instant::now();
    eventually(Duration::from_secs(30), "recovery thaws it", || {
        subject.place.run(["recover"]).code() == Some(0) && !files(&subject).is_frozen()
    });
    println!("thawed after {:?}", since.elapsed());
    writer.goes_on(Duration::from_secs(5));
    drop(writer);
    subject.assert_clean();
    subject.backup_ok();
}
