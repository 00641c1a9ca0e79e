//! Groups in pods: several databases, each in a pod of its own, in one run.

use std::time::Duration;

use serde_json::Value;

use crate::{
    blueprints::in_rounds,
    matrix::recovers,
    support::{
        Space, eventually,
        group::Group,
        outage::kill_runner,
        runs::{HELD, await_held},
        sample::Random,
    },
};

/// The lease of the group, the second that is promised on top of it, and room for a busy machine.
const PROMISED: Duration = Duration::from_secs(5 + 1 + 4);

#[test]
fn a_group_of_two_pods_under_a_writer_comes_back_whole() {
    in_rounds("group", |space| {
        let group = Group::start(space);
        let writer = group.writer();
        let before = writer.acknowledged();
        let backup = group.start_backup(&[]).wait();
        let after = writer.stop() + 1;
        assert_eq!(backup.code(), Some(0), "{backup}");
        let report = backup.json();
        assert_eq!(report["consistency"], "application", "{backup}");
        println!("backup: {:?}, writes waited {}", backup.took, report["freeze"]);
        let holds: Vec<&Value> =
            report["holds"].as_array().unwrap().iter().map(|hold| &hold["step"]).collect();
        assert_eq!(holds, ["orders/backupMode", "index/stage"]);
        assert_eq!(group.held(), Vec::<String>::new());
        space.assert_clean();
        let verified = group.of_newest("verify", &["--values", group.values()]);
        assert_eq!(verified.json()["outcome"], "passed", "{verified}");
        group.of_newest(
            "restore",
            &[
                "--values",
                group.values(),
                "--set=target.orders.claim=restored-orders",
                "--set=target.index.claim=restored-index",
            ],
        );
        group.assert_whole("restored-orders", "restored-index", before, after);
        space.assert_clean();
        let alone = ["--member=index", "--set=target.workload=statefulset/maria"];
        let verified = group.of_newest("verify", &alone);
        assert_eq!(verified.json()["outcome"], "passed", "{verified}");
    });
}

#[test]
fn every_member_of_a_group_goes_on_when_the_runners_pod_is_killed() {
    let Some(space) = Space::new("groupkilled") else { return };
    space.place.init();
    let group = Group::start(&space);
    let writer = group.writer();
    let mut run = group.start_backup(&HELD);
    await_held(&space, &mut run);
    assert!(!group.held().is_empty());
    kill_runner(&space);
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    println!("writes went on after {:?}", writer.goes_on(PROMISED));
    eventually(PROMISED, "nothing is held of either member", || group.held().is_empty());
    let mut random = Random::of("cluster group");
    let alone = random.coin();
    // A run of one member finds the others by the dead run's own orders, but has not their passwords: the command has.
    let by_command = alone || random.coin();
    println!("the next run: {}", if alone { "of one member alone" } else { "of the group" });
    let next = || if alone { group.start_backup_of_index() } else { group.start_backup(&[]) };
    recovers(&space, "killed", by_command, || next().wait());
    writer.stop();
}
