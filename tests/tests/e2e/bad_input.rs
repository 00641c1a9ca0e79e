//! Bad input and a hostile world: one clear sentence, a remedy, the right exit status, and the database as it was.

use std::{fs, time::Duration};

use rustix::process::Signal;

use crate::support::{
    Place, Subject, eventually, free_port,
    kind::Kind,
    place::{Outcome, plain},
    postgresql::{ROLE, Server, Version},
};

/// Asserts how a command ended, what it said, and that it left nothing and harmed nothing.
#[track_caller]
fn refused(subject: &Subject, outcome: &Outcome, status: i32, says: &[&str]) {
    outcome.fails(status, says);
    subject.assert_clean();
    assert_eq!(subject.place.points(), Vec::<String>::new());
}

/// `backup` for people, with these values over the right ones.
pub(crate) fn backup(subject: &Subject, more: &[&str]) -> Outcome {
    let mut arguments: Vec<String> =
        subject.backup_arguments().into_iter().filter(|argument| argument != "--output=json").collect();
    arguments.extend(more.iter().map(|value| format!("--set={value}")));
    subject.place.run(arguments)
}

fn postgresql() -> Option<Subject> {
    Subject::new(&Kind::Postgresql(Version::first()?))
}

pub(crate) fn sqlite() -> Subject {
    Subject::new(&Kind::Sqlite).unwrap()
}

#[test]
fn a_wrong_password_is_told() {
    let Some(subject) = postgresql() else { return };
    let wrong = subject.place.file("wrong", "not it");
    let outcome = backup(
        &subject,
        &["host=127.0.0.1", &format!("user={ROLE}"), &format!("password=@{}", wrong.display())],
    );
    let port = subject.server().port;
    refused(
        &subject,
        &outcome,
        2,
        &[
            &format!("the password for role {ROLE} is wrong at 127.0.0.1:{port}"),
            "Correct the connection's `password`.",
        ],
    );
}

#[test]
fn a_missing_password_is_told() {
    let Some(subject) = postgresql() else { return };
    let outcome = backup(&subject, &["host=127.0.0.1", &format!("user={ROLE}")]);
    refused(
        &subject,
        &outcome,
        2,
        &["wants a password for role keeper, and none was given", "Give the connection a `password`."],
    );
}

#[test]
fn a_port_where_nobody_listens_is_told() {
    let Some(subject) = postgresql() else { return };
    let port = free_port();
    let outcome = backup(&subject, &["host=127.0.0.1", &format!("port={port}")]);
    refused(
        &subject,
        &outcome,
        2,
        &[
            &format!("nobody listens at 127.0.0.1:{port}"),
            "Start PostgreSQL, or correct `host` and `port` of the connection.",
        ],
    );
}

#[test]
fn a_standby_where_a_primary_was_asked_for_is_refused() {
    let Some(subject) = postgresql() else { return };
    let primary = subject.server();
    let data = subject.place.join("standby");
    let mut copied = primary.version.command("pg_basebackup");
    copied
        .args([
            "-D",
            data.to_str().unwrap(),
            "-R",
            "-c",
            "fast",
            "-U",
            "postgres",
            "-p",
            &primary.port.to_string(),
        ])
        .args(["-h", primary.sockets.to_str().unwrap()]);
    // Its parent directory belongs to root.
    fs::create_dir(&data).unwrap();
    crate::support::postgresql::give(&data);
    let made = copied.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut standby = Server::at(&primary.version, &data, &subject.place.join("pg2"));
    standby.start();
    let (host, port, directory) = (standby.sockets.display(), standby.port, data.display());
    let outcome = backup(
        &subject,
        &[&format!("host={host}"), &format!("port={port}"), &format!("dataDir={directory}"), "role=primary"],
    );
    drop(standby);
    refused(
        &subject,
        &outcome,
        2,
        &["is a standby, and a primary was asked for", "Connect to the primary, or ask for role `any`."],
    );
}

#[test]
fn a_directory_that_is_not_the_servers_data_directory_is_refused() {
    let Some(subject) = postgresql() else { return };
    let other = subject.place.join("other");
    fs::create_dir(&other).unwrap();
    let outcome = backup(&subject, &[&format!("dataDir={}", other.display())]);
    refused(
        &subject,
        &outcome,
        2,
        &[
            "the data directory of PostgreSQL at",
            &format!("is {}, which is not in", subject.data().display()),
            "Correct the path of the volume, or the address of the server.",
        ],
    );
    // Another cluster's directory, which looks right.
    let outcome = backup(&subject, &[&format!("dataDir={}", subject.place.join("nowhere").display())]);
    refused(&subject, &outcome, 2, &["nowhere"]);
}

#[test]
fn an_unknown_parameter_is_told_with_those_that_there_are() {
    let subject = sqlite();
    let outcome = backup(&subject, &["fiel=app.db"]);
    refused(&subject, &outcome, 2, &["the blueprint sqlite has no parameter `fiel`", "file"]);
}

#[test]
fn a_missing_parameter_is_told() {
    let subject = sqlite();
    let outcome = subject.place.run(["backup", "sqlite", "--set", "file=app.db"]);
    refused(
        &subject,
        &outcome,
        2,
        &["the blueprint sqlite needs the parameter `directory`", "Add `--set directory=…`."],
    );
}

#[test]
fn a_parameter_of_another_type_is_told() {
    let Some(subject) = postgresql() else { return };
    let outcome = backup(&subject, &["port=http"]);
    refused(&subject, &outcome, 2, &["the parameter `port` is a whole number, not `http`"]);
}

#[test]
fn a_broken_blueprint_is_told_with_file_line_and_column() {
    let subject = sqlite();
    let text = "apiVersion: standstill.dev/v1alpha1\nkind: Blueprint\nmetadata: {name: broken\nspec:\n  summary: x\n";
    let path = subject.place.file("broken.yaml", text);
    let outcome = subject.place.run(["backup", path.to_str().unwrap()]);
    refused(&subject, &outcome, 2, &["broken.yaml:"]);
    let outcome = subject.place.run(["lint", path.to_str().unwrap()]);
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    assert!(plain(&format!("{}{}", outcome.stdout, outcome.stderr)).contains("broken.yaml:"), "{outcome}");
    let outcome = subject.place.run(["backup", "no-such-blueprint"]);
    refused(
        &subject,
        &outcome,
        2,
        &[
            "`no-such-blueprint` is neither a built-in blueprint nor a file that can be read",
            "`standstill blueprints` lists the built-in ones",
        ],
    );
}

#[test]
fn all_mistakes_of_a_blueprint_are_told_in_one_go() {
    let place = Place::new();
    let text = "apiVersion: standstill.dev/v1alpha1
kind: Blueprint
metadata: {name: wrong}
spec:
  summary: Three mistakes
  parameters:
    file: {type: path}
  volumes:
    data: {path: \"{{ params.flie }}\"}
  actions:
    backup:
      quiesce:
        - exec: {command: [freeze, it]}
      capture:
        - snapshot: {volume: dta}
";
    let path = place.file("wrong.yaml", text);
    let outcome = place.run(["lint", path.to_str().unwrap()]);
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    let told = plain(&format!("{}{}", outcome.stdout, outcome.stderr));
    for at in ["wrong.yaml:9:", "wrong.yaml:13:", "wrong.yaml:15:"] {
        assert!(told.contains(at), "`{at}` is not told: {outcome}");
    }
    for suggestion in ["file", "data"] {
        assert!(told.contains(&format!("`{suggestion}`")), "`{suggestion}` is not suggested: {outcome}");
    }
}

#[test]
fn a_repository_with_another_password_is_told() {
    let subject = sqlite();
    let other = subject.place.file("other-password", "another one");
    let outcome = subject.place.run(
        ["backup", "sqlite", "--password-file", other.to_str().unwrap()]
            .map(String::from)
            .into_iter()
            .chain(subject.values().iter().map(|value| format!("--set={value}"))),
    );
    let repository = subject.place.repository();
    refused(
        &subject,
        &outcome,
        2,
        &[
            &format!("the password does not open the repository at {}", repository.display()),
            "Give the password that the repository was made with.",
        ],
    );
}

#[test]
fn a_mistyped_repository_makes_no_new_one() {
    let subject = sqlite();
    let typo = subject.place.join("repositroy");
    let outcome = subject.backup_into(&typo);
    refused(
        &subject,
        &outcome,
        2,
        &[
            &format!("there is no repository at {}", typo.display()),
            "make a repository there with `standstill init`",
        ],
    );
    assert!(!typo.exists());
}

#[test]
fn a_repository_is_only_made_in_an_empty_place() {
    let place = Place::new();
    fs::create_dir(place.repository()).unwrap();
    fs::write(place.repository().join("thesis.tex"), "x").unwrap();
    place
        .run(["init"])
        .fails(2, &["is not empty, so no repository is made there", "Give a place that is empty"]);
    assert_eq!(fs::read_dir(place.repository()).unwrap().count(), 1);
    fs::remove_file(place.repository().join("thesis.tex")).unwrap();
    place.init();
    place.run(["init"]).fails(2, &["there is a repository at"]);
}

#[test]
fn a_recovery_point_that_is_not_there_is_told() {
    let subject = sqlite();
    subject.place.run(["restore", "latest"]).fails(2, &["recovery point"]);
    subject.place.run(["show", "0123abc"]).fails(2, &["0123abc"]);
    subject.place.run(["verify", "0123abc"]).fails(2, &["0123abc"]);
    subject.assert_clean();
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let subject = sqlite();
    fs::write(subject.data().join("notes.txt"), "not a database, but long enough to look at: ".repeat(100))
        .unwrap();
    let outcome = backup(&subject, &["file=notes.txt"]);
    refused(&subject, &outcome, 2, &["notes.txt"]);
    let outcome = backup(&subject, &["file=missing.db"]);
    refused(&subject, &outcome, 2, &["missing.db"]);
    assert!(!subject.data().join("missing.db").exists(), "looking must not make a database");
}

#[test]
fn a_place_that_is_not_empty_is_not_restored_into() {
    let subject = sqlite();
    let point = subject.backup_ok();
    let full = subject.place.join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("precious"), "yes").unwrap();
    let arguments = ["restore".to_owned(), point, format!("--set=directory={}", full.display())];
    subject.place.run(arguments).fails(2, &[&format!("{}", full.display()), "empty"]);
    assert_eq!(fs::read_to_string(full.join("precious")).unwrap(), "yes");
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    subject.assert_clean();
}

#[test]
fn a_usage_error_has_status_2() {
    let place = Place::new();
    for arguments in
        [&["backup"][..], &["bakcup"], &["list", "--output", "xml"], &["recover", "--run", "nonsense"]]
    {
        let outcome = place.run(arguments);
        assert_eq!(outcome.code(), Some(2), "{outcome}");
        assert!(!outcome.stderr.is_empty(), "{outcome}");
    }
}

#[test]
fn a_runner_that_is_ended_while_it_waits_for_the_write_lock_lets_it_be() {
    let subject = sqlite();
    let connection = sqlite_of(&subject).open();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let runner =
        subject.place.start(subject.backup_arguments().into_iter().chain(["--set=waitFor=30s".to_owned()]));
    eventually(Duration::from_secs(30), "the lock is asked for", || {
        subject.place.run_ids().last().is_some_and(|run| {
            subject
                .place
                .journal(run)
                .iter()
                .any(|(event, held)| event == "intent" && held["undo"].get("hold").is_some())
        })
    });
    runner.signal(Signal::INT);
    let outcome = runner.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    connection.execute_batch("COMMIT").unwrap();
    subject.assert_clean();
}

fn sqlite_of(subject: &Subject) -> &crate::support::sqlite::Sqlite {
    match &subject.application {
        crate::support::Application::Sqlite(sqlite) => sqlite,
        _ => panic!("not SQLite"),
    }
}

/// A backup by SQLite's blueprint with something replaced.
#[track_caller]
fn backup_changed(subject: &Subject, from: &str, to: &str) -> Outcome {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../blueprints/sqlite/blueprint.yaml");
    let shipped = fs::read_to_string(shipped).unwrap();
    assert!(shipped.contains(from));
    let blueprint = subject.place.file("changed.yaml", &shipped.replacen(from, to, 1));
    let mut arguments = subject.backup_arguments();
    arguments.retain(|argument| argument != "--output=json");
    blueprint.to_str().unwrap().clone_into(&mut arguments[1]);
    subject.place.run(arguments)
}

#[test]
fn a_blueprint_that_changes_a_cluster_is_refused_on_one_machine_before_anything_is_done() {
    let subject = sqlite();
    let scaled = "      prepare:\n        - scale: {workload: deployment/front, replicas: 0}\n";
    let outcome = backup_changed(&subject, "      prepare:\n", scaled);
    let says =
        ["prepare[0] changes the cluster around its target (`scale`)", "Run it with `--on kubernetes`"];
    refused(&subject, &outcome, 2, &says);
}

#[test]
fn a_snapshot_of_this_machine_is_not_kept_as_an_artifact() {
    let subject = sqlite();
    let outcome = backup_changed(&subject, "artifact: data,", "artifact: data, keep: snapshot,");
    let says = ["the snapshot of `data` is to be kept as an artifact", "Leave `keep` out"];
    refused(&subject, &outcome, 2, &says);
}
