//! `--from-here`: the command line itself is the runner, with the rights and the connections of whoever runs it.

use std::{
    ffi::OsString,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    matrix::recovers,
    support::{
        Postgres, Space, eventually,
        kv::{Kv, LEASE},
        mariadb::{MARIADB, Server},
        outage::now,
        place::Started,
        runs::{await_held, kill_points_of},
        sample::Random,
        sqlite::Application,
        writer::assert_whole,
    },
};

/// The second that is promised on top of the lease, and room for a busy machine that runs a whole cluster.
const PROMISED: Duration = Duration::from_secs(LEASE.as_secs() + 1 + 4);
/// The same for PostgreSQL's usual lease.
const PROMISED_USUALLY: Duration = Duration::from_secs(10 + 1 + 4);

const FROM_HERE: &str = "--from-here";

/// Arguments of a backup from here that holds what it holds, for as long as the storage does not answer.
const HELD_FROM_HERE: [&str; 3] =
    [FROM_HERE, "--set=target.snapshotClass=btrfs-hangs", "--set=target.snapshotDeadline=2m"];

/// Asserts that no run was a Job, and that runs left nothing in the directory for temporary files.
#[track_caller]
fn assert_only_here(space: &Space) {
    let jobs = space.get(&["jobs"])["items"].as_array().unwrap().len();
    assert_eq!(jobs, 0, "a Job was made");
    let left: Vec<_> =
        std::fs::read_dir(space.place.tmp()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[track_caller]
fn assert_free(kv: &Kv<'_>) {
    assert_eq!(kv.ask("STATE"), "running");
    eventually(PROMISED, "nothing of a run is left in the container", || kv.processes().is_empty());
}

#[test]
fn an_application_is_paused_and_backed_up_from_here_and_comes_back_whole() {
    for by_session in Random::of("from here").sample(vec![false, true], 1) {
        let Some(space) = Space::new("herekv") else { return };
        space.place.init();
        let kv = Kv::start(&space, by_session);
        let before = kv.acknowledged();
        let outcome = kv.start_backup(&[FROM_HERE], None).wait();
        let after = kv.acknowledged() + 1;
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        assert_eq!(outcome.json()["consistency"], "application", "{outcome}");
        println!("writes waited {}, the run took {:?}", outcome.json()["freeze"], outcome.took);
        assert_free(&kv);
        assert_only_here(&space);
        space.assert_clean();
        let verified = kv.of_newest("verify", &[]);
        assert_eq!(verified.code(), Some(0), "{verified}");
        let restored = kv.of_newest("restore", &["--set=target.claim=restored"]);
        assert_eq!(restored.code(), Some(0), "{restored}");
        assert_whole(&kv.numbers_on("restored"), before, after);
    }
}

#[test]
fn killed_anywhere_a_run_from_here_leaves_the_application_going_and_leaves_nothing() {
    let Some(space) = Space::new("herematrix") else { return };
    space.place.init();
    let mut random = Random::of("from here matrix");
    let kv = Kv::start(&space, random.coin());
    let clean = kv.start_backup(&[FROM_HERE], None).wait();
    assert_eq!(clean.code(), Some(0), "{clean}");
    let points = kill_points_of(&space, clean.json()["run"].as_str().unwrap());
    for point in random.sample(points, 2) {
        println!("{point}");
        let begun = now();
        let outcome = kv.start_backup(&[FROM_HERE], Some(&point)).wait();
        if outcome.code() == Some(0) {
            println!("  the run had fewer lines");
            continue;
        }
        assert!(outcome.was_killed(), "{point}: {outcome}");
        kv.waited_after(now());
        let stalled = kv.longest_stall(begun);
        println!("  writes waited {stalled:?}");
        assert!(stalled < PROMISED, "{point}: writes waited {stalled:?}");
        assert_free(&kv);
        // The next run may be one in a pod.
        let next: &[&str] = if random.coin() { &[FROM_HERE] } else { &[] };
        recovers(&space, &point, random.coin(), || kv.start_backup(next, None).wait());
    }
}

#[track_caller]
fn start_held(space: &Space, kv: &Kv<'_>) -> Started {
    let mut run = kv.start_backup(&HELD_FROM_HERE, None);
    await_held(space, &mut run);
    assert_eq!(kv.ask("STATE"), "paused");
    run
}

#[test]
fn ctrl_c_ends_a_run_from_here_in_good_order() {
    let Some(space) = Space::new("hereinterrupt") else { return };
    space.place.init();
    let kv = Kv::start(&space, true);
    let run = start_held(&space, &kv);
    let interrupted = now();
    run.signal_group(Signal::INT);
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    assert!(outcome.json()["recoveryPoint"].is_null(), "{outcome}");
    let waited = kv.waited_after(interrupted);
    println!("writes went on {waited:?} after the signal");
    assert!(waited < PROMISED, "writes went on only after {waited:?}");
    assert_free(&kv);
    assert_only_here(&space);
    space.assert_clean();
    assert_eq!(space.place.points(), Vec::<String>::new());
}

#[test]
fn a_database_is_reached_from_here_by_a_forwarded_port_and_comes_back_whole() {
    let Some(space) = Space::new("herepg") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let writer = server.writer();
    let before = writer.acknowledged();
    let outcome = server.start_backup("postgresql", &[FROM_HERE]).wait();
    let after = writer.stop() + 1;
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    assert_eq!(outcome.json()["consistency"], "application", "{outcome}");
    // The server learns of it by the API server and the kubelet.
    eventually(PROMISED_USUALLY, "no session is left", || server.held().is_empty());
    assert_only_here(&space);
    space.assert_clean();
    let restored = server.of_newest("restore", &["--set=target.claim=restored"]);
    assert_eq!(restored.code(), Some(0), "{restored}");
    assert_whole(&Postgres::on_claim(&space, "restored").numbers(), before, after);
}

#[test]
fn a_server_whose_writers_wait_is_backed_up_from_here_and_goes_on_when_the_run_is_killed() {
    let Some(space) = Space::new("heremaria") else { return };
    space.place.init();
    let server = Server::start(&space, &MARIADB);
    let backup =
        ["mariadb", "--name=shop", "--set=user=backup", "--set=dataDir=/var/lib/mysql/data", FROM_HERE];
    let (before, after) = server.back_up(&backup);
    server.ok(&["restore", "latest", "--set=target.claim=restored"], &server.target());
    assert_whole(&Server::second(&space, &MARIADB, Some("restored")).numbers(), before, after);

    let writer = server.writer();
    writer.goes_on(PROMISED_USUALLY);
    // The ceiling is far away, so that only its death ends the hold.
    let held = [&["backup"], &backup[..], &HELD_FROM_HERE[1..], &["--set=maxFreeze=120s"]].concat();
    let mut run = server.begin(&held, &server.target());
    await_held(&space, &mut run);
    let killed = Instant::now();
    run.signal_group(Signal::KILL);
    writer.goes_on(PROMISED_USUALLY);
    println!("writes went on {:?} after the run was killed", killed.elapsed());
    assert!(run.wait().was_killed());
    eventually(PROMISED_USUALLY, "the hold has ended", || server.held().is_empty());
    let next = [&["backup"], &backup[..]].concat();
    recovers(&space, "held", true, || server.begin(&next, &server.target()).wait());
}

#[test]
fn killed_anywhere_a_run_from_here_leaves_no_backup_mode_on() {
    let Some(space) = Space::new("herepgmatrix") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let clean = server.start_backup("postgresql", &[FROM_HERE]).wait();
    assert_eq!(clean.code(), Some(0), "{clean}");
    let points = kill_points_of(&space, clean.json()["run"].as_str().unwrap());
    let writer = server.writer();
    writer.slow_down();
    let mut random = Random::of("from here backup mode");
    for point in random.sample(points, 1) {
        println!("{point}");
        let values = server.values();
        let arguments = ["backup", "postgresql", "--name=pg", "--output=json", FROM_HERE, "--values", values];
        let killed = space.start_with(&arguments, &[("STANDSTILL_FAILPOINT", OsString::from(&point))]).wait();
        assert!(killed.was_killed(), "{point}: {killed}");
        eventually(PROMISED_USUALLY, "the hold ends by itself", || server.held().is_empty());
        writer.goes_on(PROMISED_USUALLY);
        let next: &[&str] = if random.coin() { &[FROM_HERE] } else { &[] };
        recovers(&space, &point, random.coin(), || server.start_backup("postgresql", next).wait());
    }
}

/// What `plan` prints for a run from here.
fn printed(server: &Postgres, space: &Space) -> Value {
    let arguments = ["plan", "postgresql", FROM_HERE, "--values", server.values()];
    space.run_plain(&arguments).json()["permissions"].clone()
}

/// Rules as a role has them, without one of them.
fn without(rules: &[Value], number: Option<usize>) -> Vec<Value> {
    let others = rules.iter().enumerate().filter(|(other, _)| Some(*other) != number);
    let rule = |rule: &Value| {
        let mut own =
            json!({"apiGroups": [rule["apiGroup"]], "resources": rule["resources"], "verbs": rule["verbs"]});
        if let Some(names) = rule.get("resourceNames") {
            own["resourceNames"] = names.clone();
        }
        own
    };
    others.map(|(_, printed)| rule(printed)).collect()
}

/// A user of the cluster who may do just what a role says: the kubeconfig.
fn operator(space: &Space, printed: &Value) -> String {
    let name = &space.name;
    let binding = |kind: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"),
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": name}],
        })
    };
    let role = |kind: &str, rules: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
            "rules": without(printed[rules].as_array().unwrap(), None),
        })
    };
    space.kubectl(&["create", "serviceaccount", "operator"]);
    for manifest in
        [role("Role", "namespaced"), binding("Role"), role("ClusterRole", "cluster"), binding("ClusterRole")]
    {
        space.apply(&manifest.to_string());
    }
    let mut token = String::new();
    eventually(Duration::from_secs(30), "the account has a token", || {
        let secrets = space.get(&["secrets"]);
        let own = secrets["items"].as_array().unwrap().iter().find(|secret| {
            secret["metadata"]["annotations"]["kubernetes.io/service-account.name"] == "operator"
        });
        let encoded = own.and_then(|secret| secret["data"]["token"].as_str()).map(str::to_owned);
        let name = own.and_then(|secret| secret["metadata"]["name"].as_str()).map(str::to_owned);
        if let (Some(_), Some(name)) = (encoded, name) {
            token = space.kubectl(&["get", "secret", &name, "--template={{.data.token | base64decode}}"]);
        }
        !token.is_empty()
    });
    let mut config: Value =
        serde_json::from_str(&space.kubectl(&["config", "view", "--raw", "--output=json"])).unwrap();
    config["users"][0]["user"] = json!({"token": token});
    space.place.file("operator.json", &config.to_string()).to_str().unwrap().to_owned()
}

/// The roles that belong to no namespace, removed with this value.
struct OfCluster<'a>(&'a Space);

impl Drop for OfCluster<'_> {
    fn drop(&mut self) {
        let name = &self.0.name;
        for kind in ["clusterrole", "clusterrolebinding"] {
            self.0.try_kubectl(&["delete", kind, name, "--ignore-not-found", "--wait=false"]);
        }
    }
}

#[test]
fn the_rules_that_plan_prints_are_enough_to_run_it_from_here_and_each_is_asked_for_before_anything_is_held() {
    let Some(space) = Space::new("hererights") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let _of_cluster = OfCluster(&space);
    let printed = printed(&server, &space);
    let kubeconfig = operator(&space, &printed);
    let attempt = || {
        let values = server.values();
        let arguments = ["backup", "postgresql", "--name=pg", "--output=json", FROM_HERE, "--values", values];
        space.start_with(&arguments, &[("KUBECONFIG", OsString::from(&kubeconfig))]).wait()
    };
    let whole = attempt();
    assert_eq!(whole.code(), Some(0), "{whole}");
    let rules = printed["namespaced"].as_array().unwrap();
    // The server's pod says whom it runs as: it is not entered to see whose the files are.
    let is_asked = |number: &usize| rules[*number]["resources"][0] != "pods/exec";
    let candidates: Vec<usize> = (0..rules.len()).filter(is_asked).collect();
    assert_eq!(candidates.len(), rules.len() - 1);
    for number in Random::of("from here rights").sample(candidates, 2) {
        let rule = &rules[number];
        let patch = json!({"rules": without(rules, Some(number))}).to_string();
        space.kubectl(&["patch", "role", &space.name, "--type=merge", "--patch", &patch]);
        let outcome = attempt();
        assert_eq!(outcome.code(), Some(2), "{rule}: {outcome}");
        let error = outcome.json()["error"].clone();
        let message = format!("{} {}", error["message"].as_str().unwrap(), error["remedy"].as_str().unwrap());
        println!("{message}");
        let resource = rule["resources"][0].as_str().unwrap();
        assert!(message.contains(resource), "{rule}: {message}");
        assert_eq!(server.held(), Vec::<String>::new());
        space.assert_clean();
    }
}

#[test]
fn what_has_to_be_beside_its_target_is_refused_from_here_before_anything_is_touched() {
    let Some(space) = Space::new("hererefused") else { return };
    space.place.init();
    let application = Application::start(&space);
    let target = ["--set=directory=/data", "--set=file=app.db", "--set=target.workload=pod/app"];
    let outcome =
        space.run(&[&["backup", "sqlite", "--name=app", "--output=json", FROM_HERE], &target[..]].concat());
    outcome
        .claims_nothing(2, &["preflight.ready has to be done beside the target", "Leave out `--from-here`"]);
    let before = application.acknowledged();
    eventually(Duration::from_secs(10), "the application writes", || application.acknowledged() > before + 1);
    assert_only_here(&space);
    space.assert_clean();
    // A database of one's own whose files nobody compares with the volume.
    let elsewhere =
        ["backup", "postgresql", "--name=pg", "--output=json", FROM_HERE, "--set=host=db.example.org"];
    let place = ["--set=dataDir=/data", "--set=target.workload=pod/app"];
    let outcome = space.run(&[&elsewhere[..], &place].concat());
    outcome.claims_nothing(2, &["that of the database at db.example.org", "Leave `host` out"]);
    let local =
        space.place.run(["backup", "sqlite", "--set=directory=/data", "--set=file=app.db", FROM_HERE]);
    local.fails(2, &["`--from-here` is for what runs on Kubernetes"]);
}
