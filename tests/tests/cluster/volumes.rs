//! Several volumes of one database: cut at one moment, where the storage can do that.

use std::time::Duration;

use serde_json::Value;

use crate::{
    matrix::recovers,
    support::{
        Space, eventually,
        numbers::Numbers,
        outage::now,
        runs::{journal, kill_points},
        sample::{Random, full},
        writer::assert_whole,
    },
};

/// How long writes may wait after a death: the lease, the second that is promised, and room for a busy machine.
const PROMISED: Duration = Duration::from_secs(5 + 1 + 4);
/// The kinds of what snapshots are made of.
const SNAPSHOTS: &str = "volumegroupsnapshots,volumesnapshots";

/// What a run intended to snapshot by: `snapshot` or `inGroup` for each volume.
fn intended(space: &Space, run: &Value) -> Vec<String> {
    let events = journal(space, run.as_str().unwrap());
    let records = events.iter().map(|event| &event["intent"]["undo"]["runtime"]["record"]["kubernetes"]);
    let kinds = records.filter_map(|record| record.as_object()?.keys().next().cloned());
    kinds.filter(|kind| kind == "snapshot" || kind == "inGroup").collect()
}

/// Asserts that no snapshot of anything is in the namespace, soon.
#[track_caller]
fn assert_none(space: &Space) {
    eventually(Duration::from_mins(1), "no snapshot is left", || {
        space.get(&[SNAPSHOTS])["items"].as_array().unwrap().is_empty()
    });
}

#[test]
fn several_volumes_are_cut_at_one_moment_and_let_go_before_their_snapshots_are_ready() {
    let Some(space) = Space::new("volumes") else { return };
    space.place.init();
    let numbers = Numbers::start(&space);
    let before = numbers.log().last().unwrap().0;
    let report = numbers.back_up(&["--set=target.groupSnapshotClass=btrfs-group-slow"]);
    let after = numbers.log().last().unwrap().0;
    assert_eq!(report["consistency"], "application", "{report}");
    assert_eq!(intended(&space, &report["run"]), ["inGroup", "inGroup"]);
    // The class cuts after 200 ms, and is ready after 20 s.
    let freeze = report["freeze"]["milliseconds"].as_u64().unwrap();
    println!("writes waited {freeze} ms");
    assert!(freeze < 10_000, "{report}");
    assert_none(&space);
    space.assert_clean();
    let verified = numbers.of_newest("verify", &[]);
    assert_eq!(verified.code(), Some(0), "{verified}");
    let refused = numbers.of_newest("restore", &["--set=target.claim=restored"]);
    assert_eq!(refused.code(), Some(2), "{refused}");
    assert!(refused.stderr.contains("`--set target.claim.newLog=NAME`"), "{refused}");
    let claims = ["--set=target.claim.newData=new-data", "--set=target.claim.newLog=new-log"];
    let restored = numbers.of_newest("restore", &claims);
    assert_eq!(restored.code(), Some(0), "{restored}");
    let (data, log) = (numbers.numbers_on("new-data"), numbers.numbers_on("new-log"));
    assert_eq!(data, log, "the volumes are of one moment");
    assert_whole(&data, before, after);
}

#[test]
fn storage_that_refuses_a_group_or_never_answers_ends_the_run_in_its_words() {
    let Some(space) = Space::new("volumesfail") else { return };
    space.place.init();
    let numbers = Numbers::start(&space);
    let cases = [
        (
            "btrfs-group-fails",
            "25s",
            "was not taken: rpc error: code = FailedPrecondition desc = the volumes are in different pools",
        ),
        ("btrfs-group-hangs", "5s", "was not cut within 5.0 s: no snapshot controller has taken it up"),
    ];
    for (class, deadline, words) in cases {
        let class = format!("--set=target.groupSnapshotClass={class}");
        let deadline = format!("--set=target.snapshotDeadline={deadline}");
        let outcome = numbers.attempt(&[&class, &deadline, "--set=lease=10s"]);
        assert_eq!(outcome.code(), Some(1), "{outcome}");
        let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("the group snapshot ") && message.contains(words), "{message}");
        let ended = now();
        eventually(PROMISED, "the application goes on", || {
            numbers.log().last().is_some_and(|(_, at)| *at > ended)
        });
        assert_none(&space);
        space.assert_clean();
    }
    assert_eq!(space.place.points(), Vec::<String>::new());
    let outcome = numbers.attempt(&["--set=target.groupSnapshotClass=gone"]);
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("there is no VolumeGroupSnapshotClass gone; there are: btrfs-group"),
        "{message}"
    );
}

#[test]
fn volumes_that_no_labels_tell_from_others_are_snapshotted_one_by_one() {
    let Some(space) = Space::new("volumesone") else { return };
    space.place.init();
    let numbers = Numbers::start(&space);
    let named = numbers.back_up(&["--set=target.snapshotClass=btrfs"]);
    assert_eq!(intended(&space, &named["run"]), ["snapshot", "snapshot"], "a class is named");
    space.apply(
        r#"{"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "other", "labels": {"app": "numbers"}},
            "spec": {"storageClassName": "btrfs", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}"#,
    );
    let outcome = numbers.attempt(&[]);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    assert_eq!(intended(&space, &report["run"]), ["snapshot", "snapshot"]);
    space.kubectl(&["label", "pvc", "numbers-data", "numbers-log", "standstill.dev/group=numbers"]);
    let together = numbers.back_up(&[]);
    assert_eq!(intended(&space, &together["run"]), ["inGroup", "inGroup"], "they have a label of their own");
    assert_none(&space);
    space.assert_clean();
}

#[test]
fn killed_anywhere_a_backup_of_several_volumes_leaves_no_snapshot_of_them() {
    let Some(space) = Space::new("volumesmatrix") else { return };
    space.place.init();
    let numbers = Numbers::start(&space);
    let clean = numbers.back_up(&[]);
    let lines = journal(&space, clean["run"].as_str().unwrap());
    let cut = lines.iter().position(|event| event["done"]["step"] == "capture.data").unwrap();
    // By default around the cut, where something of the group is there.
    let points = kill_points((0..lines.len()).filter(|line| full() || line.abs_diff(cut) < 3));
    let mut random = Random::of("cluster volumes");
    for point in random.sample(points, 1) {
        println!("{point}");
        if numbers.start_backup(&[], Some(&point)).wait().code() == Some(0) {
            println!("  the run had fewer lines");
            continue;
        }
        let died = now();
        eventually(PROMISED, "the application goes on", || {
            numbers.log().last().is_some_and(|(_, at)| *at > died)
        });
        recovers(&space, &point, random.coin(), || numbers.attempt(&[]));
        assert_none(&space);
    }
}
