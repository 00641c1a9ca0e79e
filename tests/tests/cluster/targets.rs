//! How a target is found, and a run that nobody follows.

use std::{fmt::Write as _, fs, time::Duration};

use crate::support::{Space, eventually, image, place::Outcome, runs::states, sqlite::Application};

/// The application with SQLite as a Deployment: of its pod nobody knows the name before.
fn deployment() -> String {
    let shipped = fs::read_to_string(image::folder().join("manifests/sqlite-app.yaml")).unwrap();
    let (claim, pod) = shipped.split_once("---\n").unwrap();
    let (_, spec) = pod.split_once("\nspec:\n").unwrap();
    let mut text = format!(
        "{claim}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: shop}}\nspec:\n  selector: \
         {{matchLabels: {{app: shop}}}}\n  strategy: {{type: Recreate}}\n  template:\n    metadata: {{labels: {{app: \
         shop, tier: data}}}}\n    spec:\n"
    );
    for line in spec.lines() {
        writeln!(text, "    {line}").unwrap();
    }
    text
}

/// The one pod of the Deployment that runs.
fn pod(space: &Space) -> String {
    let mut name = String::new();
    eventually(Duration::from_mins(2), "one pod is ready", || {
        let pods = space.get(&["pods", "--selector=app=shop"]);
        let pods = pods["items"].as_array().unwrap();
        let [pod] = &pods[..] else { return false };
        pod["metadata"]["name"].as_str().unwrap().clone_into(&mut name);
        pod["status"]["containerStatuses"][0]["ready"] == true
    });
    name
}

#[track_caller]
fn assert_backed_up(outcome: &Outcome) {
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    assert_eq!(outcome.json()["consistency"], "application", "{outcome}");
}

#[test]
fn a_database_of_a_deployment_is_found_by_its_name_and_by_its_labels() {
    let Some(space) = Space::new("deployment") else { return };
    space.place.init();
    space.apply(&deployment());
    let back_up = |target: &str| {
        let arguments = ["backup", "sqlite", "--name=shop", "--output=json"];
        let values = ["--set=directory=/data", "--set=file=app.db", target];
        space.run(&[&arguments[..], &values].concat())
    };
    let first = pod(&space);
    assert_backed_up(&back_up("--set=target.workload=deployment/shop"));
    // Another pod of it has another name, and the same claim.
    space.kubectl(&["delete", "pod", &first, "--wait"]);
    assert_ne!(pod(&space), first);
    assert_backed_up(&back_up("--set=target.labels=app=shop,tier=data"));
    let nothing = back_up("--set=target.labels=app=shop,tier=web");
    assert_eq!(nothing.code(), Some(2), "{nothing}");
    let message = nothing.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("app=shop,tier=web"), "{message}");
    let verified = space.run(&["verify", "latest", "--set=target.workload=deployment/shop", "--output=json"]);
    assert_eq!(verified.json()["outcome"], "passed", "{verified}");
    space.assert_clean();
}

#[test]
fn a_run_that_nobody_follows_goes_on_by_itself_and_is_tidied_up_after() {
    let Some(space) = Space::new("detached") else { return };
    space.place.init();
    let application = Application::start(&space);
    // Ready only after 20 s, for which nobody waits here.
    let slow = ["--detach", "--set=target.snapshotClass=btrfs-slow", "--set=maxFreeze=10s"];
    let started = application.start_backup("sqlite", &slow).wait();
    assert_eq!(started.code(), Some(0), "{started}");
    let run = started.json()["run"].as_str().unwrap().to_owned();
    assert_eq!(space.place.points(), Vec::<String>::new(), "it is not over yet");
    eventually(Duration::from_mins(1), "the run is in the list of runs", || {
        states(&space) == [(run.clone(), "running".to_owned())]
    });
    eventually(Duration::from_mins(2), "it ends by itself", || {
        states(&space) == [(run.clone(), "succeeded".to_owned())]
    });
    assert_eq!(space.place.points(), [run.as_str()]);
    assert!(!space.of_runs(Some(&run)).is_empty(), "nobody has tidied up yet");
    // Somebody may still ask for its report for a while; then whatever is done next removes what is left of it.
    eventually(Duration::from_mins(1), "what it left is removed", || {
        space.run_plain(&["recover"]);
        space.of_runs(Some(&run)).is_empty()
    });
    space.assert_clean();
}
