//! SQLite in a pod: its lock is held by a helper in the runner's pod, on the same volume.

use std::time::Duration;

use serde_json::Value;

use crate::{
    blueprints::in_rounds,
    support::{Space, sqlite::Application, writer::assert_whole},
};

#[track_caller]
fn there_and_back(space: &Space, blueprint: &str) {
    let application = Application::start(space);
    let before = application.acknowledged();
    let outcome = application.start_backup(blueprint, &[]).wait();
    let after = application.acknowledged() + 1;
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    assert_eq!(outcome.json()["consistency"], "application", "{outcome}");
    space.assert_clean();
    let verified = application.of_newest("verify", &[]);
    assert_eq!(verified.code(), Some(0), "{verified}");
    let restored = application.of_newest("restore", &["--set=target.claim=restored"]);
    assert_eq!(restored.code(), Some(0), "{restored}");
    assert_whole(&application.numbers_on("restored"), before, after);
    space.assert_clean();
}

#[test]
fn a_directory_snapshotted_under_its_lock_comes_back_whole() {
    in_rounds("sqlite", |space| there_and_back(space, "sqlite"));
}

#[test]
fn a_database_copied_while_it_is_used_comes_back_whole() {
    in_rounds("online", |space| there_and_back(space, "sqlite-online"));
}

/// When the storage cut the snapshot of a namespace, exactly: snapshots themselves tell it in whole seconds.
fn cut(space: &Space) -> Option<jiff::Timestamp> {
    let contents = space.get(&["volumesnapshotcontents"]);
    let of_this = |content: &&Value| content["spec"]["volumeSnapshotRef"]["namespace"] == space.name.as_str();
    let content = contents["items"].as_array()?.iter().find(of_this)?;
    let nanoseconds = content["status"]["creationTime"].as_i64()?;
    jiff::Timestamp::from_nanosecond(nanoseconds.into()).ok()
}

#[test]
fn writers_go_on_at_the_cut_of_a_slow_snapshot() {
    let Some(space) = Space::new("stall") else { return };
    space.place.init();
    let application = Application::start(&space);
    // Cut after 200 ms, ready after 20 s; the blueprint's ceiling for a freeze is a second.
    let slow = ["--set=target.snapshotClass=btrfs-slow", "--set=maxFreeze=10s"];
    let mut run = application.start_backup("sqlite", &slow);
    let mut cut_at = None;
    while !run.has_ended() {
        cut_at = cut_at.or_else(|| cut(&space));
    }
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    let released: jiff::Timestamp = report["holds"][0]["releasedAt"].as_str().unwrap().parse().unwrap();
    let after = Duration::try_from(released.duration_since(cut_at.expect("the cut was seen"))).unwrap();
    println!("let go {after:?} after the cut; writes waited {}", report["freeze"]);
    assert!(after < Duration::from_secs(1), "let go {after:?} after the cut: {outcome}");
    space.assert_clean();
}
