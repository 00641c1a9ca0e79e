//! What every server is tried with.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Subject, eventually, long::Long, place::Outcome, slow::Slow};

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
    subject.kill_server();
    subject.start_server();
    subject.assert_refused(&slow.finish(), 1, &[says]);
    subject.backup_ok();
    subject.assert_clean();
}

/// A backup of MariaDB or MySQL beside a long UPDATE.
pub struct Beside {
    pub outcome: Outcome,
    /// The UPDATE, which goes on.
    pub long: Long,
    /// The longest that a writer to other tables waited meanwhile.
    pub stalled: Duration,
}

impl Beside {
    /// Ends the UPDATE.
    pub fn end(self) -> Outcome {
        self.outcome
    }
}

/// Takes a backup while an UPDATE of a table of that engine runs that would take two minutes.
#[track_caller]
pub fn beside_a_long_update(subject: &Subject, engine: &str) -> Beside {
    let server = subject.mariadb();
    server.sql(&format!(
        "CREATE TABLE IF NOT EXISTS app.slow (id INT PRIMARY KEY, text VARCHAR(10)) ENGINE = {engine};
         REPLACE INTO app.slow VALUES (1, '')"
    ));
    let long = Long::start(server, "UPDATE app.slow SET text = SLEEP(120)");
    let writer = subject.database().writer();
    let since = Instant::now();
    let outcome = subject.backup();
    let stalled = writer.longest_stall(since);
    println!("{}: the longest stall of a writer was {stalled:?}", subject.kind);
    Beside { outcome, long, stalled }
}
