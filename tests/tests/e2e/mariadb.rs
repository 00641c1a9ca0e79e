//! MariaDB: its traps, and what an operator is told.

use std::{
    fs,
    os::unix::fs::FileExt,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    Application, Subject,
    cases::{beside_a_long_update, claims_nothing_after_a_restart, locks_somebody_else_out},
    certificates::Certificates,
    free_port,
    kind::Kind,
    long::Long,
    mariadb::{KEEPER, KEEPER_PASSWORD, Server},
    writer::assert_whole,
};

fn mariadb() -> Option<Subject> {
    Subject::new(&Kind::Mariadb)
}

/// Stops the server, changes its settings, and starts it again.
pub fn reconfigure(subject: &mut Subject, settings: &str) {
    let Application::Mariadb(server) = &mut subject.application else { panic!("not MariaDB") };
    server.stop();
    server.settings.push_str(settings);
    server.start();
}

/// The directory of another server, at the path that this one names as its own: a container's and its host's.
pub fn refuses_a_volume_of_another_server(subject: &Subject, product: &str) {
    let flavour = subject.mariadb().flavour;
    let (data, away) = (subject.data(), subject.place.join("disk/away"));
    let mut other = Server::make(flavour, &subject.place.join("other"), &subject.place.join("other.s"), "");
    other.stop();
    fs::rename(&data, &away).unwrap();
    let made = Command::new("btrfs").args(["subvolume", "create"]).arg(&data).output().unwrap();
    assert!(made.status.success());
    let copied = Command::new("cp").arg("-a").arg(other.data.join(".")).arg(&data).status().unwrap();
    assert!(copied.success());
    let outcome = subject.backup();
    Command::new("btrfs").args(["subvolume", "delete"]).arg(&data).output().unwrap();
    fs::rename(&away, &data).unwrap();
    let directory = format!("is not the data directory of {product}");
    subject.assert_refused(&outcome, 2, &[&directory, "another server runs on it"]);
    subject.backup_ok();
}

/// Changes a byte in the middle of a leaf page of a table: the server itself has it in memory and does not notice.
pub fn flip_a_byte(subject: &mut Subject) {
    // A page that is still in the redo log would be made anew from there.
    reconfigure(subject, "");
    let server = subject.mariadb();
    server.sql("SELECT SUM(LENGTH(text)) FROM app.ballast");
    let file = server.data.join("app/ballast.ibd");
    let table = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let at = 10 * 16384 + 5000;
    let mut byte = [0];
    table.read_exact_at(&mut byte, at).unwrap();
    table.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
}

/// Another engine has no recovery, so its writers and all commits wait while it is cut; nothing else changes. `held` is
/// what the hold's evidence says of it.
#[track_caller]
pub fn other_engines_make_writers_wait(subject: &Subject, held: (&str, &str)) {
    subject.mariadb().sql(
        "CREATE TABLE app.log (id INT PRIMARY KEY) ENGINE = MyISAM; INSERT INTO app.log SELECT id FROM app.ballast",
    );
    let writer = subject.database().writer();
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    assert_eq!(report["holds"][0]["blocksWrites"], true, "{outcome}");
    assert_eq!(report["holds"][0]["evidence"][held.0], held.1, "{outcome}");
    let freeze = report["freeze"]["milliseconds"].as_u64().unwrap();
    println!("writers waited {freeze} ms");
    assert!((1..3000).contains(&freeze), "{outcome}");
    drop(writer);
    subject.verify_ok(report["recoveryPoint"].as_str().unwrap());
}

/// Backs up under a writer, who must not have to wait; the report's evidence of the hold.
#[track_caller]
pub fn writers_go_on(subject: &Subject) -> Value {
    let writer = subject.database().writer();
    let since = Instant::now();
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    assert_eq!(report["freeze"]["milliseconds"], 0, "{outcome}");
    println!("the longest stall of a writer was {:?}", writer.longest_stall(since));
    report["holds"][0]["evidence"].clone()
}

/// Without the binary log recovery refuses to start, or guesses which transactions were committed.
#[test]
fn a_binary_log_outside_the_volume_is_refused() {
    let Some(mut subject) = mariadb() else { return };
    let elsewhere = subject.mariadb().sockets.join("far");
    reconfigure(&mut subject, &format!("log-bin = {}\n", elsewhere.display()));
    subject.assert_refused(&subject.backup(), 2, &["misses the binary log in", "data directory"]);
}

#[test]
fn a_server_without_a_binary_log_is_backed_up_and_verified() {
    let Some(mut subject) = mariadb() else { return };
    reconfigure(&mut subject, "skip-log-bin\n");
    let point = subject.backup_ok();
    subject.verify_ok(&point);
    subject.assert_clean();
}

/// A restored link would have the scratch server open the original's table.
#[test]
fn a_table_in_a_directory_of_its_own_is_refused() {
    let Some(subject) = mariadb() else { return };
    let far = subject.mariadb().sockets.display().to_string();
    for engine in ["InnoDB", "MyISAM"] {
        subject.mariadb().sql(&format!(
            "CREATE TABLE app.far_{engine} (id INT) ENGINE = {engine} DATA DIRECTORY = '{far}'"
        ));
        subject.assert_refused(&subject.backup(), 2, &["misses", &format!("far_{engine}")]);
        subject.mariadb().sql(&format!("DROP TABLE app.far_{engine}"));
    }
}

/// The list of binary logs names them by absolute paths then: a scratch server would recover from the original's, and
/// remove them when they are old.
#[test]
fn a_scratch_server_never_opens_the_originals_binary_logs() {
    let Some(mut subject) = mariadb() else { return };
    let data = subject.data();
    reconfigure(&mut subject, &format!("log-bin = {}\nexpire-logs-days = 1\n", data.join("abs").display()));
    let writer = subject.database().writer();
    let before = writer.acknowledged();
    let point = subject.backup_ok();
    let after = writer.acknowledged() + 1;
    subject.verify_ok(&point);
    let restored = subject.restore(&point, "restored");
    let index = fs::read_to_string(restored.copy.join("abs.index")).unwrap();
    assert!(index.lines().all(|line| line.starts_with("./abs.")), "{index}");
    let Application::Mariadb(server) = &mut subject.application else { panic!("not MariaDB") };
    server.settings =
        server.settings.replace(&data.display().to_string(), &restored.copy.display().to_string());
    assert_whole(&subject.read(&restored), before, after);
    drop(writer);
    subject.assert_clean();
}

#[test]
fn a_volume_that_another_server_runs_on_is_refused() {
    let Some(mut subject) = mariadb() else { return };
    // A checkpoint that no new server has.
    reconfigure(&mut subject, "");
    refuses_a_volume_of_another_server(&subject, "MariaDB");
}

/// The server may be made to wait; writers to InnoDB tables never are, and those behind us no longer than `lockWait`.
#[test]
fn a_long_statement_in_the_way_of_the_stage_is_named_and_writers_go_on() {
    let Some(subject) = mariadb() else { return };
    let subject = subject.with("lockWait=1s");
    let began = Instant::now();
    let beside = beside_a_long_update(&subject, "MyISAM");
    let took = began.elapsed();
    assert!(beside.stalled < Duration::from_secs(2), "writers waited {:?}", beside.stalled);
    assert!(took < Duration::from_secs(30), "{took:?}");
    let [what, age, remedy] = beside.long.said("an UPDATE");
    let outcome = beside.end();
    subject.assert_refused(&outcome, 1, &["did not get its lock within 1.0 s: ", &what, &age, &remedy]);
}

/// It is in nobody's way, whether or not commits wait.
#[test]
fn a_long_update_before_the_quiesce_of_mariadb_becomes_no_outage() {
    for kind in [Kind::Mariadb, Kind::MariadbBlocked] {
        let Some(subject) = Subject::new(&kind) else { return };
        let beside = beside_a_long_update(&subject, "InnoDB");
        assert_eq!(beside.outcome.code(), Some(0), "{kind}: {}", beside.outcome);
        assert!(beside.stalled < Duration::from_secs(3), "{kind}: writers waited {:?}", beside.stalled);
        drop(beside);
        subject.assert_clean();
    }
}

/// To InnoDB tables a long statement is in nobody's way, but a backup in the middle of a migration is refused early.
#[test]
fn a_statement_older_than_allowed_refuses_the_backup_before_anything_is_held() {
    let Some(subject) = mariadb() else { return };
    let subject = subject.with("maxStatementAge=1s");
    let long = Long::start(subject.mariadb(), "UPDATE app.ballast SET text = SLEEP(120) WHERE id = 1");
    let outcome = subject.backup();
    let [what, age, remedy] = long.said("an UPDATE");
    drop(long);
    subject.assert_refused(&outcome, 1, &[&what, &age, "longer than 1s", &remedy]);
    subject.backup_ok();
}

#[test]
fn a_wrong_password_a_missing_one_and_a_server_that_is_not_there_are_told() {
    let Some(subject) = mariadb() else { return };
    let wrong = subject.place.file("wrong", "not it");
    let port = subject.mariadb().port;
    let with = |more: &[String]| subject.backup_over_tcp(more);
    let user = format!("user={KEEPER}");
    let outcome = with(&[user.clone(), format!("port={port}"), format!("password=@{}", wrong.display())]);
    subject.assert_refused(
        &outcome,
        2,
        &[&format!("the password for user {KEEPER} is wrong at 127.0.0.1:{port}")],
    );
    let outcome = with(&[user.clone(), format!("port={port}")]);
    subject.assert_refused(&outcome, 2, &["does not let user keeper in without a password"]);
    let outcome = with(&[user, "port=1".to_owned()]);
    subject.assert_refused(&outcome, 2, &["nobody listens at 127.0.0.1:1", "Start MariaDB"]);
}

/// It speaks the same protocol, and answers most of what it is asked.
#[test]
fn a_server_of_another_flavour_is_refused_by_name() {
    let Some(mut subject) = mariadb() else { return };
    // What the server calls itself is a setting of MariaDB.
    reconfigure(&mut subject, "version = 8.4.3\n");
    let outcome = subject.backup();
    subject.assert_refused(&outcome, 2, &["is MySQL 8.4.3", "not MariaDB", "Use a blueprint for MySQL"]);
}

/// Held, it would make every node wait; a dump of it waits for nothing and makes nobody wait.
#[test]
fn a_node_of_a_galera_cluster_is_not_held_but_can_be_dumped() {
    let provider = "/usr/lib/galera/libgalera_smm.so";
    if !std::path::Path::new(provider).exists() {
        println!("left out: there is no {provider} on this machine");
        return;
    }
    for (kind, holds) in [(Kind::Mariadb, true), (Kind::MariadbDump, false)] {
        let Some(mut subject) = Subject::new(&kind) else { return };
        let port = free_port();
        reconfigure(
            &mut subject,
            &format!(
                "wsrep-on = ON\nwsrep-provider = {provider}\nwsrep-cluster-address = gcomm://\n\
                 wsrep-node-address = 127.0.0.1\nbinlog-format = ROW\n\
                 wsrep-provider-options = gmcast.listen_addr=tcp://127.0.0.1:{port};gcache.size=8M\n"
            ),
        );
        if holds {
            let words = ["is a node of a Galera cluster", "use the blueprint mariadb-dump"];
            subject.assert_refused(&subject.backup(), 2, &words);
            continue;
        }
        let writer = subject.database().writer();
        let before = writer.acknowledged();
        let point = subject.backup_ok();
        let after = writer.stop() + 1;
        assert_whole(&subject.read(&subject.restore(&point, "copy")), before, after);
    }
}

#[test]
fn a_wrong_role_is_refused() {
    let Some(subject) = mariadb() else { return };
    let subject = subject.with("role=replica");
    subject.assert_refused(&subject.backup(), 2, &["is a primary, and a replica was asked for"]);
    // Stopped, and a replica all the same.
    subject
        .mariadb()
        .sql("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'nobody'");
    subject.backup_ok();
    subject.assert_clean();
}

/// `mariadb-check` would end with status 0, and a server starts on such files without a word.
#[test]
fn a_flipped_byte_in_a_table_fails_the_verification() {
    let Some(mut subject) = mariadb() else { return };
    flip_a_byte(&mut subject);
    let point = subject.backup_ok();
    let outcome = subject.verify(&point);
    assert_eq!(outcome.code(), Some(4), "{outcome}");
    let failed = outcome.json()["checks"].to_string();
    assert!(failed.contains("table app.ballast"), "{outcome}");
    subject.assert_clean();
}

#[test]
fn a_server_that_is_killed_while_it_is_held_fails_the_backup() {
    if let Some(subject) = mariadb() {
        claims_nothing_after_a_restart(subject, "lapsed");
    }
}

#[test]
fn a_run_of_somebody_else_on_the_same_server_is_locked_out() {
    if let Some(subject) = mariadb() {
        locks_somebody_else_out(&subject, "is working on MariaDB");
    }
}

#[test]
fn tables_of_other_engines_make_commits_wait_and_come_back_whole() {
    if let Some(subject) = mariadb() {
        other_engines_make_writers_wait(&subject, ("stage", "BLOCK_COMMIT"));
    }
}

#[test]
fn where_all_tables_are_innodb_commits_go_on() {
    let Some(subject) = mariadb() else { return };
    assert_eq!(writers_go_on(&subject)["stage"], "BLOCK_DDL");
}

#[test]
fn a_certificate_is_looked_at_as_far_as_was_asked() {
    let Some(mut subject) = mariadb() else { return };
    let password = subject.place.file("keeper", &KEEPER_PASSWORD);
    let arguments = |subject: &Subject, more: &[&str]| {
        let mut arguments = subject.backup_arguments();
        let port = format!("port={}", subject.mariadb().port);
        let (user, password) = (format!("user={KEEPER}"), format!("password=@{}", password.display()));
        let values = ["socket=", "host=127.0.0.1", &port, &user, &password];
        arguments.extend(values.iter().chain(more).map(|value| format!("--set={value}")));
        arguments
    };
    let without = subject.place.run(arguments(&subject, &["sslmode=require"]));
    subject.assert_refused(&without, 2, &["has no TLS, and sslmode demands it"]);

    let certificates = Certificates::make(&subject.place);
    let settings = format!(
        "ssl-cert = {}\nssl-key = {}\n",
        certificates.file("server.pem"),
        certificates.file("server.key")
    );
    reconfigure(&mut subject, &settings);
    subject.mariadb().sql(&format!("ALTER USER {KEEPER}@'127.0.0.1' REQUIRE SSL"));
    let authority = format!("sslRootCert={}", certificates.file("ca.pem"));
    for more in [&["sslmode=prefer"][..], &["sslmode=verify-full", &authority]] {
        let outcome = subject.place.run(arguments(&subject, more));
        assert_eq!(outcome.code(), Some(0), "{outcome}");
    }
    let wrong = subject.place.run(arguments(&subject, &["sslmode=verify-ca"]));
    assert_eq!(wrong.code(), Some(2), "{wrong}");
    assert!(wrong.json()["error"].to_string().contains("certificate"), "{wrong}");
}
