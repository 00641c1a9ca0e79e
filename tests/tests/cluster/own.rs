//! An application that no hook knows: its own pause, by commands and by a session in its own container.

use std::time::Duration;

use crate::{
    blueprints::in_rounds,
    matrix::recovers,
    support::{
        Space, eventually,
        kv::{Kv, LEASE},
        outage::{delete_runner, kill_runner, now},
        runs::kill_points_of,
        sample::Random,
        writer::assert_whole,
    },
};

/// The second that is promised on top of the lease, and room for a busy machine that runs a whole cluster.
const PROMISED: Duration = Duration::from_secs(LEASE.as_secs() + 1 + 4);

#[track_caller]
fn assert_free(kv: &Kv<'_>) {
    assert_eq!(kv.ask("STATE"), "running");
    eventually(PROMISED, "nothing of a run is left in the container", || kv.processes().is_empty());
}

#[track_caller]
fn there_and_back(space: &Space, by_session: bool) {
    let kv = Kv::start(space, by_session);
    let before = kv.acknowledged();
    kv.back_up();
    let after = kv.acknowledged() + 1;
    assert_free(&kv);
    space.assert_clean();
    let verified = kv.of_newest("verify", &[]);
    assert_eq!(verified.code(), Some(0), "{verified}");
    let restored = kv.of_newest("restore", &["--set=target.claim=restored"]);
    assert_eq!(restored.code(), Some(0), "{restored}");
    assert_whole(&kv.numbers_on("restored"), before, after);
    space.assert_clean();
}

#[test]
fn an_application_that_is_paused_by_commands_comes_back_whole() {
    in_rounds("kvpair", |space| there_and_back(space, false));
}

#[test]
fn an_application_that_is_paused_by_a_session_comes_back_whole() {
    in_rounds("kvsession", |space| there_and_back(space, true));
}

#[track_caller]
fn killed_anywhere(name: &str, by_session: bool) {
    let Some(space) = Space::new(name) else { return };
    space.place.init();
    let kv = Kv::start(&space, by_session);
    let points = kill_points_of(&space, &kv.back_up());
    let mut random = Random::of(name);
    for point in random.sample(points, 1) {
        println!("{point}");
        let begun = now();
        let outcome = kv.start_backup(&[], Some(&point)).wait();
        if outcome.code() == Some(0) {
            println!("  the run had fewer lines");
            continue;
        }
        kv.waited_after(now());
        let stalled = kv.longest_stall(begun);
        println!("  writes waited {stalled:?}");
        assert!(stalled < PROMISED, "{point}: writes waited {stalled:?}");
        assert_free(&kv);
        recovers(&space, &point, random.coin(), || kv.attempt());
    }
}

#[test]
fn killed_anywhere_a_run_with_commands_leaves_the_application_going_and_leaves_nothing_held() {
    killed_anywhere("kvpairmatrix", false);
}

#[test]
fn killed_anywhere_a_run_with_a_session_leaves_the_application_going_and_leaves_nothing_held() {
    killed_anywhere("kvsessionmatrix", true);
}

#[test]
fn an_application_goes_on_when_the_runners_pod_is_deleted_at_once() {
    for by_session in Random::of("cluster deleted").sample(vec![false, true], 1) {
        let Some(space) = Space::new("kvdeleted") else { return };
        space.place.init();
        let kv = Kv::start(&space, by_session);
        let run = kv.start_held();
        let deleted = now();
        delete_runner(&space);
        let outcome = run.wait();
        assert_eq!(outcome.code(), Some(1), "{outcome}");
        let waited = kv.waited_after(deleted);
        println!("writes went on {waited:?} after the pod was deleted");
        assert!(waited < PROMISED, "writes went on only after {waited:?}");
        assert_free(&kv);
        recovers(&space, "deleted", by_session, || kv.attempt());
    }
}

#[test]
fn an_application_that_restarts_while_it_is_paused_is_not_backed_up() {
    let Some(space) = Space::new("kvrestart") else { return };
    space.place.init();
    let kv = Kv::start(&space, false);
    let run = kv.start_held();
    let quit = now();
    space.try_kubectl(&["exec", "kv", "--container=kv", "--", "/opt/kv/kv", "/data", "QUIT"]);
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    assert!(outcome.json()["recoveryPoint"].is_null(), "{outcome}");
    println!("writes went on {:?} after the end of the application", kv.waited_after(quit));
    assert_free(&kv);
    assert_eq!(space.place.points(), Vec::<String>::new());
    space.assert_clean();
    kv.back_up();
}

#[test]
fn a_run_may_enter_the_pod_of_its_target_and_no_other() {
    let Some(space) = Space::new("kvrights") else { return };
    space.place.init();
    let kv = Kv::start(&space, false);
    let run = kv.start_held();
    let accounts =
        space.kubectl(&["get", "serviceaccounts", "--selector=standstill.dev/run", "--output=name"]);
    let account = accounts.trim().strip_prefix("serviceaccount/").unwrap();
    let account = format!("--as=system:serviceaccount:{}:{account}", space.name);
    let may = |pod: &str| {
        let asked = space.try_kubectl(&["auth", "can-i", "create", pod, "--subresource=exec", &account]);
        String::from_utf8_lossy(&asked.stdout).trim().to_owned()
    };
    assert_eq!((may("pods/kv").as_str(), may("pods/other").as_str()), ("yes", "no"));
    kill_runner(&space);
    assert_eq!(run.wait().code(), Some(1));
    eventually(PROMISED, "the application goes on", || kv.ask("STATE") == "running");
}
