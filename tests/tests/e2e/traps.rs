//! Traps that only show end to end. The others are sprung where their remedy is: in the crates' own tests.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{
    Subject,
    cases::locks_somebody_else_out,
    eventually,
    kind::Kind,
    postgresql::{self, Version},
    subject::LEASE,
};

/// The restored tablespace links of a copy would point at production's places.
#[test]
fn a_server_with_a_tablespace_outside_the_volume_is_refused() {
    let Some(version) = Version::first() else { return };
    let Some(subject) = Subject::new(&Kind::Postgresql(version)) else { return };
    let space = subject.place.join("space");
    fs::create_dir(&space).unwrap();
    postgresql::give(&space);
    subject.server().sql(&format!("CREATE TABLESPACE far LOCATION '{}'", space.display()));
    subject.backup().claims_nothing(2, &["miss", space.to_str().unwrap()]);
    subject.assert_clean();
}

/// A snapshot shows nested subvolumes as empty directories, with exit status 0.
#[test]
fn a_nested_subvolume_is_refused_instead_of_captured_empty() {
    let Some(subject) = Subject::new(&Kind::SqliteOnBtrfs) else { return };
    let nested = subject.data().join("nested");
    let made = Command::new("btrfs").args(["subvolume", "create"]).arg(&nested).output().unwrap();
    assert!(made.status.success());
    fs::write(nested.join("precious"), "yes").unwrap();
    subject.backup().claims_nothing(2, &["nested subvolume", nested.to_str().unwrap()]);
    subject.assert_clean();
}

/// A scratch server with production's settings would archive, and overwrite what production archived.
#[test]
fn a_scratch_server_does_not_archive() {
    let Some(version) = Version::first() else { return };
    let Some(mut subject) = Subject::new(&Kind::Postgresql(version)) else { return };
    let log = subject.place.join("pg/archived-by");
    {
        let crate::support::Application::Postgresql(server) = &mut subject.application else { panic!() };
        server.stop();
        server.configure(&format!("archive_mode = on\narchive_command = 'pwd >> {}'", log.display()));
        server.start();
    }
    let point = subject.backup_ok();
    subject.verify_ok(&point);
    subject.server().sql("SELECT pg_switch_wal()");
    eventually(Duration::from_secs(20), "the server itself archives", || log.exists());
    let archived = fs::read_to_string(&log).unwrap();
    let data = subject.data();
    let others: Vec<&str> = archived.lines().filter(|by| Path::new(by) != data).collect();
    assert_eq!(others, Vec::<&str>::new(), "somebody else ran the archive command");
}

#[test]
fn a_run_of_somebody_else_on_the_same_server_is_locked_out() {
    let Some(version) = Version::first() else { return };
    if let Some(subject) = Subject::new(&Kind::Postgresql(version)) {
        locks_somebody_else_out(&subject, "is working on");
    }
}

/// The dump is the real hold: one whose reader has stopped would queue every writer behind the next ALTER.
#[test]
fn a_dump_whose_runner_is_stopped_frees_its_tables_within_the_lease() {
    let Some(version) = Version::first() else { return };
    let Some(subject) = Subject::new(&Kind::Dump(version)) else { return };
    let subject = subject.with_short_lease();
    let server = subject.server();
    // More than all pipes and buffers on the way hold.
    let session = server.connect("app");
    session
        .run("INSERT INTO ballast SELECT n, repeat(md5(n::text), 6) FROM generate_series(10000, 400000) n")
        .unwrap();
    let mut runner = subject.place.start(subject.backup_arguments());
    eventually(Duration::from_secs(30), "the dump has begun to copy", || {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_dump' AND query LIKE 'COPY public.ballast%'";
        assert!(!runner.has_ended(), "the dump was too fast to be caught");
        !session.rows(sql).unwrap().is_empty()
    });
    runner.signal(Signal::STOP);
    let stopped = Instant::now();
    let alter = "SET lock_timeout = '200ms'; ALTER TABLE ballast ADD COLUMN more int";
    eventually(LEASE + Duration::from_secs(3), "the tables are free", || session.run(alter).is_ok());
    println!("the tables were free after {:?}", stopped.elapsed());
    runner.signal(Signal::CONT);
    let ended = runner.wait();
    assert_eq!(ended.code(), Some(1), "{ended}");
    assert_eq!(subject.place.points(), Vec::<String>::new());
    subject.assert_clean();
}

/// A count of rows runs on after the hold was let go; it must not keep a snapshot of a runner that is stopped.
#[test]
fn facts_that_are_being_counted_hold_nothing_when_the_runner_is_stopped() {
    let Some(version) = Version::first() else { return };
    let Some(subject) = Subject::new(&Kind::Dump(version)) else { return };
    let subject = subject.with_short_lease();
    let session = subject.server().connect("app");
    // Many tables, so that the counting is caught in the middle.
    for table in 0..150 {
        session
            .run(&format!("CREATE TABLE many_{table} AS SELECT * FROM generate_series(1, 30000) n"))
            .unwrap();
    }
    let open = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'standstill%' AND xact_start IS NOT NULL";
    let counting = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'standstill%' AND query LIKE '%count(%'";
    let mut runner = subject.place.start(subject.backup_arguments());
    eventually(Duration::from_mins(1), "rows are being counted", || {
        assert!(!runner.has_ended(), "the counting was too fast to be caught");
        !session.rows(counting).unwrap().is_empty()
    });
    runner.signal(Signal::STOP);
    eventually(LEASE + Duration::from_secs(3), "no transaction of the run is open", || {
        session.rows(open).unwrap().is_empty()
    });
    runner.signal(Signal::CONT);
    let ended = runner.wait();
    assert!(matches!(ended.code(), Some(0 | 1)), "{ended}");
    subject.assert_clean();
}
