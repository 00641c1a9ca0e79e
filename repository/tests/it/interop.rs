//! Debian's `restic` and we must agree on what is in a repository.

use std::{fs, path::Path, process::Command};

use crate::fixture::{Fixture, Source, noise};

#[tokio::test]
async fn restic_checks_lists_and_restores_what_was_stored() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::create_dir_all(root.join("base/1")).unwrap();
    fs::write(root.join("base/1/relation"), noise(2_000_000, 1)).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("base", root.join("link")).unwrap();
    let stream = noise(9_000_000, 2);
    let volume = fixture.put_tree(fixture.tree_request(&root)).await.unwrap();
    let dump = fixture.put("db/app", Source::of(&stream)).await.unwrap();
    let point = fixture.point(vec![volume.clone(), dump.clone()]);
    standstill_core::repository::Repository::commit(&fixture.repository, &point).await.unwrap();

    fixture.restic(&["check", "--read-data"]);
    let listed = fixture.restic(&["snapshots", "--tag", "standstill", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert!(listed.to_string().contains(&format!("run={}", fixture.run)));

    let target = fixture.directory("restored");
    fixture.restic(&["restore", &volume.snapshot, "--target", target.to_str().unwrap()]);
    let differences =
        Command::new("diff").arg("-r").arg(&root).arg(target.join("srv/data")).output().unwrap();
    assert!(differences.status.success(), "{}", String::from_utf8_lossy(&differences.stdout));

    fixture.restic(&["restore", &dump.snapshot, "--target", target.to_str().unwrap()]);
    assert!(fs::read(target.join("db/app")).unwrap() == stream);
    let record =
        fixture.try_restic(&["dump", "--tag", "kind=recovery-point", "latest", "/recovery-point.json"]);
    let record: standstill_core::point::RecoveryPoint = serde_json::from_slice(&record.stdout).unwrap();
    assert_eq!(record, point);
}

#[tokio::test]
async fn a_backup_by_restic_in_the_same_repository_is_left_alone() {
    let fixture = Fixture::new().await;
    let root = fixture.directory("root");
    fs::write(root.join("file"), noise(1_000_000, 3)).unwrap();
    fixture.restic(&["backup", root.to_str().unwrap()]);
    let point = fixture.backup(&noise(2_000_000, 4)).await;
    let repository: &dyn standstill_core::repository::Repository = &fixture.repository;
    assert_eq!(repository.points().await.unwrap().len(), 1);
    assert_eq!(repository.discard_strays(None).await.unwrap(), 0);
    let report = repository.forget(&[point.id], true).await.unwrap();
    assert!(report.freed_bytes.unwrap() >= 2_000_000, "{report:?}");
    fixture.restic(&["check", "--read-data"]);
    let target = fixture.directory("restored");
    fixture.restic(&["restore", "latest", "--target", target.to_str().unwrap()]);
    let path = root.strip_prefix(Path::new("/")).unwrap().join("file");
    assert!(fs::read(target.join(path)).unwrap() == noise(1_000_000, 3));
}

#[tokio::test]
async fn a_repository_made_by_restic_can_be_used() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("theirs");
    let made = Command::new("restic")
        .args(["init", "--repository-version", "2", "--quiet", "--repo"])
        .arg(&place)
        .env("RESTIC_PASSWORD", crate::fixture::PASSWORD)
        .status()
        .unwrap();
    assert!(made.success());
    let password = standstill_core::secret::Secret::new(crate::fixture::PASSWORD);
    let location = crate::fixture::location(&place);
    let repository = standstill_repository::Repository::open(&location, &password).await.unwrap();
    let repository: &dyn standstill_core::repository::Repository = &repository;
    assert_eq!(repository.check(true).await.unwrap().damage, [""; 0]);
}
