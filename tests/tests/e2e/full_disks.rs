//! Full disks, wherever a run or the server itself writes: one sentence, nothing claimed, and the database goes on.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    bad_input::{backup, sqlite},
    hostile::incompressible,
    support::{
        Application, Place, Subject,
        filesystem::{self, Mounted},
        kind::Kind,
        place::{Outcome, plain},
        postgresql::Version,
        sample::Random,
    },
};

/// Fills a file system but for that many bytes, by files beside a path.
pub fn fill(ballast: &Path, but: u64) {
    let room = ballast.with_extension("room");
    fs::write(&room, vec![1_u8; usize::try_from(but).unwrap()]).unwrap();
    fs::File::open(&room).unwrap().sync_all().unwrap();
    let mut file = fs::File::create(ballast).unwrap();
    for size in [1 << 20, 4096, 1] {
        let chunk = vec![1_u8; size];
        while file.write_all(&chunk).is_ok() {}
    }
    fs::remove_file(room).unwrap();
}

/// A small file system, filled but for a few kilobytes.
fn small(place: &Place, make: impl FnOnce(&Path)) -> Option<Mounted> {
    let small = Mounted::new(filesystem::Kind::Ext4, &place.join("small"), 12)?;
    make(small.path());
    fill(&small.path().join("ballast"), 64 * 1024);
    Some(small)
}

fn with_postgresql(others: &[Kind], of: &[fn(Version) -> Kind]) -> Vec<Kind> {
    let version = Version::first();
    let postgresql = version.into_iter().flat_map(|version| of.iter().map(move |of| of(version.clone())));
    others.iter().cloned().chain(postgresql).collect()
}

/// What goes there comes from a copy, from files that are read while something is held, or from a program.
#[test]
fn a_full_disk_under_the_repository_fails_the_backup_and_frees_the_database() {
    let others =
        [Kind::Sqlite, Kind::Mariadb, Kind::MariadbDump, Kind::RedisAof, Kind::Etcd, Kind::MysqlDump];
    let kinds = with_postgresql(&others, &[Kind::Postgresql, Kind::Dump, Kind::Basebackup]);
    for kind in Random::of("full repository").sample(kinds, 2) {
        let Some(subject) = Subject::new(&kind) else { continue };
        incompressible(&subject, 4);
        let mut repository = PathBuf::new();
        let made = small(&subject.place, |path| {
            repository = path.join("repository");
            subject.place.ok(["init", "--repository", repository.to_str().unwrap()]);
        });
        let Some(_small) = made else { return };
        let writer = subject.database().writer();
        let outcome = subject.backup_into(&repository);
        writer.goes_on(Duration::from_secs(5));
        println!("{kind}: {outcome}");
        outcome.fails(1, &["No space left on device", "Free some space"]);
        drop(writer);
        let listed =
            subject.place.ok(["list", "--output=json", "--repository", repository.to_str().unwrap()]);
        assert_eq!(listed.json().as_array().map(Vec::len), Some(0), "{kind}: {listed}");
        subject.assert_clean();
    }
}

/// Where copies, dumps and WAL wait for their upload.
#[test]
fn a_full_disk_under_what_waits_for_its_upload_fails_the_backup_and_frees_the_database() {
    let others = [Kind::SqliteOnline, Kind::RedisDump];
    let kinds = with_postgresql(&others, &[Kind::Postgresql, Kind::PostgresqlCopied]);
    for kind in Random::of("full staging").sample(kinds, 2) {
        let Some(mut subject) = Subject::new(&kind) else { continue };
        let Some(small) = small(&subject.place, |_| ()) else { return };
        subject.place.env.push(("TMPDIR".into(), small.path().into()));
        let writer = subject.database().writer();
        let outcome = subject.backup();
        writer.goes_on(Duration::from_secs(5));
        println!("{kind}: {outcome}");
        is_said(&outcome);
        drop(writer);
        subject.place.env.pop();
        assert_eq!(super::support::leftovers::files(small.path()), Vec::<String>::new());
        subject.assert_refused(&outcome, 1, &[]);
        subject.backup_ok();
    }
}

#[track_caller]
fn is_said(outcome: &Outcome) {
    let error = outcome.json()["error"].to_string();
    assert!(error.contains("No space left on device") || error.contains("room"), "{outcome}");
}

/// A server that cannot write may still be asked to; it must come out of that alive.
#[test]
fn a_full_disk_under_the_server_itself_is_said_and_the_server_goes_on_when_there_is_room() {
    let others = [Kind::Mariadb, Kind::Mysql, Kind::RedisAofOnBtrfs];
    let kinds = with_postgresql(&others, &[Kind::PostgresqlOnBtrfs]);
    for kind in Random::of("full server").sample(kinds, 1) {
        let Some(mut subject) = Subject::sized(&kind, 512) else { continue };
        let ballast = subject.place.join("disk/ballast");
        fill(&ballast, 4096);
        let outcome = subject.backup();
        println!("{kind}: {outcome}");
        fs::remove_file(ballast).unwrap();
        // Room that is free again is not there at once.
        rustix::fs::syncfs(fs::File::open(subject.data()).unwrap()).unwrap();
        if matches!(kind, Kind::Mariadb) {
            // It aborts when it cannot write its log, at any moment once the disk is full, also before the backup finds it,
            // and may leave tables of its own behind that it cannot open any more (10.11). What is ours is that nothing is
            // claimed.
            if outcome.code() != Some(0) {
                let is_gone = outcome.stdout.contains("Start MariaDB");
                assert_eq!(outcome.code(), Some(if is_gone { 2 } else { 1 }), "{outcome}");
                assert_eq!(subject.place.points(), Vec::<String>::new());
            }
            continue;
        }
        if outcome.stdout.contains("Look into the server's log.") {
            // Some end by themselves when they cannot write, and their own log says so.
            assert_eq!(outcome.code(), Some(1), "{outcome}");
            assert_eq!(subject.place.points(), Vec::<String>::new());
            let Application::Postgresql(server) = &mut subject.application else { continue };
            server.stop();
            server.start();
        } else if outcome.code() != Some(0) {
            is_said(&outcome);
        }
        if outcome.code() != Some(0) {
            subject.assert_refused(&outcome, outcome.code().unwrap(), &[]);
        }
        let writer = subject.database().writer();
        writer.goes_on(Duration::from_mins(1));
        drop(writer);
        subject.backup_ok();
        subject.assert_clean();
    }
}

#[test]
fn a_full_disk_under_the_journal_refuses_the_backup_before_anything_is_held() {
    let mut subject = sqlite();
    let Some(small) = Mounted::new(filesystem::Kind::Ext4, &subject.place.join("small"), 12) else { return };
    let state = small.path().join("state");
    fs::create_dir(&state).unwrap();
    fill(&small.path().join("ballast"), 0);
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
    fill(&small.path().join("ballast"), 0);
    subject.place.env.push(("TMPDIR".into(), small.path().into()));
    let outcome = backup(&subject, &[&format!("directory={}", data.display())]);
    assert!(matches!(outcome.code(), Some(1 | 2)), "{outcome}");
    let told = plain(&outcome.stderr);
    assert!(told.contains("room") || told.contains("No space left on device"), "{outcome}");
    assert_eq!(subject.place.points(), Vec::<String>::new());
}
