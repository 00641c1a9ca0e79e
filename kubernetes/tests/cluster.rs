//! Journals and locks in a real cluster: `STANDSTILL_KUBECONFIG` names its kubeconfig; elsewhere they are skipped.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

use std::{path::PathBuf, time::Duration};

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace},
};
use kube::ResourceExt;
use serde_json::json;
use standstill_core::{
    ErrorKind,
    journal::{Event, JournalStore, RunRequest, RunState},
    lock::TargetLock,
    point::RunId,
};
use standstill_kubernetes::{Cluster, ClusterJournals, ClusterLocks};

const SETTLE: Duration = Duration::from_secs(10);

/// A namespace of a test's own; `None`, and said, where there is no cluster.
async fn space(name: &str) -> Option<Space> {
    let Some(file) = std::env::var_os("STANDSTILL_KUBECONFIG").map(PathBuf::from) else {
        println!("skipped: STANDSTILL_KUBECONFIG is not set");
        return None;
    };
    // As `main` does; a second time changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = format!("{name}-{}", RunId::generate());
    let cluster = Cluster::of_file(&file, &name).await.unwrap();
    let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    cluster.global::<Namespace>().create(&manifest).await.unwrap();
    Some(Space(cluster))
}

struct Space(Cluster);

impl Space {
    async fn remove(self) {
        self.0.global::<Namespace>().delete(self.0.namespace()).await.unwrap();
    }
}

fn started(run: &RunId) -> Event {
    let request: RunRequest = serde_json::from_value(json!({
        "blueprintText": "", "blueprintOrigin": "built-in:sqlite", "action": "backup", "application": "app",
        "parameters": {}, "secrets": {}, "repository": null, "point": null,
    }))
    .unwrap();
    Event::Started { run: run.clone(), request: Box::new(request), standstill: "0.1.0".into() }
}

async fn state(journals: &ClusterJournals, run: &RunId) -> RunState {
    let runs = journals.runs().await.unwrap();
    runs.iter().find(|summary| summary.run == *run).unwrap().state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_says_whether_its_run_lives_and_how_it_ended() {
    let Some(space) = space("journal").await else { return };
    let journals = ClusterJournals::new(&space.0);
    let run = RunId::generate();
    let journal = journals.create(&run).await.unwrap();
    journal.append(&started(&run)).await.unwrap();
    assert_eq!(state(&journals, &run).await, RunState::Running);
    let error = journals.take_over(&run).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);

    drop(journal);
    journals.settle(SETTLE).await;
    assert_eq!(state(&journals, &run).await, RunState::Dead);
    let journal = journals.take_over(&run).await.unwrap();
    journal.append(&Event::Finished { success: false }).await.unwrap();
    let events: Vec<Event> =
        journals.read(&run).await.unwrap().into_iter().map(|entry| entry.event).collect();
    assert_eq!(events, [started(&run), Event::TakenOver, Event::Finished { success: false }]);
    assert_eq!(state(&journals, &run).await, RunState::Failed);
    space.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_journal_was_taken_over_is_fenced_off() {
    let Some(space) = space("fence").await else { return };
    let (early, late) = (ClusterJournals::new(&space.0), ClusterJournals::new(&space.0));
    let run = RunId::generate();
    let writer = early.create(&run).await.unwrap();
    writer.append(&started(&run)).await.unwrap();
    // As if it had not been renewed for long.
    let leases = space.0.objects::<Lease>();
    let lease = leases.list("standstill.dev/role=journal").await.unwrap().remove(0);
    leases.delete(&lease.name_any()).await.unwrap();

    let _new = late.take_over(&run).await.unwrap();
    let error = writer.append(&Event::Cut).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert_eq!(early.read(&run).await.unwrap().len(), 2);
    space.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_labels_by_somebody_else_fences_nobody_off() {
    let Some(space) = space("labels").await else { return };
    let journals = ClusterJournals::new(&space.0);
    let run = RunId::generate();
    let journal = journals.create(&run).await.unwrap();
    journal.append(&started(&run)).await.unwrap();
    let maps = space.0.objects::<ConfigMap>();
    let map = maps.list("standstill.dev/role=journal").await.unwrap().remove(0);
    maps.merge(&map.name_any(), &json!({"metadata": {"labels": {"team": "db"}}})).await.unwrap();
    journal.append(&Event::Cut).await.unwrap();
    assert_eq!(journals.read(&run).await.unwrap().len(), 2);
    space.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_has_the_lock_on_a_target_until_it_lets_go() {
    let Some(space) = space("lock").await else { return };
    let locks = ClusterLocks::new(&space.0);
    let (first, second) = (RunId::generate(), RunId::generate());
    let held = locks.acquire("postgresql/7", &first).await.unwrap();
    assert!(held.is_held().await);
    let error = locks.acquire("postgresql/7", &second).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert_eq!(error.to_string(), format!("run {first} is working on postgresql/7"));
    assert!(locks.acquire("postgresql/8", &second).await.unwrap().is_held().await);
    drop(held);
    locks.settle(SETTLE).await;
    assert!(locks.acquire("postgresql/7", &second).await.unwrap().is_held().await);
    space.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_run_that_died_when_its_end_was_noted_is_removed_by_the_next_run() {
    let Some(space) = space("ended").await else { return };
    let (journals, run) = (ClusterJournals::new(&space.0), RunId::generate());
    let journal = journals.create(&run).await.unwrap();
    journal.append(&started(&run)).await.unwrap();
    journal.append(&Event::Finished { success: true }).await.unwrap();
    drop(journal);
    journals.settle(SETTLE).await;
    // What its process would leave: a lock on a target that nobody else works on, as old as it may get.
    let labels = json!({
        "app.kubernetes.io/managed-by": "standstill", "standstill.dev/role": "lock", "standstill.dev/run": run,
    });
    let lock = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "standstill-lock-7", "labels": labels},
        "spec": {"holderIdentity": run, "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.000000Z"},
    });
    let leases = space.0.objects::<Lease>();
    leases.create(&lock).await.unwrap();
    let held = ClusterLocks::new(&space.0).acquire("postgresql/8", &run).await.unwrap();
    assert_eq!(ClusterJournals::new(&space.0).runs().await.unwrap().len(), 1);
    assert!(leases.find("standstill-lock-7").await.unwrap().is_some(), "whoever only looks removes nothing");
    let next = ClusterJournals::new(&space.0);
    let _journal = next.create(&RunId::generate()).await.unwrap();
    next.runs().await.unwrap();
    let gone = leases.wait("standstill-lock-7", SETTLE, |lock| Ok(lock.is_none().then_some(())));
    assert!(gone.await.unwrap().is_some(), "it stays");
    assert!(held.is_held().await);
    assert_eq!(leases.list("standstill.dev/role=lock").await.unwrap().len(), 1, "the other one is held");
    space.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_removed_is_not_held_any_more() {
    let Some(space) = space("lost").await else { return };
    let held = ClusterLocks::new(&space.0).acquire("postgresql/7", &RunId::generate()).await.unwrap();
    let leases = space.0.objects::<Lease>();
    let lease = leases.list("standstill.dev/role=lock").await.unwrap().remove(0);
    leases.delete(&lease.name_any()).await.unwrap();
    assert!(!held.is_held().await, "it is still said to be held");
    space.remove().await;
}
