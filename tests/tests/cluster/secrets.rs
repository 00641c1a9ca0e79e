//! Secrets are in Secrets, and nowhere else: not in other objects, events, logs and command lines of the node.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{
    Postgres, Space,
    place::{Outcome, PASSWORD, Started},
    postgresql,
    watch::Watch,
};

/// Every kind of object that a run makes, or that tells of one.
const KINDS: &str = "pods,jobs,configmaps,events,persistentvolumeclaims,volumesnapshots,leases,roles,rolebindings,\
                     serviceaccounts,volumesnapshotcontents";
/// The S3 server of the tests is told its key on its command line.
const STRANGERS: [&str; 1] = ["s3s-fs"];

/// A step that is given a secret, at the end of the preparations.
const WITH_SECRET: &str = r#"        - exec: {command: [sh, -c, 'test -n "$SECRET"'], env: {SECRET: {parameter: password}}}
      quiesce:
"#;

/// What is secret in a space: the repository's password, the database's, and the object store's key.
fn secrets(space: &Space) -> Vec<String> {
    let text = fs::read_to_string(space.state.join("s3.env")).unwrap();
    let key = text.lines().find_map(|line| line.strip_prefix("AWS_SECRET_ACCESS_KEY=")).unwrap();
    vec![PASSWORD.clone(), postgresql::PASSWORD.to_owned(), key.to_owned()]
}

/// Looks at all objects until the run has ended, and at what it said.
#[track_caller]
fn seen_nowhere(space: &Space, secrets: &[String], mut run: Started) -> Outcome {
    let encoded: Vec<String> = secrets.iter().map(|secret| STANDARD.encode(secret)).collect();
    let said_by_nobody = |what: &str, text: &str| {
        let found = secrets.iter().chain(&encoded).find(|secret| text.contains(secret.as_str()));
        assert!(found.is_none(), "a secret is in {what}");
    };
    let plain: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let watch = Watch::of_command_lines(&plain, STRANGERS);
    let (mut movers, mut logs_read) = (0, 0);
    loop {
        let ended = run.has_ended();
        let said = space.kubectl(&["get", KINDS, "--output=json"]);
        movers += said.matches("\"standstill.dev/role\": \"mover\"").count();
        said_by_nobody("an object", &said);
        logs(space, &mut |file, text| {
            logs_read += 1;
            said_by_nobody(&format!("the log {}", file.display()), text);
        });
        if ended {
            break;
        }
    }
    watch.found_nothing();
    let outcome = run.wait();
    assert!(movers > 0 && logs_read > 0, "no mover or no log was seen");
    for daemon in ["kubelet", "containerd", "kube-controller-manager"] {
        let log = fs::read(space.state.join(format!("logs/{daemon}.log"))).unwrap();
        said_by_nobody(&format!("the log of {daemon}"), &String::from_utf8_lossy(&log));
    }
    said_by_nobody("the output", &outcome.stdout);
    said_by_nobody("the messages", &outcome.stderr);
    outcome
}

/// Reads the logs of all pods of the space that are there now, as their node keeps them.
fn logs(space: &Space, each: &mut dyn FnMut(&Path, &str)) {
    let pods = fs::read_dir(space.node_logs().join("pods")).unwrap();
    let prefix = format!("{}_", space.name);
    for pod in pods.flatten().filter(|pod| pod.file_name().to_string_lossy().starts_with(&prefix)) {
        for container in fs::read_dir(pod.path()).into_iter().flatten().flatten() {
            for file in fs::read_dir(container.path()).into_iter().flatten().flatten() {
                let text = fs::read(file.path()).unwrap_or_default();
                each(&file.path(), &String::from_utf8_lossy(&text));
            }
        }
    }
}

#[test]
fn no_secret_is_in_any_object_but_a_secret_nor_in_any_log_or_command_line() {
    let Some(space) = Space::new("secrets") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let secrets = secrets(&space);
    let shipped = space.blueprint("postgresql", "auto");
    let text = fs::read_to_string(&shipped).unwrap().replacen("      quiesce:\n", WITH_SECRET, 1);
    assert!(text.contains("SECRET"));
    fs::write(&shipped, text).unwrap();
    // Slow enough to look at the mover while it is there.
    let run = server.start_backup(&shipped, &["--set=target.snapshotClass=btrfs-slow"]);
    let outcome = seen_nowhere(&space, &secrets, run);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let run = server.start_backup("postgresql", &["--from-here", "--set=target.snapshotClass=btrfs-slow"]);
    let outcome = seen_nowhere(&space, &secrets, run);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
}
