//! Storage that is slow, fails, or never answers.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Postgres, Space, writer::assert_whole};

/// When the hold of backup mode was let go, and when the whole run ended.
fn held_and_took(report: &Value) -> (Duration, Duration) {
    let backup_mode = &report["holds"][0];
    let at = |key: &str| backup_mode[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let held = at("releasedAt").duration_since(at("acquiredAt"));
    let phases = report["phases"].as_array().unwrap();
    let took: u64 = phases.iter().map(|phase| phase["milliseconds"].as_u64().unwrap()).sum();
    (held.try_into().unwrap(), Duration::from_millis(took))
}

#[test]
fn a_hold_is_let_go_at_the_cut_and_not_when_the_snapshot_can_be_used() {
    let Some(space) = Space::new("slow") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let outcome = server.backup(&["--set=target.snapshotClass=btrfs-slow"]);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let (held, took) = held_and_took(&outcome.json());
    // The class cuts after 200 ms, and is ready after 20 s.
    assert!(held < Duration::from_secs(10), "held for {held:?} of {took:?}");
    assert!(took > Duration::from_secs(15), "took {took:?}");
    space.assert_clean();
}

#[test]
fn a_driver_that_refuses_is_quoted_and_nothing_stays_held() {
    let Some(space) = Space::new("fails") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let outcome = server.backup(&["--set=target.snapshotClass=btrfs-fails"]);
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let error = outcome.json()["error"].clone();
    assert_eq!(error["phase"], "capture", "{outcome}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("the pool has no space for another snapshot"), "{message}");
    assert_eq!(server.held(), Vec::<String>::new());
    assert_eq!(space.place.points(), Vec::<String>::new());
    space.assert_clean();
}

#[test]
fn storage_that_never_answers_ends_the_run_at_the_snapshots_own_deadline() {
    let Some(space) = Space::new("hangs") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let hangs = ["--set=target.snapshotClass=btrfs-hangs", "--set=target.snapshotDeadline=5s"];
    let outcome = server.backup(&hangs);
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("was not cut within 5.0 s: no snapshot controller has taken it up"),
        "{message}"
    );
    assert_eq!(server.held(), Vec::<String>::new());
    space.assert_clean();
}

/// A driver whose `creationTime` comes before its cut: only the annotation on its class makes the copy right.
#[test]
fn a_driver_that_cuts_late_is_waited_for_where_its_class_says_so() {
    let Some(space) = Space::new("late") else { return };
    space.place.init();
    space.apply(&format!(
        r#"{{"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
            "metadata": {{"name": "{}", "annotations": {{"standstill.dev/capture": "filesystem", "standstill.dev/cut": "ready"}}}},
            "driver": "btrfs.standstill.test", "deletionPolicy": "Delete",
            "parameters": {{"cutAt": "ready", "readyAfter": "4s"}}}}"#,
        space.name
    ));
    let server = Postgres::start(&space);
    let writer = server.writer();
    let (before, started) = (writer.acknowledged(), Instant::now());
    let outcome = server.backup(&[&format!("--set=target.snapshotClass={}", space.name)]);
    let after = writer.stop() + 1;
    space.kubectl(&["delete", "volumesnapshotclass", &space.name]);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let (held, _) = held_and_took(&outcome.json());
    assert!(held > Duration::from_secs(4), "held for {held:?}, {:?} after the start", started.elapsed());
    let restored = server.of_newest("restore", &["--set=target.claim=restored"]);
    assert_eq!(restored.code(), Some(0), "{restored}");
    assert_whole(&Postgres::on_claim(&space, "restored").numbers(), before, after);
}
