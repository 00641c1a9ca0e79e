//! MariaDB's own backup program: its traps, and what it makes others wait for.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    mariadb::reconfigure,
    support::{Subject, cases::beside_a_long_update, kind::Kind, writer::assert_whole},
};

fn mariadb() -> Option<Subject> {
    Subject::new(&Kind::MariadbBackup)
}

/// From now on with this shell text in the place of the program; what it is given is `"$@"`.
fn with_program(subject: Subject, script: &str) -> Subject {
    let bin = subject.place.join("programs");
    fs::create_dir(&bin).unwrap();
    let program = bin.join("mariadb-backup");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let value = format!("binDir={}", bin.display());
    subject.with(&value)
}

#[test]
fn what_ends_without_its_completion_line_is_not_stored_whatever_its_status() {
    let Some(subject) = mariadb() else { return };
    let script = r#"case "$*" in *--version*) exec /usr/bin/mariadb-backup "$@";; esac
/usr/bin/mariadb-backup "$@" 2>/dev/null
echo 'no room for the last table' >&2"#;
    let subject = with_program(subject, script);
    subject.assert_refused(
        &subject.backup(),
        1,
        &["does not end with `completed OK!` but with `no room for the last table`"],
    );
}

#[test]
fn what_fails_after_its_completion_line_is_not_stored_either() {
    let Some(subject) = mariadb() else { return };
    let script = r#"/usr/bin/mariadb-backup "$@" && case "$*" in *--version*) exit 0;; esac; exit 7"#;
    let subject = with_program(subject, script);
    subject.assert_refused(&subject.backup(), 1, &["mariadb-backup ended with exit status 7"]);
}

#[test]
fn a_program_of_another_version_is_refused_before_anything_is_read() {
    let Some(subject) = mariadb() else { return };
    let subject = with_program(subject, "echo 'mariadb-backup based on MariaDB server 10.6.1-MariaDB' >&2");
    let says = ["must be of the server's own version, which is 10.", "it says: mariadb-backup based on"];
    let outcome = subject.backup();
    assert_ne!(outcome.code(), Some(0), "{outcome}");
    subject.assert_refused(&outcome, outcome.code().unwrap(), &says);
}

/// It waits for a day by itself, with everybody who writes to such a table behind it.
#[test]
fn a_long_statement_in_the_way_of_the_program_ends_the_backup_and_is_named() {
    let Some(subject) = mariadb() else { return };
    let subject = subject.with("lockWait=1s").with("lease=3s");
    let began = Instant::now();
    let beside = beside_a_long_update(&subject, "MyISAM");
    let took = began.elapsed();
    // Whoever writes to another such table waits no longer.
    subject
        .mariadb()
        .sql("CREATE TABLE app.other (id INT) ENGINE = MyISAM; INSERT INTO app.other VALUES (1)");
    let [what, age, remedy] = beside.long.said("an UPDATE");
    let outcome = beside.end();
    let says = ["a hold lapsed: a BACKUP of connection", "waited for the backup for more than 1.0 s"];
    subject.assert_refused(&outcome, 1, &says);
    subject.assert_refused(&outcome, 1, &[&what, &age, &remedy]);
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// Commits wait while the last of it is written, so one who does not read must not keep them waiting.
#[test]
fn commits_that_wait_for_a_stream_that_nobody_reads_end_the_backup() {
    let Some(subject) = mariadb() else { return };
    // In its place somebody who reaches the last stage and stays there, as it does where its output is not read.
    let script = r#"case "$*" in *--version*) exec /usr/bin/mariadb-backup "$@";; esac
socket=$(echo "$*" | tr ' ' '\n' | grep '^--socket=')
{ echo "BACKUP STAGE START; BACKUP STAGE BLOCK_COMMIT;"; sleep 60; } |
  mariadb --no-defaults --user=root "$socket"
"#;
    let subject = with_program(subject, script).with("lockWait=1s").with("lease=3s");
    let writer = subject.database().writer();
    let since = Instant::now();
    let outcome = subject.backup();
    writer.goes_on(Duration::from_secs(10));
    let stalled = writer.longest_stall(since);
    println!("the longest stall of a writer was {stalled:?}");
    assert!(stalled < Duration::from_secs(5), "{stalled:?}");
    subject.assert_refused(&outcome, 1, &["waited for the backup for more than 1.0 s"]);
}

/// It is recovered without one, so it may lie anywhere, and nothing is looked for in it.
#[test]
fn a_binary_log_elsewhere_and_tables_of_other_engines_come_back_whole() {
    let Some(mut subject) = mariadb() else { return };
    let elsewhere = subject.mariadb().sockets.join("far");
    reconfigure(&mut subject, &format!("log-bin = {}\n", elsewhere.display()));
    subject
        .mariadb()
        .sql("CREATE TABLE app.log (id INT PRIMARY KEY) ENGINE = MyISAM; INSERT INTO app.log SELECT id FROM app.ballast");
    let writer = subject.database().writer();
    let before = writer.acknowledged();
    let point = subject.backup_ok();
    let after = writer.acknowledged() + 1;
    drop(writer);
    subject.verify_ok(&point);
    let restored = subject.restore(&point, "restored");
    assert_whole(&subject.read(&restored), before, after);
    assert!(has(&restored.copy.join("app/log.MYD")));
    subject.assert_clean();
}

fn has(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
}

/// It copies such a table, and a copy of it would open the original's file.
#[test]
fn a_table_in_a_directory_of_its_own_is_refused() {
    let Some(subject) = mariadb() else { return };
    let far = subject.mariadb().sockets.display().to_string();
    subject.mariadb().sql(&format!("CREATE TABLE app.far (id INT) DATA DIRECTORY = '{far}'"));
    subject.assert_refused(&subject.backup(), 2, &["misses", "far"]);
}
