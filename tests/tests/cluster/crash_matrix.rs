//! Nothing stays held in a cluster: the runner is killed before and after lines of its journal.

use std::time::Duration;

use crate::{
    matrix::recovers,
    support::{
        Postgres, Space, eventually,
        place::Started,
        runs::kill_points_of,
        sample::Random,
        writer::{Writer, assert_whole},
    },
};

/// How long writes may wait after the runner is gone: the lease, the second that is promised, and room for a busy
/// machine that runs a whole cluster.
const PROMISED: Duration = Duration::from_secs(10 + 1 + 4);

/// A database with its writer, and all points of a clean run.
struct Matrix<'a> {
    space: &'a Space,
    server: Postgres<'a>,
    points: Vec<String>,
}

impl<'a> Matrix<'a> {
    fn new(space: &'a Space) -> Self {
        let server = Postgres::start(space);
        let clean = server.backup(&[]);
        assert_eq!(clean.code(), Some(0), "{clean}");
        let run = clean.json()["run"].as_str().expect("a run").to_owned();
        Self { space, server, points: kill_points_of(space, &run) }
    }

    fn start(&self, point: &str) -> Started {
        self.server.start_backup_with(&[("STANDSTILL_FAILPOINT", point.into())])
    }

    /// After a death: the writer goes on, nothing half-done is listed, and the command or the next run cleans up.
    fn recovers(&self, point: &str, by_command: bool, writer: &Writer) {
        eventually(PROMISED, &format!("the hold ends by itself, {point}"), || self.server.held().is_empty());
        writer.goes_on(PROMISED);
        recovers(self.space, point, by_command, || self.server.backup(&[]));
    }
}

#[test]
fn a_runner_that_is_killed_at_any_line_of_its_journal_leaves_nothing_held_and_nothing_half_done() {
    let Some(space) = Space::new("matrix") else { return };
    space.place.init();
    let matrix = Matrix::new(&space);
    let writer = matrix.server.writer();
    writer.slow_down();
    let mut random = Random::of("cluster kill");
    for point in random.sample(matrix.points.clone(), 2) {
        println!("{point}");
        let outcome = matrix.start(&point).wait();
        assert_ne!(outcome.code(), Some(0), "{point}: {outcome}");
        matrix.recovers(&point, random.coin(), &writer);
    }
    let before = writer.acknowledged();
    let last = matrix.server.backup(&[]);
    assert_eq!(last.code(), Some(0), "{last}");
    let after = writer.stop() + 1;
    let restored = matrix.server.of_newest("restore", &["--set=target.claim=restored"]);
    assert_eq!(restored.code(), Some(0), "{restored}");
    assert_whole(&Postgres::on_claim(&space, "restored").numbers(), before, after);
}
