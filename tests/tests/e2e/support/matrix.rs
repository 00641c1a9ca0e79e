//! The crash matrix of a subject: each line of its journal, and what must hold after the runner died there.

use std::time::{Duration, Instant};

use super::{
    Subject, eventually, kind::Kind, place::Started, sample::Random, subject::LEASE, writer::Writer,
};

/// Room for a busy machine, on top of the second that is promised.
pub const ROOM: Duration = Duration::from_secs(2);

/// How long writes may wait after the runner is gone.
pub const PROMISED: Duration = Duration::from_secs(LEASE.as_secs() + 1);

/// A point of the journal, and whether the line is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub line: usize,
    pub after: bool,
}

impl Point {
    fn failpoint(self, signal: &str) -> String {
        format!("{}:{}:{signal}", self.line, if self.after { "after" } else { "before" })
    }
}

/// The subject, with its writer, and all points of a clean run.
pub struct Matrix {
    // Before its database.
    pub writer: Writer,
    pub subject: Subject,
    points: Vec<Point>,
    pub random: Random,
}

impl Matrix {
    fn of(kind: &Kind, test: &str) -> Option<Self> {
        let subject = Subject::new(kind)?.with_short_lease();
        let writer = subject.database().writer();
        writer.slow_down();
        let clean = subject.backup_ok();
        let lines = subject.place.journal(&clean).len();
        assert!(lines > 8, "the journal of a clean run has only {lines} lines");
        let points = (0..lines).flat_map(|line| [false, true].map(|after| Point { line, after })).collect();
        Some(Self { writer, subject, points, random: Random::of(&format!("{test} {kind}")) })
    }

    /// The points to try: all, or a sample in which those around the hold are well represented.
    fn chosen(&mut self, count: usize) -> Vec<Point> {
        let points = self.points.clone();
        self.random.sample(points, count)
    }

    pub fn start(&self, point: Point, signal: &str) -> Started {
        let mut command = self.subject.place.command(self.subject.backup_arguments());
        command.env("STANDSTILL_FAILPOINT", point.failpoint(signal));
        self.subject.place.spawn(command)
    }

    /// Whether something may be held at the end of a journal: it was intended, and its release is not noted.
    pub fn may_be_held(&self, run: &str) -> bool {
        let journal = self.subject.place.journal(run);
        let holds = journal.iter().filter(|(event, held)| {
            let undo = &held["undo"];
            event == "intent"
                && (undo.get("hold").is_some() || undo["runtime"]["record"].get("keeper").is_some())
        });
        let released = journal.iter().filter(|(event, _)| event == "released");
        holds.count() > released.count()
    }

    /// After the runner is gone or stopped: the writer goes on within what is promised, and nothing is held then.
    pub fn writes_go_on(&self, since: Instant, held: bool) {
        if held {
            std::thread::sleep(PROMISED.saturating_sub(since.elapsed()));
        }
        self.writer.goes_on(PROMISED + ROOM);
        let stalled = self.writer.longest_stall(since);
        assert!(stalled <= PROMISED + ROOM, "writes waited {stalled:?} after the runner was gone");
        if held {
            // Not the freeze alone: a session's slot and lock go with it.
            eventually(ROOM, &format!("the hold has ended: {:?}", self.holds_in_the_database()), || {
                self.holds_in_the_database().is_empty()
            });
        }
    }

    /// What is held, without the lock on the target and plain sessions, which a stopped runner keeps.
    fn holds_in_the_database(&self) -> Vec<String> {
        let held = self.subject.database().held();
        let is_hold = |what: &String| {
            !what.starts_with("advisory lock") && (!what.starts_with("session") || what.contains(" hold "))
        };
        held.into_iter().filter(is_hold).collect()
    }

    /// The recovery point of a run is there if and only if its commit was reached; then it is whole.
    pub fn listed_if_committed(&self, run: &str, point: Point) {
        let journal = self.subject.place.journal(run);
        let at = |name: &str| journal.iter().position(|(event, _)| event == name);
        let reached = match (at("committing"), at("committed")) {
            (_, Some(_)) => true,
            // The commit is between the two lines: only a kill before the second one has seen it done.
            (Some(committing), None) => point.line == committing + 1,
            (None, None) => false,
        };
        let listed = self.subject.place.points().contains(&run.to_owned());
        assert_eq!(listed, reached, "listed, reached ({point:?})");
        if reached {
            self.subject.verify_ok(run);
        }
    }

    /// Recovers, by the command or by the next backup; then nothing is left, and the next backup succeeds.
    pub fn recovers(&mut self, run: &str) {
        if self.random.coin() {
            let recovered = self.subject.place.ok(["recover", "--output=json"]);
            assert!(!recovered.stdout.contains("panicked"), "{recovered}");
            self.subject.assert_clean();
        }
        self.subject.backup_ok();
        self.writer.goes_on(Duration::from_secs(10));
        self.subject.assert_clean();
        let last = self.subject.place.journal(run).pop();
        assert!(
            last.is_none_or(|(event, _)| event == "finished"),
            "run {run} was not finished by the next one"
        );
    }
}

/// Tries every chosen point, also after one that went wrong, and fails if any did.
#[track_caller]
pub fn try_all(kind: &Kind, signal: &str, count: usize, try_one: fn(&mut Matrix, Point)) {
    let Some(mut matrix) = Matrix::of(kind, signal) else { return };
    let chosen = matrix.chosen(count);
    println!("{kind}: {} of {} points", chosen.len(), matrix.points.len());
    let tried = chosen.iter().filter(|point| {
        println!("{kind}: {}", point.failpoint(signal));
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| try_one(&mut matrix, **point)));
        tried.is_err()
    });
    let wrong: Vec<String> = tried.map(|point| point.failpoint(signal)).collect();
    assert_eq!(wrong, Vec::<String>::new(), "{kind}: these points went wrong, as told above");
}
