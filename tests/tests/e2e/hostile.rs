//! A hostile world: full disks, a repository that vanishes or rots. The database goes on, and nothing is claimed.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::PathBuf,
    time::Duration,
};

use crate::{
    bad_input::{backup, sqlite},
    support::{
        Place, Subject, eventually,
        filesystem::{self, Mounted},
        place::plain,
    },
};

#[test]
fn a_full_disk_under_the_repository_fails_the_backup_and_frees_the_database() {
    let subject = sqlite();
    let Some(small) = Mounted::new(filesystem::Kind::Ext4, &subject.place.join("small"), 12) else { return };
    incompressible(&subject, 40);
    let repository = small.path().join("repository");
    subject.place.ok(["init", "--repository", repository.to_str().unwrap()]);
    let writer = subject.database().writer();
    let arguments = subject.backup_arguments();
    let outcome = subject.place.run(
        arguments
            .iter()
            .map(String::as_str)
            .filter(|argument| *argument != "--output=json")
            .chain(["--repository", repository.to_str().unwrap()]),
    );
    writer.goes_on(Duration::from_secs(5));
    outcome.fails(1, &["No space left on device", "Free some space"]);
    drop(writer);
    let listed = subject.place.ok(["list", "--output=json", "--repository", repository.to_str().unwrap()]);
    assert_eq!(listed.json().as_array().map(Vec::len), Some(0), "{listed}");
    subject.assert_clean();
}

#[test]
fn a_full_disk_under_the_journal_refuses_the_backup_before_anything_is_held() {
    let mut subject = sqlite();
    let Some(small) = Mounted::new(filesystem::Kind::Ext4, &subject.place.join("small"), 12) else { return };
    let state = small.path().join("state");
    fs::create_dir(&state).unwrap();
    fill(&small.path().join("ballast"));
    subject.place.env.push(("XDG_STATE_HOME".into(), state.into()));
    let outcome = backup(&subject, &[]);
    assert!(matches!(outcome.code(), Some(1 | 2)), "{outcome}");
    let told = plain(&outcome.stderr);
    assert!(told.contains("No space left on device") && told.contains("XDG_STATE_HOME"), "{outcome}");
    assert_eq!(subject.database().held(), Vec::<String>::new());
}

#[test]
fn a_full_disk_under_the_copy_fails_the_backup_and_frees_the_database() {
    let mut subject = sqlite();
    incompressible(&subject, 40);
    let Some(small) = Mounted::new(filesystem::Kind::Ext4, &subject.place.join("small"), 12) else { return };
    // Neither beside the volume nor among the temporary files is there room for a copy.
    let data = small.path().join("data");
    crate::support::sqlite::Sqlite::make(&data);
    fill(&small.path().join("ballast"));
    subject.place.env.push(("TMPDIR".into(), small.path().into()));
    let outcome = backup(&subject, &[&format!("directory={}", data.display())]);
    assert!(matches!(outcome.code(), Some(1 | 2)), "{outcome}");
    let told = plain(&outcome.stderr);
    assert!(told.contains("room") || told.contains("No space left on device"), "{outcome}");
    assert_eq!(subject.place.points(), Vec::<String>::new());
}

#[test]
fn a_repository_that_vanishes_half_way_fails_the_backup() {
    let place = Place::new();
    let began = place.join("began");
    let script = place.file(
        "slow",
        &format!(
            "#!/bin/sh\nhead -c 3000000 /dev/urandom\ntouch '{}'\nsleep 2\nhead -c 30000000 /dev/urandom\n",
            began.display()
        ),
    );
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let blueprint = place.file(
        "slow.yaml",
        &format!("apiVersion: standstill.dev/v1alpha1\nkind: Blueprint\nmetadata: {{name: slow}}\nspec:\n  summary: Slow\n  actions:\n    backup:\n      capture:\n        - name: data\n          stream: {{artifact: data, command: [\"{}\"], consistent: true}}\n", script.display()),
    );
    place.init();
    let runner = place.start(["backup", blueprint.to_str().unwrap()]);
    eventually(Duration::from_mins(1), "the stream begins", || began.exists());
    let away = place.join("away");
    fs::rename(place.repository(), &away).unwrap();
    let outcome = runner.wait();
    outcome.fails(1, &["repository"]);
    assert!(outcome.took < Duration::from_mins(1), "{outcome}");
    // Nothing was made where it had been; back in its place it is whole, and the next backup succeeds.
    assert!(!place.repository().exists(), "a new repository was made: {outcome}");
    fs::rename(&away, place.repository()).unwrap();
    assert_eq!(place.points(), Vec::<String>::new());
    place.ok(["recover"]);
    place.ok(["check", "--read-data"]);
    place.ok(["backup", blueprint.to_str().unwrap()]);
    assert_eq!(place.points().len(), 1);
}

#[test]
fn a_byte_that_flipped_in_the_repository_is_found() {
    let subject = sqlite();
    let point = subject.backup_ok();
    let pack = largest_pack(&subject.place);
    flip(&pack, 1000);
    let outcome = subject.place.run(["check", "--read-data"]);
    assert_eq!(outcome.code(), Some(4), "{outcome}");
    assert!(outcome.stdout.contains("DAMAGED"), "{outcome}");
    let verified = subject.verify(&point);
    assert_eq!(verified.code(), Some(4), "{verified}");
    assert_eq!(verified.json()["outcome"], "failed", "{verified}");
    // A restore tells too, and leaves nothing half-done.
    let copy = subject.place.join("copy");
    let restored = subject.place.run([
        "restore".to_owned(),
        point.clone(),
        format!("--set=directory={}", copy.display()),
    ]);
    assert!(matches!(restored.code(), Some(1 | 4)), "{restored}");
    assert!(plain(&restored.stderr).contains("damaged in the repository"), "{restored}");
    assert!(
        !copy.exists() || fs::read_dir(&copy).unwrap().count() == 0,
        "a half restored copy is left: {restored}"
    );
    flip(&pack, 1000);
    subject.place.ok(["check", "--read-data"]);
    subject.verify_ok(&point);
    subject.assert_clean();
}

/// Puts a file beside the database that nothing makes smaller.
fn incompressible(subject: &Subject, megabytes: u64) {
    let mut random = fs::File::open("/dev/urandom").unwrap().take(megabytes << 20);
    let mut file = fs::File::create(subject.data().join("noise")).unwrap();
    std::io::copy(&mut random, &mut file).unwrap();
}

/// Fills a file system to the last byte.
fn fill(path: &std::path::Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        let chunk = vec![1_u8; size];
        while file.write_all(&chunk).is_ok() {}
    }
}

fn largest_pack(place: &Place) -> PathBuf {
    let mut packs = Vec::new();
    for folder in fs::read_dir(place.repository().join("data")).unwrap() {
        for pack in fs::read_dir(folder.unwrap().path()).unwrap() {
            packs.push(pack.unwrap().path());
        }
    }
    packs.into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap()
}

fn flip(path: &std::path::Path, at: u64) {
    let mut permissions = fs::metadata(path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(path, permissions).unwrap();
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 0xff]).unwrap();
}
