//! What a blueprint changes around its target: for as long as a backup needs it, and no longer, whatever dies.

use crate::{
    matrix::recovers,
    support::{
        Space,
        around::Around,
        eventually,
        outage::kill_runner,
        place::{Outcome, Started},
        postgresql::Postgres,
        runs::{BELIEVED, HELD, await_held, journal, kill_points, states, unlocked},
        sample::Random,
        sqlite::Application,
    },
};

fn start(space: &Space, around: &Around<'_>, more: &[&str], failpoint: Option<&str>) -> Started {
    let arguments = ["backup", &around.blueprint, "--name=app", "--output=json"];
    let values = [
        "--set=directory=/data",
        "--set=file=app.db",
        "--set=target.workload=pod/app",
        "--set=lease=3s",
        "--set=maxFreeze=2m",
    ];
    let arguments: Vec<&str> = [&arguments[..], &values, more].into_iter().flatten().copied().collect();
    let failpoint = failpoint.map(|point| ("STANDSTILL_FAILPOINT", point.into()));
    space.start_with(&arguments, failpoint.as_slice())
}

fn attempt(space: &Space, around: &Around<'_>) -> Outcome {
    start(space, around, &[], None).wait()
}

#[test]
fn what_a_backup_changes_around_its_target_is_as_before_when_it_has_ended_or_failed() {
    let Some(space) = Space::new("around") else { return };
    space.place.init();
    let _application = Application::start(&space);
    let around = Around::start(&space);
    let whole = attempt(&space, &around);
    assert_eq!(whole.code(), Some(0), "{whole}");
    around.assert_as_before("after a backup");
    let late = ["--set=target.snapshotClass=btrfs-hangs", "--set=target.snapshotDeadline=1s"];
    let failed = start(&space, &around, &late, None).wait();
    assert_eq!(failed.code(), Some(1), "{failed}");
    around.assert_as_before("after a backup that failed");
    space.assert_clean();
}

#[test]
fn a_run_may_change_what_its_blueprint_names_and_nothing_else() {
    let Some(space) = Space::new("aroundrights") else { return };
    space.place.init();
    let _application = Application::start(&space);
    let around = Around::start(&space);
    let mut run = start(&space, &around, &HELD, None);
    await_held(&space, &mut run);
    around.assert_changed();
    let accounts =
        space.kubectl(&["get", "serviceaccounts", "--selector=standstill.dev/run", "--output=name"]);
    let account = accounts.trim().strip_prefix("serviceaccount/").unwrap();
    let account = format!("--as=system:serviceaccount:{}:{account}", space.name);
    let may = |verb: &str, what: &str, more: &[&str]| {
        let arguments = [&["auth", "can-i", verb, what, &account], more].concat();
        let asked = space.try_kubectl(&arguments);
        String::from_utf8_lossy(&asked.stdout).trim() == "yes"
    };
    let scale = ["--subresource=scale"];
    assert!(may("patch", "deployments.apps/front", &scale));
    assert!(!may("patch", "deployments.apps/other", &scale) && !may("patch", "deployments.apps/front", &[]));
    assert!(
        !may("patch", "statefulsets.apps/front", &scale) && !may("delete", "pods/app", &["--subresource=x"])
    );
    kill_runner(&space);
    assert_eq!(run.wait().code(), Some(1));
    around.assert_changed();
    recovers(&space, "held", true, || attempt(&space, &around));
    around.assert_as_before("after the recovery");
}

#[test]
fn killed_anywhere_in_the_matrix_a_run_that_changed_its_surroundings_has_them_put_back() {
    let Some(space) = Space::new("aroundmatrix") else { return };
    space.place.init();
    let _application = Application::start(&space);
    let around = Around::start(&space);
    let whole = attempt(&space, &around);
    assert_eq!(whole.code(), Some(0), "{whole}");
    let lines = journal(&space, whole.json()["run"].as_str().unwrap());
    let points = kill_points(0..lines.len());
    let mut random = Random::of("cluster around");
    for point in random.sample(points, 2) {
        println!("{point}");
        let outcome = start(&space, &around, &[], Some(&point)).wait();
        if outcome.code() == Some(0) {
            println!("  the run had fewer lines");
            continue;
        }
        recovers(&space, &point, random.coin(), || attempt(&space, &around));
        around.assert_as_before(&point);
    }
}

/// A cold copy: PostgreSQL is ended for the snapshot, and started again.
const COLD: &str = r#"apiVersion: standstill.dev/v1alpha1
kind: Blueprint
metadata: {name: cold}
spec:
  summary: A database that is ended for as long as its volume is snapshotted
  volumes:
    data: {path: /var/lib/postgresql/data}
  actions:
    backup:
      onQuiesceFailure: crash-consistent
      prepare:
        - scale: {workload: statefulset/pg, replicas: 0}
      capture:
        - name: data
          snapshot: {volume: data, mode: atomic}
      store:
        - volume: {from: captures.data, artifact: data, exclude: ["lost+found"]}
"#;

#[test]
fn a_target_that_a_dead_run_has_scaled_away_is_brought_back_and_backed_up_by_the_next_one() {
    let Some(space) = Space::new("cold") else { return };
    space.place.init();
    let _server = Postgres::start(&space);
    let blueprint = space.place.file("cold.yaml", COLD).to_str().unwrap().to_owned();
    let start = |more: &[&str]| {
        let arguments =
            ["backup", &blueprint, "--name=pg", "--output=json", "--set=target.workload=statefulset/pg"];
        space.start(&[&arguments[..], more].concat())
    };
    let replicas = || space.get(&["statefulset/pg"])["spec"]["replicas"].clone();
    let mut killed = start(&HELD);
    await_held(&space, &mut killed);
    assert_eq!(replicas(), 0);
    kill_runner(&space);
    assert_eq!(killed.wait().code(), Some(1));
    eventually(BELIEVED, "the run is known to be dead", || {
        states(&space).iter().all(|(_, state)| state != "running")
    });
    let next = unlocked(|| start(&[]).wait());
    assert_eq!(next.code(), Some(0), "{next}");
    assert_eq!(replicas(), 1);
    space.assert_clean();
}
