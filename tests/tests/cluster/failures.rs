//! Pods that go away in the middle of a run.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Postgres, Space, eventually};

/// The names of a namespace's pods of this role that run.
fn running(space: &Space, role: &str) -> Vec<String> {
    let pods = space.get(&["pods", &format!("--selector=standstill.dev/role={role}")]);
    let pods = pods["items"].as_array().unwrap().iter();
    let runs = pods.filter(|pod| pod["status"]["phase"] == "Running");
    runs.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn error(report: &Value) -> (String, String) {
    let text = |key: &str| report["error"][key].as_str().unwrap_or_default().to_owned();
    (text("phase"), text("message"))
}

/// A backup whose mover goes away by somebody's doing while it uploads fails, and the next one is whole.
fn without_its_mover(space: &Space, server: &Postgres, end: impl Fn(&str)) {
    let mut run = server.start_backup("postgresql", &[]);
    eventually(Duration::from_mins(2), "a mover runs", || {
        assert!(!run.has_ended(), "{}", run.stderr());
        running(space, "mover").first().map(|mover| end(mover)).is_some()
    });
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let (phase, message) = error(&outcome.json());
    assert_eq!(phase, "store", "{outcome}");
    println!("{message}");
    assert!(message.contains("was deleted before it was done") || message.contains("ended"), "{message}");
    assert_eq!(server.held(), Vec::<String>::new());
    space.assert_clean();
}

#[test]
fn a_mover_that_is_killed_or_evicted_while_it_uploads_fails_the_run_and_nothing_is_listed() {
    let Some(space) = Space::new("evicted") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    // So much that the upload lasts for seconds.
    server.sql(
        "CREATE TABLE large AS SELECT n, (SELECT string_agg(md5(n::text || '-' || m::text), '') FROM generate_series(1, 32) m)
         FROM generate_series(1, 250000) n",
    );
    without_its_mover(&space, &server, |mover| {
        space.kubectl(&["delete", "pod", mover, "--grace-period=0", "--force"]);
    });
    without_its_mover(&space, &server, |mover| evict(&space, mover));
    assert_eq!(space.place.points(), Vec::<String>::new());
    let next = server.backup(&[]);
    assert_eq!(next.code(), Some(0), "{next}");
    assert_eq!(space.place.points().len(), 1);
    space.place.ok(["check", "--read-data"]);
}

/// As when its node is drained.
fn evict(space: &Space, pod: &str) {
    let eviction = space.place.file(
        "eviction.json",
        &format!(
            r#"{{"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {{"name": "{pod}", "namespace": "{}"}}}}"#,
            space.name
        ),
    );
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", space.name);
    space.kubectl(&["create", "--raw", &path, "--filename", eviction.to_str().unwrap()]);
}

#[test]
fn a_database_whose_pod_goes_while_it_is_held_fails_the_run_and_starts_again_free() {
    let Some(space) = Space::new("nodb") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    // The hold is on for as long as the storage does not answer.
    let mut run = server.start_backup("postgresql", &["--set=target.snapshotClass=btrfs-hangs"]);
    eventually(Duration::from_mins(2), "a snapshot is asked for", || {
        assert!(!run.has_ended(), "{}", run.stderr());
        !space.get(&["volumesnapshots"])["items"].as_array().unwrap().is_empty()
    });
    assert!(!server.held().is_empty(), "backup mode is on");
    space.kubectl(&["delete", "pod", "pg-0", "--grace-period=0", "--force"]);
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    assert_eq!(space.place.points(), Vec::<String>::new());
    server.await_ready();
    assert_eq!(server.held(), Vec::<String>::new());
    space.assert_clean();
    let next = server.backup(&[]);
    assert_eq!(next.code(), Some(0), "{next}");
}
