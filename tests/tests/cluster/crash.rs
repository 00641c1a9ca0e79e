//! Runners whose pod dies.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Postgres, Space, eventually, runs};

/// Kills the runner, and nothing else of its pod. A pod that is deleted would be told before.
const KILL: &str = r#"for process in /proc/[0-9]*; do
  if tr '\0' ' ' <"$process/cmdline" | grep -q 'standstill agent [r]unner'; then kill -9 "${process#/proc/}"; fi
done"#;

/// The name of the runner's pod, once it runs.
fn runner(space: &Space) -> Option<String> {
    let pods = space.get(&["pods", "--selector=standstill.dev/role=runner"]);
    let runs = |pod: &&Value| pod["status"]["phase"] == "Running";
    let pods = pods["items"].as_array()?;
    pods.iter().find(runs).and_then(|pod| pod["metadata"]["name"].as_str()).map(str::to_owned)
}

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
    let pod = runner(&space).expect("the runner runs");
    space.kubectl(&["exec", &pod, "--container=runner", "--", "sh", "-c", KILL]);
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
