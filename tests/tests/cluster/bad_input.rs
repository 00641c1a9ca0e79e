//! What cannot work, and how that is said: in one sentence with what to do, at once, and before anything is held.

use std::time::Duration;

use crate::support::{Postgres, Space, eventually, place::Outcome};

/// How long an answer may take that needs no waiting; with room for a slow machine.
const SOON: Duration = Duration::from_secs(45);

/// The error of a command that was refused with a status, and its remedy.
#[track_caller]
pub fn refused(outcome: &Outcome, status: i32) -> (String, String) {
    assert_eq!(outcome.code(), Some(status), "{outcome}");
    let (message, remedy) = if outcome.stdout.is_empty() {
        let said = |prefix: &str| outcome.stderr.lines().find_map(|line| line.strip_prefix(prefix));
        let text = |prefix: &str| said(prefix).unwrap_or_default().to_owned();
        (text("error: "), text("help: "))
    } else {
        let error = outcome.json()["error"].clone();
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        (text("message"), text("remedy"))
    };
    println!("{message}\n  {remedy}");
    assert!(!remedy.is_empty(), "no remedy: {message}");
    assert!(!message.contains('\n'), "one sentence: {message}");
    (message, remedy)
}

/// A backup that never gets as far as a database.
fn backup(space: &Space, more: &[&str]) -> Outcome {
    let fixed =
        ["backup", "postgresql", "--name=pg", "--output=json", "--set=dataDir=/var/lib/postgresql/data"];
    let arguments: Vec<&str> = fixed.iter().chain(more).copied().collect();
    space.run(&arguments)
}

#[test]
fn a_target_that_is_not_there_is_told_with_what_is_there() {
    let Some(space) = Space::new("absent") else { return };
    space.place.init();
    let (message, _) = refused(&backup(&space, &["--set=target.workload=statefulset/gone"]), 2);
    assert_eq!(message, format!("there is no statefulset gone in the namespace {}", space.name));
    for workload in ["deployment/gone", "pod/gone"] {
        let (message, _) = refused(&backup(&space, &[&format!("--set=target.workload={workload}")]), 2);
        assert!(message.contains(&workload.replace('/', " ")), "{message}");
    }
    let (message, _) = refused(&backup(&space, &["--set=target.labels=app=gone"]), 2);
    assert!(message.contains("app=gone"), "{message}");

    let _server = Postgres::start(&space);
    let (_, remedy) = refused(&backup(&space, &["--set=target.workload=statefulset/gone"]), 2);
    assert!(remedy.contains("there is: pg."), "{remedy}");
    let container = ["--set=target.workload=statefulset/pg", "--set=target.container=gone"];
    let (message, remedy) = refused(&backup(&space, &container), 2);
    assert!(message.contains("no container gone"), "{message}");
    assert!(remedy.contains("postgres"), "{remedy}");
    let claim = ["--set=target.workload=statefulset/pg", "--set=dataDir=/elsewhere"];
    let (message, _) = refused(&backup(&space, &claim), 2);
    assert!(message.contains("/elsewhere"), "{message}");
    for (secret, about) in [("gone/key", "no Secret gone"), ("pg/gone", "no key gone")] {
        let secret = format!("--set=password=secret:{secret}");
        let (message, _) = refused(&backup(&space, &["--set=target.workload=statefulset/pg", &secret]), 2);
        assert!(message.contains(about), "{message}");
    }
    space.assert_clean();
}

#[test]
fn a_namespace_that_is_not_there_is_told() {
    let Some(mut space) = Space::new("nospace") else { return };
    space.place.init();
    space.kubectl(&["delete", "namespace", &space.name, "--wait=false"]);
    space.name.push_str("-gone");
    for target in ["--set=target.workload=statefulset/pg", "--set=target.labels=app=pg"] {
        let (message, _) = refused(&backup(&space, &[target]), 2);
        assert_eq!(message, format!("there is no namespace {}", space.name));
    }
}

#[test]
fn a_database_that_is_never_ready_is_told_with_what_it_waits_for() {
    let Some(space) = Space::new("unready") else { return };
    space.place.init();
    space.apply(
        r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "slow"}, "spec": {"containers": [
          {"name": "database", "image": "standstill.test/tools:1", "imagePullPolicy": "Never",
           "command": ["sleep", "1000"], "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}}]}}"#,
    );
    space.apply(
        r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "crashes"}, "spec": {"containers": [
          {"name": "database", "image": "standstill.test/tools:1", "imagePullPolicy": "Never", "command": ["false"]}]}}"#,
    );
    eventually(Duration::from_mins(2), "both have begun", || {
        let reason =
            space.get(&["pod", "crashes"])["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
                .clone();
        reason == "CrashLoopBackOff" && space.get(&["pod", "slow"])["status"]["phase"] == "Running"
    });
    let (message, remedy) = refused(&backup(&space, &["--set=target.workload=pod/slow"]), 2);
    assert!(message.contains("containers with unready status: [database]"), "{message}");
    assert!(remedy.contains("kubectl describe pod"), "{remedy}");
    let (message, _) = refused(&backup(&space, &["--set=target.workload=pod/crashes"]), 2);
    assert!(message.contains("container database: CrashLoopBackOff"), "{message}");
}

/// A registry of the node that has no image.
pub fn empty_registry(space: &Space) -> String {
    let port = 20_000 + std::process::id() % 20_000;
    space.apply(&format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "registry"}}, "spec": {{
          "hostNetwork": true, "terminationGracePeriodSeconds": 0, "containers": [
          {{"name": "registry", "image": "standstill.test/tools:1", "imagePullPolicy": "Never",
           "command": ["httpd", "-f", "-p", "127.0.0.1:{port}", "-h", "/tmp"]}}]}}}}"#
    ));
    space.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "pod/registry"]);
    format!("127.0.0.1:{port}")
}

#[test]
fn an_image_that_cannot_be_pulled_is_given_up_when_that_is_certain() {
    let Some(mut space) = Space::new("noimage") else { return };
    space.place.init();
    drop(Postgres::start(&space));
    let registry = empty_registry(&space);
    space.image = format!("{registry}/standstill:gone");
    let outcome =
        backup(&space, &["--set=target.workload=statefulset/pg", "--set=password=secret:pg/password"]);
    let (message, remedy) = refused(&outcome, 2);
    assert!(message.contains("standstill:gone") && message.contains("not found"), "{message}");
    assert!(remedy.contains("--image"), "{remedy}");
    assert!(outcome.took < SOON, "{:?}", outcome.took);
    space.image = "Not An Image".to_owned();
    let outcome =
        backup(&space, &["--set=target.workload=statefulset/pg", "--set=password=secret:pg/password"]);
    let (message, _) = refused(&outcome, 2);
    assert!(message.contains("InvalidImageName"), "{message}");
    space.assert_clean();
}
