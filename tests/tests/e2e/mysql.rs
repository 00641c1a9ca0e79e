//! MySQL: its traps, and what an operator is told.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    mariadb::{
        flip_a_byte, other_engines_make_writers_wait, reconfigure, refuses_a_volume_of_another_server,
        writers_go_on,
    },
    support::{
        Subject,
        cases::{beside_a_long_update, claims_nothing_after_a_restart},
        kind::Kind,
        long::Long,
        mariadb::{MARIADB, Server, USER},
    },
};

fn mysql() -> Option<Subject> {
    Subject::new(&Kind::Mysql)
}

/// Without the binary log recovery guesses which transactions were committed.
#[test]
fn a_binary_log_outside_the_volume_of_mysql_is_refused() {
    let Some(mut subject) = mysql() else { return };
    let elsewhere = subject.mariadb().sockets.join("far");
    reconfigure(&mut subject, &format!("log-bin = {}\n", elsewhere.display()));
    subject.assert_refused(&subject.backup(), 2, &["misses the binary log in", "data directory"]);
}

#[test]
fn a_server_of_mysql_without_a_binary_log_is_backed_up_and_verified() {
    let Some(mut subject) = mysql() else { return };
    reconfigure(&mut subject, "skip-log-bin\n");
    let point = subject.backup_ok();
    subject.verify_ok(&point);
    subject.assert_clean();
}

/// The data dictionary names its file by an absolute path: a scratch server would open the original's.
#[test]
fn a_table_of_mysql_in_a_directory_of_its_own_is_refused() {
    let Some(mut subject) = mysql() else { return };
    let far = subject.mariadb().sockets.display().to_string();
    reconfigure(&mut subject, &format!("innodb-directories = {far}\n"));
    subject.mariadb().sql(&format!("CREATE TABLE app.far (id INT) DATA DIRECTORY = '{far}'"));
    subject.assert_refused(&subject.backup(), 2, &["misses table app/far in", "mysql-dump"]);
}

#[test]
fn a_volume_that_another_server_of_mysql_runs_on_is_refused() {
    if let Some(subject) = mysql() {
        refuses_a_volume_of_another_server(&subject, "MySQL");
    }
}

/// A global read lock that waited for a reader would make other readers of the table wait for it too, even after it was
/// given up.
#[test]
fn a_long_reader_keeps_the_global_read_lock_from_being_tried() {
    let Some(subject) = mysql() else { return };
    let server = subject.mariadb();
    server.sql("CREATE TABLE app.log (id INT) ENGINE = MyISAM; INSERT INTO app.log VALUES (1)");
    let long = Long::start(server, "SELECT SLEEP(120) FROM app.ballast LIMIT 1");
    let (writer, reader) = (subject.database().writer(), server.connect());
    let mut runner = subject.place.start(subject.backup_arguments());
    let (since, mut longest) = (Instant::now(), Duration::ZERO);
    while !runner.has_ended() && since.elapsed() < Duration::from_mins(1) {
        let asked = Instant::now();
        reader.rows("SELECT COUNT(*) FROM app.ballast").unwrap();
        longest = longest.max(asked.elapsed());
    }
    let stalled = writer.longest_stall(since);
    let (outcome, [what, age, remedy]) = (runner.wait(), long.said("a SELECT"));
    drop(long);
    println!("the longest stall of a reader was {longest:?}, of a writer {stalled:?}");
    assert!(longest.max(stalled) < Duration::from_secs(3), "readers waited {longest:?}, writers {stalled:?}");
    subject.assert_refused(
        &outcome,
        1,
        &[
            "FLUSH TABLES WITH READ LOCK",
            "was not tried, for others would wait behind it: ",
            &what,
            &age,
            &remedy,
        ],
    );
    subject.backup_ok();
}

/// To the lock for backups a long statement is in nobody's way; in that of the global one it is named.
#[test]
fn a_long_update_before_the_quiesce_of_mysql_becomes_no_outage() {
    let Some(subject) = mysql() else { return };
    let beside = beside_a_long_update(&subject, "InnoDB");
    assert_eq!(beside.outcome.code(), Some(0), "{}", beside.outcome);
    assert!(beside.stalled < Duration::from_secs(3), "writers waited {:?}", beside.stalled);
    drop(beside);
    let subject = subject.with("lock=global");
    let beside = beside_a_long_update(&subject, "InnoDB");
    assert!(beside.stalled < Duration::from_secs(3), "writers waited {:?}", beside.stalled);
    let [what, age, remedy] = beside.long.said("an UPDATE");
    let outcome = beside.end();
    outcome.claims_nothing(1, &["FLUSH TABLES WITH READ LOCK", &what, &age, &remedy]);
    subject.assert_clean();
}

/// Definitions that are being made hold the lock for backups off.
#[test]
fn a_long_definition_in_the_way_of_the_lock_for_backups_is_named() {
    let Some(subject) = mysql() else { return };
    let subject = subject.with("lockWait=1s");
    let long = Long::start(subject.mariadb(), "CREATE TABLE app.slow AS SELECT SLEEP(120) AS waited");
    let outcome = subject.backup();
    let [what, age, remedy] = long.said("a CREATE");
    drop(long);
    subject.assert_refused(&outcome, 1, &["did not get its lock within 1.0 s: ", &what, &age, &remedy]);
}

#[test]
fn a_statement_of_mysql_older_than_allowed_refuses_the_backup_before_anything_is_held() {
    let Some(subject) = mysql() else { return };
    let subject = subject.with("maxStatementAge=1s");
    let long = Long::start(subject.mariadb(), "UPDATE app.ballast SET text = SLEEP(120) WHERE id = 1");
    let outcome = subject.backup();
    let [what, age, remedy] = long.said("an UPDATE");
    drop(long);
    subject.assert_refused(&outcome, 1, &[&what, &age, "longer than 1s", &remedy]);
    subject.backup_ok();
}

/// Both speak the same protocol, and answer most of what they are asked.
#[test]
fn a_blueprint_that_meets_the_other_flavour_says_so() {
    let Some(subject) = mysql() else { return };
    let meets = |blueprint: &str, socket: &Path| {
        let mut arguments = subject.backup_arguments();
        blueprint.clone_into(&mut arguments[1]);
        arguments.push(format!("--set=socket={}", socket.display()));
        subject.place.run(arguments)
    };
    for blueprint in ["mariadb", "mariadb-dump"] {
        let mut arguments = vec!["backup".to_owned(), blueprint.to_owned(), "--output=json".to_owned()];
        arguments.push(format!("--set=socket={}", subject.mariadb().socket().display()));
        arguments.push(format!("--set=user={USER}"));
        let place = if blueprint == "mariadb" { "dataDir" } else { "scratchOwner" };
        arguments.push(format!("--set={place}={}", subject.data().display()));
        let outcome = subject.place.run(arguments);
        subject.assert_refused(&outcome, 2, &["is MySQL 9", "not MariaDB", "Use a blueprint for MySQL"]);
    }
    if MARIADB.is_here() {
        let other = Server::make(&MARIADB, &subject.place.join("other"), &subject.place.join("other.s"), "");
        let outcome = meets("mysql", &other.socket());
        drop(other);
        subject.assert_refused(&outcome, 2, &["is MariaDB 1", "not MySQL", "Use a blueprint for MariaDB"]);
    }
}

#[test]
fn a_wrong_role_of_mysql_is_refused() {
    let Some(subject) = mysql() else { return };
    let subject = subject.with("role=replica");
    subject.assert_refused(&subject.backup(), 2, &["is a primary, and a replica was asked for"]);
    // Stopped, and a replica all the same.
    subject.mariadb().sql("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1");
    subject.backup_ok();
    subject.assert_clean();
}

/// It is what shows that the locks were held: `UNLOCK INSTANCE` succeeds without one.
#[test]
fn a_server_that_cannot_show_its_locks_is_refused() {
    let Some(mut subject) = mysql() else { return };
    reconfigure(&mut subject, "performance-schema = OFF\n");
    subject.assert_refused(
        &subject.backup(),
        2,
        &["the performance schema of MySQL", "performance_schema = ON"],
    );
}

/// They lie in the data directory, outrank every other, and may name the original's places.
#[test]
fn a_scratch_server_does_not_load_settings_that_were_made_to_persist() {
    let Some(subject) = mysql() else { return };
    let log = subject.mariadb().sockets.join("persisted.log");
    subject.mariadb().sql(&format!(
        "SET PERSIST_ONLY general_log = ON; SET PERSIST_ONLY general_log_file = '{}'",
        log.display()
    ));
    let point = subject.backup_ok();
    subject.verify_ok(&point);
    assert!(!log.exists(), "a scratch server wrote to {}", log.display());
    subject.assert_clean();
}

/// `mysqlcheck` would end with status 0, and a server starts on such files without a word.
#[test]
fn a_flipped_byte_in_a_table_of_mysql_fails_the_verification() {
    let Some(mut subject) = mysql() else { return };
    flip_a_byte(&mut subject);
    let point = subject.place.run({
        let mut arguments = subject.backup_arguments();
        arguments.push("--set=facts=none".to_owned());
        arguments
    });
    let point = point.json()["recoveryPoint"].as_str().unwrap().to_owned();
    let outcome = subject.verify(&point);
    assert_eq!(outcome.code(), Some(4), "{outcome}");
    subject.assert_clean();
}

#[test]
fn a_server_of_mysql_that_is_restarted_between_quiesce_and_cut_fails_the_backup() {
    if let Some(subject) = mysql() {
        claims_nothing_after_a_restart(subject, "lapsed");
    }
}

#[test]
fn tables_of_other_engines_make_writes_of_mysql_wait_and_come_back_whole() {
    if let Some(subject) = mysql() {
        other_engines_make_writers_wait(&subject, ("lock", "global"));
    }
}

#[test]
fn where_all_tables_are_innodb_writes_of_mysql_go_on() {
    let Some(subject) = mysql() else { return };
    let evidence = writers_go_on(&subject);
    assert_eq!(evidence["lock"], "instance", "{evidence}");
    assert_eq!(evidence["metadataLocks"], serde_json::json!(["BACKUP LOCK"]), "{evidence}");
    assert!(evidence["logsFrom"]["lsn"].as_u64() < evidence["logsTo"]["lsn"].as_u64(), "{evidence}");
}
