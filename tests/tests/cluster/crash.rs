//! Runners whose pod dies.

use std::time::Duration;

use serde_json::Value;

use crate::{
    matrix::recovers,
    support::{
        Postgres, Space, eventually,
        outage::kill_runner,
        runs::{self, HELD, await_held},
        sqlite::Application,
    },
};

/// The state of each run, oldest first.
fn states(space: &Space) -> Vec<String> {
    runs::states(space).into_iter().map(|(_, state)| state).collect()
}

#[test]
fn a_runner_that_is_killed_after_the_cut_is_recovered_by_the_next_backup() {
    let Some(space) = Space::new("crash") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let writer = server.writer();
    // The snapshot is cut at once, and ready only 20 s later: the run is killed in between.
    let mut run = server.start_backup("postgresql", &["--set=target.snapshotClass=btrfs-slow"]);
    eventually(Duration::from_mins(2), "a snapshot is cut", || {
        assert!(!run.has_ended(), "{}", run.stderr());
        let snapshots = space.get(&["volumesnapshots"]);
        snapshots["items"].as_array().unwrap().iter().any(|cut| cut["status"]["creationTime"].is_string())
    });
    kill_runner(&space);
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");

    // Nobody holds the database though nobody has cleaned up yet.
    eventually(Duration::from_secs(15), "the hold has ended by itself", || server.held().is_empty());
    writer.goes_on(Duration::from_secs(5));
    assert_eq!(space.place.points(), Vec::<String>::new());
    assert!(!space.leftovers().is_empty(), "the snapshot is still there");

    eventually(Duration::from_mins(1), "the run counts as dead", || states(&space) == ["dead"]);
    let next = server.backup(&[]);
    assert_eq!(next.code(), Some(0), "{next}");
    drop(writer);
    assert_eq!(states(&space), ["failed", "succeeded"]);
    assert_eq!(space.place.points().len(), 1);
    space.assert_clean();
}

#[test]
fn a_run_that_is_interrupted_lets_go_and_leaves_nothing() {
    let Some(space) = Space::new("interrupt") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let mut run = server.start_backup("postgresql", &["--set=target.snapshotClass=btrfs-slow"]);
    eventually(Duration::from_mins(2), "a snapshot is asked for", || {
        assert!(!run.has_ended(), "{}", run.stderr());
        !space.get(&["volumesnapshots"])["items"].as_array().unwrap().is_empty()
    });
    run.signal(rustix::process::Signal::INT);
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    assert_eq!(outcome.json()["recoveryPoint"], Value::Null, "{outcome}");
    assert_eq!(server.held(), Vec::<String>::new());
    assert_eq!(states(&space), ["failed"]);
    space.assert_clean();
}

/// A run that needs no program of the target's has Standstill's own image, in which a dead one that does need some could
/// not be let go.
#[test]
fn a_dead_run_that_needs_programs_of_the_target_is_recovered_by_one_that_needs_none() {
    let Some(space) = Space::new("programs") else { return };
    space.place.init();
    let application = Application::start(&space);
    let shipped = space.blueprint("sqlite", "auto");
    let text = std::fs::read_to_string(&shipped).unwrap();
    let pair = r#"      quiesce:
        - name: program
          pair: {in: runner, blocksWrites: false, acquire: ["true"], confirm: {command: ["true"], expect: "result.exitCode == 0"}, release: ["true"]}
"#;
    let with_program = space.place.file("program.yaml", &text.replacen("      quiesce:\n", pair, 1));
    let mut run = application.start_backup(with_program.to_str().unwrap(), &HELD);
    await_held(&space, &mut run);
    kill_runner(&space);
    assert_eq!(run.wait().code(), Some(1));
    recovers(&space, "while it is held", false, || application.start_backup(&shipped, &[]).wait());
    assert_eq!(states(&space), ["failed", "succeeded"]);
}
