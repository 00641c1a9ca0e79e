//! `standstill test`: what an author is told about a blueprint of their own.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::support::{Place, kv::PROGRAM, place::Outcome, sample::Random};

/// The folder of the blueprint of `kv`, copied so that it can be changed.
fn folder(place: &Place) -> String {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("kv");
    let to = place.join("kv");
    fs::create_dir_all(to.join("tests")).unwrap();
    for file in ["blueprint.yaml", "tests/paused.yaml"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    to.display().to_string()
}

fn change(place: &Place, file: &str, from: &str, to: &str) {
    let path = place.join("kv").join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is not in {file}");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

fn test(place: &Place, folder: &str, more: &[&str]) -> Outcome {
    let program = format!("--set=kv={PROGRAM}");
    let arguments = ["test", folder, &program, "--output=json"];
    place.run(arguments.iter().chain(more))
}

#[track_caller]
fn check(outcome: &Outcome, name: &str) -> (String, String) {
    let report = outcome.json();
    let checks = report["tests"][0]["checks"].as_array().unwrap().clone();
    let found = checks.iter().find(|check| check["name"].as_str().unwrap().starts_with(name));
    let found = found.unwrap_or_else(|| panic!("no check {name}: {outcome}"));
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("outcome"), text("detail"))
}

#[test]
fn a_blueprint_of_ones_own_is_tested_and_its_runs_are_killed_and_stopped() {
    let place = Place::new();
    let outcome = test(&place, &folder(&place), &[]);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    assert_eq!(report["outcome"], "passed", "{outcome}");
    for name in
        ["backup", "restore", "verify", "killed after line", "stopped after line", "a backup after all that"]
    {
        assert_eq!(check(&outcome, name).0, "passed", "{name}: {outcome}");
    }
    assert!(place.run_ids().is_empty(), "the user's own state was used");
    let left: Vec<_> = fs::read_dir(place.tmp()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?} is left");
}

#[test]
fn a_blueprint_that_does_not_let_go_is_found_out() {
    let place = Place::new();
    let folder = folder(&place);
    change(
        &place,
        "blueprint.yaml",
        "release: [\"{{ params.kv }}\", \"{{ params.directory }}\", RESUME]",
        "release: [\"true\"]",
    );
    let outcome = test(&place, &folder, &["--crashes=none"]);
    assert_eq!(outcome.code(), Some(3), "{outcome}");
    let (found, detail) = check(&outcome, "writes after the backup");
    assert_eq!(found, "failed");
    assert!(detail.contains("still held"), "{detail}");
}

#[test]
fn a_blueprint_whose_copy_lacks_something_is_found_out() {
    let place = Place::new();
    let folder = folder(&place);
    change(&place, "tests/paused.yaml", "read: [sed, \"s/;$//\"", "read: [sed, -n, \"2,$s/;$//p\"");
    let outcome = test(&place, &folder, &["--crashes=none"]);
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    assert_eq!(check(&outcome, "restore"), ("failed".into(), "2 is in the copy where 1 is expected".into()));
    assert_eq!(check(&outcome, "verify").0, "passed");
}

#[test]
fn mistakes_of_a_test_are_told_before_anything_is_started() {
    let place = Place::new();
    let folder = folder(&place);
    let file = format!("{folder}/tests/paused.yaml");
    place.ok(["lint", &file]);
    test(&place, &folder, &["--only=other"]).fails(2, &["has no test `other`", "Its tests are: paused."]);
    place.run(["test", &folder]).fails(2, &["needs the parameter `kv`"]);
    change(&place, "tests/paused.yaml", "lease: 3s", "leese: 3s");
    place.run(["lint", &file]).fails(2, &[]);
    test(&place, &folder, &[]).fails(2, &["paused.yaml:9:", "no parameter `leese`"]);
    place.run(["test", "sqlite"]).fails(2, &["has no tests", "give its folder"]);
}

/// Clients that are kept open by a `session`: each with the programs that it needs.
const SESSIONS: [(&str, &[&str]); 5] = [
    ("sqlite3", &["sqlite3"]),
    ("redis-cli", &["redis-server", "redis-cli"]),
    ("shell", &["flock"]),
    ("psql", &["psql", "setpriv"]),
    ("mariadb", &["mariadb", "mariadb-install-db", "setpriv"]),
];

/// Built-in blueprints that have tests, each with the programs that these need.
const SHIPPED: [(&str, &[&str]); 6] = [
    ("sqlite", &["sqlite3"]),
    ("sqlite-online", &["sqlite3"]),
    ("redis", &["redis-server", "redis-cli"]),
    ("redis-aof", &["redis-server", "redis-cli"]),
    ("postgresql", &["psql", "setpriv"]),
    ("mariadb-dump", &["mariadb", "mariadb-install-db", "setpriv"]),
];

/// Runs the tests in folders of this crate's.
#[track_caller]
fn pass(folders: &str, chosen: Vec<(&str, &[&str])>) {
    for (name, programs) in chosen {
        let is_here = |program: &&&str| Path::new("/usr/bin").join(program).exists();
        if let Some(missing) = programs.iter().find(|program| !is_here(program)) {
            println!("left out: {name}, for there is no {missing} on this machine");
            continue;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folders).join(name);
        let mut place = Place::new();
        // Paths of sockets are short.
        place.env.push(("TMPDIR".into(), "/tmp".into()));
        let outcome = place.run(["test", folder.to_str().unwrap(), "--output=json"]);
        assert_eq!(outcome.code(), Some(0), "{name}: {outcome}");
    }
}

#[test]
fn what_a_client_holds_that_is_kept_open_is_let_go_whatever_happens() {
    pass("sessions", Random::of("sessions").sample(SESSIONS.to_vec(), 2));
}

#[test]
fn blueprints_that_ship_pass_their_own_tests() {
    pass("../blueprints", Random::of("shipped tests").sample(SHIPPED.to_vec(), 1));
}

/// The guide's client and server, made of this crate's.
const KVSERVER: &str = r#"#!/bin/sh
KV_SOCKET="$(dirname "$0")/$4.sock" exec KV serve "$2"
"#;
const KVCTL: &str = r#"#!/bin/sh
[ "$1" = --file ] && exec sed 's/;$//' "$2"
KV_SOCKET="$(dirname "$0")/$2.sock"; export KV_SOCKET; shift 2
case $1 in --interactive) exec KV client . ;; CHECK) exec KV . PING ;; esac
exec KV . "$@"
"#;

/// The guide's blueprint and its test, as they stand there; and the same with the guide's session in the place of its pair.
#[test]
fn what_the_guide_writes_does_what_the_guide_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/writing-a-blueprint.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    let block = |holds: &str| *blocks.iter().find(|block| block.contains(holds)).unwrap();
    let (blueprint, test) = (block("kind: Blueprint"), block("kind: Test"));
    let (before, rest) = blueprint.split_once("        - name: pause\n").unwrap();
    let after = &rest[rest.find("      capture:\n").unwrap()..];
    let by_session = format!("{before}{}{after}", block("          session:\n"));

    let mut place = Place::new();
    let bin = place.join("guide");
    fs::create_dir(&bin).unwrap();
    for (name, text) in [("kvserver", KVSERVER), ("kvctl", KVCTL)] {
        let program = bin.join(name);
        fs::write(&program, text.replace("KV ", &format!("{PROGRAM} "))).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    place.path = vec![bin];
    // Paths of sockets are short.
    place.env.push(("TMPDIR".into(), "/tmp".into()));
    for (name, text) in [("by-pair", blueprint), ("by-session", &by_session)] {
        let folder = place.join(name);
        fs::create_dir_all(folder.join("tests")).unwrap();
        fs::write(folder.join("blueprint.yaml"), text).unwrap();
        fs::write(folder.join("tests/paused.yaml"), test).unwrap();
        let folder = folder.display().to_string();
        place.ok(["lint", &format!("{folder}/blueprint.yaml"), &format!("{folder}/tests/paused.yaml")]);
        place.ok(["test", &folder, "--crashes=none"]);
    }
}
