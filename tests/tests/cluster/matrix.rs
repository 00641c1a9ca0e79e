//! The crash matrix of a hold that keeps writers out: SQLite's write lock, held by a helper in the runner's pod.

use std::time::Duration;

use crate::support::{
    Space, eventually,
    outage::{delete_runner, delete_stopped_runner},
    place::{Outcome, Started},
    runs::{BELIEVED, HELD, await_held, journal, kill_points_of, states, unlocked},
    sample::Random,
    sqlite::Application,
};

/// The lease of the tests.
const LEASE: Duration = Duration::from_secs(3);
/// The second that is promised on top of it, and room for a busy machine that runs a whole cluster.
const PROMISED: Duration = Duration::from_secs(LEASE.as_secs() + 1 + 4);
/// How long the cluster may take to remove what was let go.
const REMOVED: Duration = Duration::from_mins(2);

fn start(space: &Space, more: &[&str], failpoint: Option<String>) -> Started {
    let target =
        ["--set=directory=/data", "--set=file=app.db", "--set=target.workload=pod/app", "--set=lease=3s"];
    let arguments = ["backup", "sqlite", "--name=app", "--output=json"];
    let arguments: Vec<&str> = arguments.iter().chain(&target).chain(more).copied().collect();
    let failpoint = failpoint.map(|point| ("STANDSTILL_FAILPOINT", point.into()));
    space.start_with(&arguments, failpoint.as_slice())
}

/// Starts a backup that holds the lock for as long as the storage does not answer; the ceiling is far away.
#[track_caller]
pub fn start_held(space: &Space) -> Started {
    let mut run = start(space, &[&["--set=maxFreeze=120s"], &HELD[..]].concat(), None);
    await_held(space, &mut run);
    run
}

/// A backup, whatever comes of it.
pub fn attempt(space: &Space) -> Outcome {
    start(space, &[], None).wait()
}

#[track_caller]
fn back_up(space: &Space) -> String {
    let outcome = attempt(space);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    outcome.json()["run"].as_str().unwrap().to_owned()
}

/// Two commits more.
#[track_caller]
fn goes_on(application: &Application) {
    let before = application.acknowledged();
    eventually(PROMISED, "the application commits", || application.acknowledged() > before + 1);
}

/// Asserts that nothing but the journals is there of any run, soon.
#[track_caller]
fn nothing_is_left(space: &Space) {
    for (run, _) in states(space) {
        space.await_none(Some(&run), REMOVED);
    }
}

/// After a death: nothing half-done is listed; the command or the next run cleans up.
#[track_caller]
pub fn recovers(space: &Space, point: &str, by_command: bool, attempt: impl Fn() -> Outcome) {
    eventually(BELIEVED, &format!("the run is known to be dead, {point}"), || {
        states(space).iter().all(|(_, state)| state != "running")
    });
    // Of a run that had noted its end only Leases are left, which end by themselves: the next run removes them.
    let unfinished = states(space).iter().any(|(_, state)| state == "dead");
    if by_command && unfinished {
        println!("  by the command");
        space.run_plain(&["recover"]);
        nothing_is_left(space);
    }
    let next = unlocked(attempt);
    assert_eq!(next.code(), Some(0), "{point}: {next}");
    let points = space.place.points();
    for (run, state) in states(space) {
        assert!(["succeeded", "failed"].contains(&state.as_str()), "{point}: {run} is {state}");
        let committed = journal(space, &run).iter().any(|event| event.get("committed").is_some());
        assert_eq!(points.contains(&run), committed, "{point}: {run} ({state})");
    }
    nothing_is_left(space);
}

#[test]
fn killed_anywhere_a_snapshot_of_sqlite_leaves_it_writable_and_leaves_nothing() {
    let Some(space) = Space::new("lockmatrix") else { return };
    space.place.init();
    let application = Application::start(&space);
    let clean = back_up(&space);
    let points = kill_points_of(&space, &clean);
    let mut random = Random::of("cluster sqlite");
    // At each point its process dies, or its pod is deleted by force.
    for (number, point) in random.sample(points, 2).into_iter().enumerate() {
        let by_deletion = number % 2 == 1;
        println!("{point}{}", if by_deletion { ", by deletion of the pod" } else { "" });
        let begun = Application::now();
        let outcome = if by_deletion {
            let mut run = start(&space, &[], Some(point.replace(":kill", ":stop")));
            delete_stopped_runner(&space, &mut run);
            run.wait()
        } else {
            start(&space, &[], Some(point.clone())).wait()
        };
        if outcome.code() == Some(0) {
            println!("  the run had fewer lines");
            continue;
        }
        goes_on(&application);
        let stalled = application.longest_stall(begun);
        println!("  writes waited {stalled:?}");
        assert!(stalled < PROMISED, "{point}: writes waited {stalled:?}");
        recovers(&space, &point, random.coin(), || attempt(&space));
    }
}

#[test]
fn a_runner_whose_pod_is_deleted_while_it_holds_the_lock_lets_go_and_is_cleaned_up_after() {
    let Some(space) = Space::new("deleted") else { return };
    space.place.init();
    let application = Application::start(&space);
    let run = start_held(&space);
    let deleted = Application::now();
    delete_runner(&space);
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    goes_on(&application);
    let waited = application.waited_after(deleted);
    println!("writes went on {waited:?} after the pod was deleted");
    assert!(waited < PROMISED, "writes went on only after {waited:?}");
    assert_eq!(space.place.points(), Vec::<String>::new());
    recovers(&space, "deleted", false, || attempt(&space));
}
