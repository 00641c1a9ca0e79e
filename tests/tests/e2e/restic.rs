//! What `standstill` writes, `restic` reads.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::support::{
    Place, Subject, kind::Kind, place::PASSWORD, postgresql::Version, writer::assert_whole,
};

/// Debian's restic on the repository of a place; `None`, and said, where there is none.
pub fn restic(place: &Place, arguments: &[&str]) -> Option<Output> {
    let ran = Command::new("restic")
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("RESTIC_REPOSITORY", place.repository())
        .env("RESTIC_PASSWORD", &*PASSWORD)
        .env("RESTIC_CACHE_DIR", place.join("restic-cache"))
        .output();
    match ran {
        Ok(output) => Some(output),
        Err(cause) => {
            println!("left out: restic cannot be run: {cause}");
            None
        }
    }
}

/// What it said, of one that must have succeeded.
#[track_caller]
pub fn ok(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The snapshot of an artifact, as `backup --output json` names it.
fn snapshot_of(report: &Value, artifact: &str) -> String {
    let artifacts = report["artifacts"].as_array().unwrap();
    let found = artifacts.iter().find(|stored| stored["name"] == artifact).unwrap();
    found["snapshot"].as_str().unwrap().to_owned()
}

#[test]
fn restic_checks_lists_and_restores_a_volume_bit_for_bit() {
    let Some(subject) = Subject::new(&Kind::Sqlite) else { return };
    // More than a database: what a tree can hold.
    let data = subject.data();
    fs::create_dir_all(data.join("sub/empty")).unwrap();
    fs::write(data.join("sub/größe\nline"), "x".repeat(3_000_000)).unwrap();
    std::os::unix::fs::symlink("../nowhere", data.join("sub/link")).unwrap();
    let sparse = fs::File::create(data.join("sub/sparse")).unwrap();
    sparse.set_len(20 << 20).unwrap();
    drop(sparse);
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    let snapshot = snapshot_of(&report, "data");

    let Some(checked) = restic(&subject.place, &["check", "--read-data"]) else { return };
    let checked = ok(&checked);
    assert!(checked.contains("no errors were found"), "{checked}");
    let listed = ok(&restic(&subject.place, &["snapshots", "--json"]).unwrap());
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let ids: Vec<&str> =
        listed.as_array().unwrap().iter().map(|found| found["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&snapshot.as_str()), "{listed:#}");
    assert_eq!(ids.len(), 2, "the volume and the record: {listed:#}");

    let target = subject.place.join("by-restic");
    ok(&restic(&subject.place, &["restore", &snapshot, "--target", target.to_str().unwrap()]).unwrap());
    let by_restic = target.join(data.strip_prefix("/").unwrap());
    let ours = subject.restore(report["recoveryPoint"].as_str().unwrap(), "by-us");
    assert_same(&by_restic, &ours.copy);
    assert_same(&by_restic.join("sub"), &data.join("sub"));
    assert_whole(&subject.database().read_copy(&by_restic), 0, 0);
    subject.assert_clean();
}

#[test]
fn restic_restores_a_dump_that_pg_restore_reads() {
    let Some(version) = Version::first() else { return };
    let Some(subject) = Subject::new(&Kind::Dump(version.clone())) else { return };
    let outcome = subject.backup();
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    let snapshot = snapshot_of(&report, "db/app");
    let Some(listed) = restic(&subject.place, &["ls", "--json", &snapshot]) else { return };
    let listed = ok(&listed);
    let nodes = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let file = nodes
        .filter(|node| node["type"] == "file")
        .map(|node| node["path"].as_str().unwrap().to_owned())
        .next();
    let file = file.expect("a stream is one file");
    let dumped = restic(&subject.place, &["dump", &snapshot, &file]).unwrap();
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let artifacts = report["artifacts"].as_array().unwrap();
    let bytes = &artifacts.iter().find(|stored| stored["name"] == "db/app").unwrap()["bytes"];
    assert_eq!(bytes.as_u64().unwrap(), dumped.stdout.len() as u64);
    let dump = subject.place.join("app.dump");
    fs::write(&dump, dumped.stdout).unwrap();
    let contents = Command::new(version.bin.join("pg_restore")).arg("-l").arg(&dump).output().unwrap();
    assert!(ok(&contents).contains("TABLE DATA public orders"));
}

#[test]
fn a_repository_that_restic_made_is_used_as_it_is() {
    let place = Place::new();
    let Some(made) = restic(&place, &["init"]) else { return };
    ok(&made);
    place.ok(["list"]);
    let blueprint = place.file(
        "b.yaml",
        "apiVersion: standstill.dev/v1alpha1\nkind: Blueprint\nmetadata: {name: b}\nspec:\n  summary: One line\n  actions:\n    backup:\n      capture:\n        - stream: {artifact: a, command: [echo, hello], consistent: true}\n",
    );
    place.ok(["backup", blueprint.to_str().unwrap()]);
    assert_eq!(place.points().len(), 1);
    let checked = ok(&restic(&place, &["check", "--read-data"]).unwrap());
    assert!(checked.contains("no errors were found"), "{checked}");
}

/// Asserts that two trees are the same: names, types, contents, links, modes, owners, times.
#[track_caller]
pub fn assert_same(one: &Path, other: &Path) {
    let listing = |root: &Path| {
        let listed = Command::new("find")
            .arg(root)
            .args(["-mindepth", "1", "-not", "-name", "*-shm", "-not", "-name", "*-wal"])
            .args(["-printf", "%P %y %m %U %G %s %T@ %l\n"])
            .output()
            .unwrap();
        let mut lines: Vec<String> =
            String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(listing(one), listing(other));
    let differences = Command::new("diff")
        .args(["-r", "--no-dereference", "-x", "*-shm", "-x", "*-wal"])
        .arg(one)
        .arg(other)
        .output()
        .unwrap();
    assert!(differences.stdout.is_empty(), "{}", String::from_utf8_lossy(&differences.stdout));
}
