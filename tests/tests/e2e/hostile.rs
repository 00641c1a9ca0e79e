//! A hostile world: a repository that vanishes or rots. The database goes on, and nothing is claimed.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::PathBuf,
    time::Duration,
};

use crate::{
    bad_input::sqlite,
    support::{Application, Place, Subject, eventually, place::plain},
};

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
pub(crate) fn incompressible(subject: &Subject, megabytes: u64) {
    if let Application::Etcd(member) = &subject.application {
        // Its backup is of what is in it, not of its files.
        return member.fill(usize::try_from(megabytes).unwrap(), 1 << 20);
    }
    let mut random = fs::File::open("/dev/urandom").unwrap().take(megabytes << 20);
    let mut file = fs::File::create(subject.data().join("noise")).unwrap();
    std::io::copy(&mut random, &mut file).unwrap();
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
