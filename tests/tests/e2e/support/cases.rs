//! What every server is tried with.

use std::time::Duration;

use rustix::process::Signal;

use super::{Application, Subject, eventually, slow::Slow};

/// Locks in files of one user's state directory keep nobody else out: another run of somebody else's must be told that
/// somebody is at work, in these words, and the first one goes on.
#[track_caller]
pub fn locks_somebody_else_out(subject: &Subject, says: &str) {
    let mut first = subject.place.command(subject.backup_arguments());
    // It stands still while it holds the lock, for less than the lease.
    first.env("STANDSTILL_FAILPOINT", "6:after:stop");
    let mut first = subject.place.spawn(first);
    eventually(Duration::from_secs(30), "the first run stops", || first.is_stopped() || first.has_ended());
    assert!(first.is_stopped());
    let mut second = subject.place.command(subject.backup_arguments());
    second.env("XDG_STATE_HOME", subject.place.join("elsewhere"));
    let second = subject.place.spawn(second).wait();
    first.signal(Signal::CONT);
    let first = first.wait();
    second.claims_nothing(1, &[says]);
    assert_eq!(first.code(), Some(0), "{first}");
    subject.assert_clean();
}

/// A hold dies with its server: nothing that was captured may be called consistent.
#[track_caller]
pub fn claims_nothing_after_a_restart(mut subject: Subject, says: &str) {
    let slow = Slow::start(&subject, &[]);
    match &mut subject.application {
        Application::Mariadb(server) => {
            server.end(Signal::KILL);
            server.start();
        }
        Application::Redis(server) => {
            server.end(Signal::KILL);
            server.start();
        }
        Application::Mongodb(server) => {
            server.end(Signal::KILL);
            server.start();
        }
        _ => panic!("{} cannot be restarted", subject.kind),
    }
    subject.assert_refused(&slow.finish(), 1, &[says]);
    subject.backup_ok();
    subject.assert_clean();
}
