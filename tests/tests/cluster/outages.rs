//! Parts of the cluster that are away while writes wait: nobody waits for them longer than the lease.
//!
//! These disturb the whole cluster, so each runs alone.

use std::time::Duration;

use crate::{
    matrix,
    support::{
        Space, eventually,
        kv::{Kv, LEASE},
        outage::Outage,
        sqlite::Application,
    },
};

/// The second that is promised on top of the lease, and room for a busy machine that runs a whole cluster.
const PROMISED: Duration = Duration::from_secs(LEASE.as_secs() + 1 + 4);
/// How long the API server is away.
const AWAY: Duration = Duration::from_secs(30);

/// Waits until the cluster takes a pod for ready again, as it does not while its node is silent.
#[track_caller]
fn ready(space: &Space, pod: &str) {
    eventually(Duration::from_mins(2), &format!("{pod} is ready"), || {
        let wait = ["wait", "--for=condition=Ready", "--timeout=20s"];
        let node = space.try_kubectl(&[&wait[..], &["node", "--all"]].concat());
        node.status.success() && space.try_kubectl(&[&wait[..], &[pod]].concat()).status.success()
    });
}

/// SQLite's lock, held by a helper in the runner's pod, while `daemon` is away.
#[track_caller]
fn of_sqlite(name: &str, outage: fn(&str) -> Outage) {
    let Some(space) = Space::new(name) else { return };
    space.place.init();
    let application = Application::start(&space);
    let run = matrix::start_held(&space);
    let outage = outage("kube-apiserver");
    let since = outage.since;
    std::thread::sleep(AWAY);
    drop(outage);
    ready(&space, "pod/app");
    let waited = application.waited_after(since);
    println!("writes went on {waited:?} after the API server was away");
    let outcome = run.wait();
    assert_ne!(outcome.code(), Some(0), "{outcome}");
    assert!(waited < PROMISED, "writes went on only after {waited:?}");
    matrix::recovers(&space, name, false, || matrix::attempt(&space));
    assert_eq!(space.place.points().len(), 1);
}

#[test]
fn a_lock_is_let_go_when_the_api_server_stops() {
    of_sqlite("apistop", Outage::stop);
}

#[test]
fn a_lock_is_let_go_when_the_api_server_does_not_answer() {
    of_sqlite("apifreeze", Outage::freeze);
}

#[track_caller]
fn of_kv(name: &str, by_session: bool, outage: fn(&str) -> Outage) {
    let Some(space) = Space::new(name) else { return };
    space.place.init();
    let kv = Kv::start(&space, by_session);
    let run = kv.start_held();
    let outage = outage("kube-apiserver");
    let since = outage.since;
    std::thread::sleep(AWAY);
    drop(outage);
    ready(&space, "pod/kv");
    let waited = kv.waited_after(since);
    println!("writes went on {waited:?} after the API server was away");
    let outcome = run.wait();
    assert_ne!(outcome.code(), Some(0), "{outcome}");
    assert!(waited < PROMISED, "writes went on only after {waited:?}");
    assert_eq!(kv.ask("STATE"), "running");
    matrix::recovers(&space, name, false, || kv.attempt());
}

#[test]
fn a_pause_by_commands_ends_when_the_api_server_stops() {
    of_kv("kvapistop", false, Outage::stop);
}

#[test]
fn a_pause_by_a_session_ends_when_the_api_server_does_not_answer() {
    of_kv("kvapifreeze", true, Outage::freeze);
}

#[test]
fn a_pause_ends_when_the_kubelet_stops() {
    let Some(space) = Space::new("kvkubelet") else { return };
    space.place.init();
    let kv = Kv::start(&space, false);
    let run = kv.start_held();
    let outage = Outage::stop("kubelet");
    let since = outage.since;
    std::thread::sleep(LEASE * 3);
    drop(outage);
    ready(&space, "pod/kv");
    let waited = kv.waited_after(since);
    println!("writes went on {waited:?} after the kubelet stopped");
    let outcome = run.wait();
    assert_ne!(outcome.code(), Some(0), "{outcome}");
    assert!(waited < PROMISED, "writes went on only after {waited:?}");
    matrix::recovers(&space, "kubelet", false, || kv.attempt());
}

#[test]
fn a_run_ends_with_the_pod_of_its_target() {
    let Some(space) = Space::new("kvgone") else { return };
    space.place.init();
    let kv = Kv::start(&space, true);
    let run = kv.start_held();
    space.kubectl(&["delete", "pod", "kv", "--grace-period=0", "--force"]);
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    assert!(outcome.json()["recoveryPoint"].is_null(), "{outcome}");
    assert_eq!(space.place.points(), Vec::<String>::new());
    space.assert_clean();
}

#[test]
fn a_run_ends_with_its_namespace() {
    let Some(space) = Space::new("kvnamespace") else { return };
    space.place.init();
    let kv = Kv::start(&space, false);
    let run = kv.start_held();
    space.kubectl(&["delete", "namespace", &space.name, "--wait=false"]);
    let outcome = run.wait();
    assert_ne!(outcome.code(), Some(0), "{outcome}");
    assert_eq!(space.place.points(), Vec::<String>::new());
    eventually(Duration::from_mins(4), "nothing of the namespace is left", || {
        !space.try_kubectl(&["get", "namespace", &space.name]).status.success()
    });
}
