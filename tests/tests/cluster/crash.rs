//! Runners whose pod dies.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    matrix::recovers,
    support::{
        Postgres, Space, eventually,
        outage::{delete_runner, kill_runner},
        runs::{self, HELD, await_held},
        sample::Random,
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

/// A backup of PostgreSQL's volume that says in the database itself for how long it is paused, by a program of the
/// target's image beside it.
const FLAGGED: &str = r#"apiVersion: standstill.dev/v1alpha1
kind: Blueprint
metadata: {name: flagged}
spec:
  summary: A database that is told by a table that it is paused
  parameters:
    host: {type: string, default: localhost}
    dataDir: {type: path}
    database: {type: string}
    password: {type: secret}
  connections:
    db: {hook: postgresql, host: "{{ params.host }}", user: postgres, database: "{{ params.database }}", password: {parameter: password}}
  volumes:
    data: {path: "{{ params.dataDir }}"}
  actions:
    backup:
      lease: 5s
      preflight:
        - hook: {use: postgresql/ready, connection: db}
      quiesce:
        - name: flag
          pair:
            in: runner
            blocksWrites: false
            tolerates: [notAtomic, changingFiles]
            env: {PGPASSWORD: {parameter: password}, PGHOST: "{{ connections.db.host }}", PGUSER: postgres, PGDATABASE: "{{ params.database }}"}
            acquire: [psql, --command, CREATE TABLE paused ()]
            confirm: {command: [psql, --tuples-only, --command, TABLE paused], expect: "result.exitCode == 0"}
            release: [psql, --command, DROP TABLE IF EXISTS paused]
      capture:
        - name: data
          snapshot: {volume: data, mode: auto}
      store:
        - volume: {from: captures.data, artifact: data}
"#;

/// The flag of a runner that is killed goes by its lease; and a run that needs no program of the target's itself lets go
/// of what only such a program can.
#[test]
fn what_a_program_beside_the_target_holds_ends_with_the_runner_and_is_let_go_by_the_next_run() {
    let Some(space) = Space::new("programs") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let blueprint = space.place.file("flagged.yaml", FLAGGED);
    let blueprint = blueprint.to_str().unwrap();
    let flag = || server.sql("SELECT to_regclass('paused')");
    let whole = server.start_backup(blueprint, &[]).wait();
    assert_eq!(whole.code(), Some(0), "{whole}");
    assert_eq!(flag(), "");
    let mut run = server.start_backup(blueprint, &HELD);
    await_held(&space, &mut run);
    assert_eq!(flag(), "paused");
    kill_runner(&space);
    eventually(Duration::from_secs(5 + 1 + 4), "the flag goes with its runner", || flag().is_empty());
    assert_eq!(run.wait().code(), Some(1));
    // As where its node had gone at once: what is on disk stays, and the database comes back with another address.
    server.sql("CREATE TABLE paused ()");
    let address = || space.get(&["pod", "pg-0"])["status"]["podIP"].as_str().unwrap_or_default().to_owned();
    let then = address();
    space.kubectl(&["delete", "pod", "pg-0"]);
    server.await_ready();
    assert_ne!(address(), then);
    let dumped = || server.start_backup("postgresql", &[]).wait();
    recovers(&space, "while it is held", false, dumped);
    assert_eq!(flag(), "");
    assert_eq!(states(&space), ["succeeded", "failed", "succeeded"]);
}

/// Has a Deployment serve what the StatefulSet did, from the same claim.
fn deploy(space: &Space) {
    let mut template = space.get(&["statefulset", "pg"])["spec"]["template"].take();
    let claim = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-pg-0"}});
    template["spec"]["volumes"].as_array_mut().unwrap().push(claim);
    space.kubectl(&["delete", "statefulset", "pg", "--cascade=foreground"]);
    let manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "pg"},
        "spec": {
            "replicas": 1, "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": "pg"}}, "template": template,
        },
    });
    space.apply(&manifest.to_string());
}

/// The server in the only pod of the Deployment, whatever its name is, and that name.
fn deployed(space: &Space) -> (Postgres<'_>, String) {
    space.kubectl(&["rollout", "status", "deployment/pg", "--timeout=120s"]);
    let name = "--output=jsonpath={.items[*].metadata.name}";
    let pod = space.kubectl(&["get", "pods", "--selector=app=pg", name]);
    (Postgres::in_pod(space, &pod), pod)
}

/// Each pod of a Deployment has a name of its own: the release goes to the one that is there now.
#[test]
fn what_a_program_beside_the_pod_of_a_deployment_holds_is_let_go_where_its_next_pod_is() {
    let Some(space) = Space::new("deployment") else { return };
    space.place.init();
    let asked = Postgres::start(&space);
    deploy(&space);
    let blueprint = space.place.file("flagged.yaml", FLAGGED);
    let start = |blueprint: &str, more: &[&str]| {
        asked.start_backup(blueprint, &[&["--set=target.workload=deployment/pg"], more].concat())
    };
    for by_command in Random::of("cluster deployment").sample(vec![false, true], 1) {
        println!("by the command: {by_command}");
        let (server, pod) = deployed(&space);
        let mut run = start(blueprint.to_str().unwrap(), &HELD);
        await_held(&space, &mut run);
        assert_eq!(server.sql("SELECT to_regclass('paused')"), "paused");
        kill_runner(&space);
        eventually(Duration::from_secs(5 + 1 + 4), "the flag goes with its runner", || {
            server.sql("SELECT to_regclass('paused')").is_empty()
        });
        assert_eq!(run.wait().code(), Some(1));
        // As where its node had gone at once: what is on disk stays.
        server.sql("CREATE TABLE paused ()");
        // One after the other: two servers must not have the same files.
        space.kubectl(&["scale", "deployment/pg", "--replicas=0"]);
        eventually(Duration::from_mins(1), "its pod is gone", || {
            space.get(&["pods", "--selector=app=pg"])["items"].as_array().unwrap().is_empty()
        });
        space.kubectl(&["scale", "deployment/pg", "--replicas=1"]);
        let (next, its_pod) = deployed(&space);
        assert_ne!(its_pod, pod);
        recovers(&space, &format!("by the command: {by_command}"), by_command, || {
            start("postgresql", &[]).wait()
        });
        assert_eq!(next.sql("SELECT to_regclass('paused')"), "");
    }
}

#[test]
fn what_a_program_beside_the_target_holds_ends_with_all_of_its_pod() {
    let Some(space) = Space::new("programspod") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let blueprint = space.place.file("flagged.yaml", FLAGGED);
    let start = |more: &[&str]| server.start_backup(blueprint.to_str().unwrap(), more);
    let flag = || server.sql("SELECT to_regclass('paused')");
    let mut run = start(&HELD);
    await_held(&space, &mut run);
    assert_eq!(flag(), "paused");
    delete_runner(&space);
    eventually(Duration::from_secs(5 + 1 + 4), "the flag goes with its pod", || flag().is_empty());
    assert_eq!(run.wait().code(), Some(1));
    recovers(&space, "deleted", true, || start(&[]).wait());
    assert_eq!(flag(), "");
}
