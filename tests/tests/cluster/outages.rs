//! Parts of the cluster that are away while writes wait: nobody waits for them longer than the lease.
//!
//! These disturb the whole cluster, so each runs alone.

use std::time::Duration;

use serde_json::Value;

use crate::{
    matrix,
    support::{
        Space, eventually,
        kv::{Kv, LEASE},
        outage::Outage,
        place::Started,
        sample::Random,
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

/// What keeps writes waiting.
#[derive(Debug, Clone, Copy)]
enum Held {
    /// SQLite's lock, held by a helper in the runner's pod.
    Lock,
    /// A pause by commands in the application's own container.
    Commands,
    /// A pause by a session there.
    Session,
}

/// How the API server is away.
#[derive(Debug, Clone, Copy)]
enum Away {
    /// Connections break.
    Stopped,
    /// Connections stay, and nobody answers.
    Silent,
}

/// Has the API server be away for a while; since when.
fn without_api_server(away: Away) -> f64 {
    let outage = match away {
        Away::Stopped => Outage::stop("kube-apiserver"),
        Away::Silent => Outage::freeze("kube-apiserver"),
    };
    std::thread::sleep(AWAY);
    outage.since
}

fn of_sqlite(away: Away) {
    let Some(space) = Space::new("apisqlite") else { return };
    space.place.init();
    let application = Application::start(&space);
    let run = matrix::start_held(&space);
    let since = without_api_server(away);
    ready(&space, "pod/app");
    is_let_go(run, application.waited_after(since));
    matrix::recovers(&space, "away", false, || matrix::attempt(&space));
    assert_eq!(space.place.points().len(), 1);
}

fn of_kv(by_session: bool, away: Away) {
    let Some(space) = Space::new("apikv") else { return };
    space.place.init();
    let kv = Kv::start(&space, by_session);
    let run = kv.start_held();
    let since = without_api_server(away);
    ready(&space, "pod/kv");
    is_let_go(run, kv.waited_after(since));
    assert_eq!(kv.ask("STATE"), "running");
    matrix::recovers(&space, "away", false, || kv.attempt());
}

/// The backup has failed, and writes waited for as long as is promised at most.
#[track_caller]
fn is_let_go(run: Started, waited: Duration) {
    println!("writes went on after {waited:?}");
    let outcome = run.wait();
    assert_ne!(outcome.code(), Some(0), "{outcome}");
    assert!(waited < PROMISED, "writes went on only after {waited:?}");
}

#[test]
fn nothing_keeps_writes_waiting_while_the_api_server_is_away() {
    let cases = [Held::Lock, Held::Commands, Held::Session]
        .into_iter()
        .flat_map(|held| [Away::Stopped, Away::Silent].map(|away| (held, away)));
    for (held, away) in Random::of("cluster outages").sample(cases.collect(), 1) {
        println!("{held:?}, {away:?}");
        match held {
            Held::Lock => of_sqlite(away),
            Held::Commands => of_kv(false, away),
            Held::Session => of_kv(true, away),
        }
    }
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
    is_let_go(run, kv.waited_after(since));
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
    // What the run had of no namespace goes with the next run anywhere.
    let Some(other) = Space::new("kvother") else { return };
    other.place.init();
    Kv::start(&other, false).back_up();
    let of_it = format!("--selector=standstill.dev/namespace={}", space.name);
    let bindings = other.get(&["clusterrolebindings", &of_it]);
    assert_eq!(bindings["items"].as_array().unwrap().len(), 0, "{bindings}");
    let contents = other.get(&["volumesnapshotcontents"]);
    let of_it = |content: &&Value| content["spec"]["volumeSnapshotRef"]["namespace"] == space.name.as_str();
    let left: Vec<&Value> = contents["items"].as_array().unwrap().iter().filter(of_it).collect();
    assert!(left.is_empty(), "{left:?}");
}
