//! What the journals of a namespace say.

use std::time::Duration;

use serde_json::Value;

use super::{
    Space, eventually,
    place::{Outcome, Started},
};

/// How long a run that died may be taken for alive: its Lease, and room.
pub const BELIEVED: Duration = Duration::from_mins(1);

/// Arguments of a backup that holds what it holds, for as long as the storage does not answer.
pub const HELD: [&str; 2] = ["--set=target.snapshotClass=btrfs-hangs", "--set=target.snapshotDeadline=2m"];

/// Waits until such a backup holds it.
#[track_caller]
pub fn await_held(space: &Space, run: &mut Started) {
    eventually(Duration::from_mins(2), "a snapshot is asked for", || {
        assert!(!run.has_ended(), "{}", run.stderr());
        !space.get(&["volumesnapshots"])["items"].as_array().unwrap().is_empty()
    });
}

/// Each run and its state, oldest first.
#[track_caller]
pub fn states(space: &Space) -> Vec<(String, String)> {
    let runs = space.run_plain(&["runs"]).json();
    let text = |run: &Value, key: &str| run[key].as_str().unwrap().to_owned();
    runs.as_array().unwrap().iter().map(|run| (text(run, "run"), text(run, "state"))).collect()
}

/// The events of a run.
#[track_caller]
pub fn journal(space: &Space, run: &str) -> Vec<Value> {
    let entries = space.run_plain(&["logs", run]).json();
    entries.as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect()
}

/// Where a run can be killed whose journal has these lines: before and after each.
pub fn kill_points(lines: impl IntoIterator<Item = usize>) -> Vec<String> {
    let points = |line| ["before", "after"].map(|when| format!("{line}:{when}:kill"));
    lines.into_iter().flat_map(points).collect()
}

/// The points of a clean run.
#[track_caller]
pub fn kill_points_of(space: &Space, run: &str) -> Vec<String> {
    let lines = journal(space, run).len();
    assert!(lines > 8, "the journal of a clean run has only {lines} lines");
    kill_points(0..lines)
}

/// A backup, once the lock of a dead run is over: also one that noted its end is kept out for as long as that.
#[track_caller]
pub fn unlocked(back_up: impl Fn() -> Outcome) -> Outcome {
    let is_locked_out = |outcome: &Outcome| outcome.stdout.contains(" is working on ");
    let mut next = back_up();
    eventually(BELIEVED, "the lock of a dead run ends", || {
        if is_locked_out(&next) {
            next = back_up();
        }
        !is_locked_out(&next)
    });
    next
}
