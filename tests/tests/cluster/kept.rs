//! Snapshots that are kept as the artifact: they outlive their run, are restored, and go with their recovery point.

use std::{fs, time::Duration};

use serde_json::Value;

use crate::support::{
    Space, eventually, image,
    place::Outcome,
    runs::{BELIEVED, journal, kill_points, states, unlocked},
    sample::{Random, full},
    sqlite::Application,
    writer::assert_whole,
};

/// SQLite's blueprint, with its snapshot kept: a file.
fn blueprint(space: &Space) -> String {
    let shipped = fs::read_to_string(image::folder().join("../../blueprints/sqlite/blueprint.yaml")).unwrap();
    let kept = shipped.replacen(r#"exclude: ["*-shm"]}"#, r#"exclude: ["*-shm"], keep: snapshot}"#, 1);
    assert_ne!(shipped, kept);
    space.place.file("kept.yaml", &kept).to_str().unwrap().to_owned()
}

/// The names of the snapshots that are there.
fn snapshots(space: &Space) -> Vec<String> {
    let found = space.get(&["volumesnapshots"]);
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    found["items"].as_array().unwrap().iter().map(name).collect()
}

fn attempt(application: &Application<'_>, blueprint: &str) -> Outcome {
    application.start_backup(blueprint, &["--set=lease=3s"]).wait()
}

#[test]
fn a_snapshot_that_is_kept_is_restored_verified_and_forgotten_with_its_recovery_point() {
    let Some(space) = Space::new("kept") else { return };
    space.place.init();
    let application = Application::start(&space);
    let blueprint = blueprint(&space);
    let before = application.acknowledged();
    let outcome = attempt(&application, &blueprint);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let after = application.acknowledged() + 1;
    let report = outcome.json();
    assert_eq!(report["consistency"], "application", "{outcome}");
    let artifact = &report["artifacts"][0];
    assert_eq!(
        (&artifact["kind"], &artifact["name"]),
        (&Value::from("snapshot"), &Value::from("data")),
        "{outcome}"
    );
    assert_eq!((artifact["bytes"].as_u64(), &artifact["blake3"]), (Some(0), &Value::Null), "{outcome}");
    let called = artifact["kept"]["called"].as_str().unwrap().to_owned();
    let [snapshot] = &snapshots(&space)[..] else { panic!("{:?}", snapshots(&space)) };
    assert!(called.contains(snapshot.as_str()) && called.contains(&space.name), "{called}");
    // What goes with a run has gone by then.
    eventually(Duration::from_mins(1), "the run is gone", || {
        space.get(&["serviceaccounts", "--selector=standstill.dev/run"])["items"]
            .as_array()
            .unwrap()
            .is_empty()
    });

    let verified = application.of_newest("verify", &[]);
    assert_eq!(verified.code(), Some(0), "{verified}");
    let restored = application.of_newest("restore", &["--set=target.claim=restored"]);
    assert_eq!(restored.code(), Some(0), "{restored}");
    assert_whole(&application.numbers_on("restored"), before, after);
    let shown = space.place.ok(["show", "latest"]);
    assert!(
        shown.stdout.contains(&called) && shown.stdout.contains("its data is in no repository"),
        "{shown}"
    );
    assert_eq!(snapshots(&space), std::slice::from_ref(snapshot));

    let run = report["run"].as_str().unwrap();
    space.place.run(["forget", run]).fails(2, &[&called, "Add `--on kubernetes`"]);
    assert_eq!(space.place.points(), [run]);
    space.run_plain(&["forget", run]);
    assert_eq!((space.place.points(), snapshots(&space)), (Vec::new(), Vec::new()));
}

#[test]
fn a_recovery_point_whose_snapshot_is_gone_says_so() {
    let Some(space) = Space::new("keptgone") else { return };
    space.place.init();
    let application = Application::start(&space);
    let outcome = attempt(&application, &blueprint(&space));
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    space.kubectl(&["delete", "volumesnapshots", "--all"]);
    let restored = application.of_newest("restore", &["--set=target.claim=restored"]);
    restored.fails(2, &["is gone, and what it held with it"]);
    let run = outcome.json()["run"].as_str().unwrap().to_owned();
    space.run_plain(&["forget", &run]);
    assert_eq!(space.place.points(), Vec::<String>::new());
}

#[test]
fn killed_anywhere_in_the_matrix_a_run_keeps_a_snapshot_if_and_only_if_its_point_is_listed() {
    let Some(space) = Space::new("keptmatrix") else { return };
    space.place.init();
    let application = Application::start(&space);
    let blueprint = blueprint(&space);
    let outcome = attempt(&application, &blueprint);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let lines = journal(&space, outcome.json()["run"].as_str().unwrap());
    let stored = lines.iter().position(|event| event["done"]["step"] == "store[0]").unwrap();
    let first = if full() { 0 } else { stored };
    let points = kill_points(first..lines.len());
    let mut random = Random::of("cluster kept");
    for point in random.sample(points, 1) {
        println!("{point}");
        let run = application.start_backup_with(&blueprint, &["--set=lease=3s"], &point);
        if run.wait().code() == Some(0) {
            println!("  the run had fewer lines");
            continue;
        }
        eventually(BELIEVED, "the run is known to be dead", || {
            states(&space).iter().all(|(_, state)| state != "running")
        });
        space.run_plain(&["recover"]);
        let next = unlocked(|| attempt(&application, &blueprint));
        assert_eq!(next.code(), Some(0), "{point}: {next}");
        let (mut kept, points) = (snapshots(&space), space.place.points());
        kept.retain(|name| !points.iter().any(|point| name.ends_with(point.as_str())));
        assert_eq!(kept, Vec::<String>::new(), "{point}: of no recovery point");
        assert_eq!(snapshots(&space).len(), points.len(), "{point}");
    }
}
