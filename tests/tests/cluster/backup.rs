//! PostgreSQL in a pod: backed up under a writer, restored into another claim, verified.

use crate::{
    bad_input::refused,
    blueprints::in_rounds,
    support::{Postgres, Space, audit, place::Outcome, runs::journal, writer::assert_whole},
};

#[track_caller]
fn assert_backed_up(outcome: &Outcome) {
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    assert_eq!(report["consistency"], "application", "{outcome}");
    assert!(report["artifacts"].as_array().is_some_and(|artifacts| artifacts.len() == 2), "{outcome}");
}

/// How the run of a backup captured its volume.
fn captured(space: &Space, outcome: &Outcome) -> String {
    let run = outcome.json()["run"].as_str().unwrap().to_owned();
    let modes = journal(space, &run);
    modes.iter().filter_map(|event| event["done"]["outputs"]["mode"].as_str()).collect()
}

/// Backs up under a writer, verifies, restores into a claim of its own, and starts a server on that.
#[track_caller]
fn there_and_back(space: &Space, blueprint: &str, mode: &str) {
    let server = Postgres::start(space);
    let writer = server.writer();
    let before = writer.acknowledged();
    let outcome = server.start_backup(blueprint, &[]).wait();
    let after = writer.stop() + 1;
    assert_backed_up(&outcome);
    assert_eq!(captured(space, &outcome), mode);
    assert_eq!(server.held(), Vec::<String>::new());
    space.assert_clean();
    let verified = server.of_newest("verify", &[]);
    assert_eq!(verified.json()["outcome"], "passed", "{verified}");

    let restored = server.of_newest("restore", &["--set=target.claim=restored"]);
    assert_eq!(restored.code(), Some(0), "{restored}");
    let copy = Postgres::on_claim(space, "restored");
    assert_whole(&copy.numbers(), before, after);
}

#[test]
fn files_read_live_under_a_writer_come_back_whole() {
    in_rounds("live", |space| {
        let blueprint = space.blueprint("postgresql", "live");
        there_and_back(space, &blueprint, "live");
    });
}

#[test]
fn a_snapshot_under_a_writer_comes_back_whole() {
    in_rounds("atomic", |space| there_and_back(space, "postgresql", "atomic"));
}

#[test]
fn a_recovery_point_is_verified_in_a_pod_beside_nobody() {
    let Some(space) = Space::new("verify") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let writer = server.writer();
    assert_backed_up(&server.backup(&[]));
    drop(writer);
    let verified = server.of_newest("verify", &[]);
    assert_eq!(verified.code(), Some(0), "{verified}");
    assert_eq!(verified.json()["outcome"], "passed", "{verified}");
    space.assert_clean();
}

#[test]
fn scratch_copies_lie_on_a_claim_of_their_own_that_goes_with_their_run() {
    let Some(space) = Space::new("scratch") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    assert_backed_up(&server.backup(&[]));
    let wrong =
        server.of_newest("verify", &["--set=target.scratchSize=1Gi", "--set=target.storageClass=none"]);
    assert_eq!(refused(&wrong, 2).0, "the cluster has no storage class none");
    let verified =
        server.of_newest("verify", &["--set=target.scratchSize=1Gi", "--set=target.storageClass=btrfs"]);
    assert_eq!(verified.code(), Some(0), "{verified}");
    assert_eq!(verified.json()["outcome"], "passed", "{verified}");
    let made = audit::of_launches(&space)
        .into_iter()
        .filter(|request| request.verb == "create" && request.resource == "persistentvolumeclaims");
    assert_eq!(made.count(), 1);
    space.assert_clean();
}
