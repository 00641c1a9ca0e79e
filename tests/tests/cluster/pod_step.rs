//! Steps `pod`: commands in pods of their own, of which nothing is left however they or their run end.

use std::{fs, time::Duration};

use crate::{
    bad_input::empty_registry,
    matrix::recovers,
    support::{
        Space, eventually, image,
        outage::kill_runner,
        place::{Outcome, Started},
        runs::{journal, kill_points},
        sample::Random,
        sqlite::Application,
    },
};

/// An image that the node has.
const IMAGE: &str = "standstill.test/databases:1";
/// What the secret parameter of the blueprint is.
const TOKEN: &str = "test-secret-of-a-step";
/// Reads the volume and the secret, and says what it found; the secret itself it does not say.
const LOOK: &str = r#"test -r /data/app.db && ! touch /data/x 2>/dev/null && echo found $GREETING $(printf %s "$TOKEN" | wc -c) by $(id -u)"#;

/// SQLite's blueprint, with a command in a pod before anything is held.
fn blueprint(space: &Space, image: &str, script: &str) -> String {
    let shipped = fs::read_to_string(image::folder().join("../../blueprints/sqlite/blueprint.yaml")).unwrap();
    let secret = "  parameters:\n    token: {type: secret}\n";
    let prepare = format!(
        r#"      prepare:
        - name: look
          timeout: 10m
          pod:
            image: "{image}"
            command: [sh, -c, '{script}']
            env: {{GREETING: "$(TOKEN)", TOKEN: {{parameter: token}}}}
            volumes: [data]
            expect: "result.exitCode == 0 and 'found $(TOKEN) {} by 1000' in result.stdout"
"#,
        TOKEN.len()
    );
    let text = shipped.replacen("  parameters:\n", secret, 1).replacen("      prepare:\n", &prepare, 1);
    assert!(text.contains("name: look") && text.contains("token:"));
    space.place.file("step.yaml", &text).to_str().unwrap().to_owned()
}

fn start(space: &Space, image: &str, script: &str, failpoint: Option<&str>) -> Started {
    let blueprint = blueprint(space, image, script);
    let arguments = ["backup", &blueprint, "--name=app", "--output=json", "--set=token=secret:tokens/token"];
    let target =
        ["--set=directory=/data", "--set=file=app.db", "--set=target.workload=pod/app", "--set=maxFreeze=1m"];
    let failpoint = failpoint.map(|point| ("STANDSTILL_FAILPOINT", point.into()));
    space.start_with(&[&arguments[..], &target].concat(), failpoint.as_slice())
}

fn attempt(space: &Space) -> Outcome {
    start(space, IMAGE, LOOK, None).wait()
}

fn prepared(name: &str) -> Option<Space> {
    let space = Space::new(name)?;
    space.place.init();
    space.apply(&format!(
        r#"{{"apiVersion": "v1", "kind": "Secret", "metadata": {{"name": "tokens"}}, "stringData": {{"token": "{TOKEN}"}}}}"#
    ));
    Some(space)
}

/// Asserts that a run failed before anything was held, with these words, and that nothing of it is left.
#[track_caller]
fn assert_failed(space: &Space, outcome: &Outcome, status: i32, words: &[&str]) {
    assert_eq!(outcome.code(), Some(status), "{outcome}");
    let report = outcome.json();
    let message = report["error"]["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
    assert_eq!(report["holds"].as_array().unwrap().len(), 0, "{outcome}");
    space.assert_clean();
}

#[test]
fn a_command_in_a_pod_of_its_own_reads_the_volume_and_its_secret_and_leaves_nothing() {
    let Some(space) = prepared("podstep") else { return };
    let _application = Application::start(&space);
    // Slow enough to look at the pod while it is there.
    let mut run = start(&space, IMAGE, &format!("sleep 3; {LOOK}"), None);
    let mut seen = String::new();
    while !run.has_ended() {
        let said = space.kubectl(&["get", "pods", "--selector=standstill.dev/role=pod", "--output=json"]);
        seen = if said.contains("secretKeyRef") { said } else { seen };
    }
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    assert!(seen.contains("\"runAsNonRoot\": true") && !seen.contains(TOKEN), "{seen}");
    space.assert_clean();

    let failed = start(&space, IMAGE, "echo it is broken; exit 3", None).wait();
    assert_failed(&space, &failed, 1, &["sh ended with exit status 3", "it is broken"]);
    let registry = empty_registry(&space);
    let gone = start(&space, &format!("{registry}/tool:gone"), LOOK, None).wait();
    assert_failed(&space, &gone, 2, &["tool:gone", "not found"]);
}

#[test]
fn killed_while_its_command_runs_in_a_pod_a_run_leaves_none() {
    let Some(space) = prepared("podkilled") else { return };
    let _application = Application::start(&space);
    for by_command in [true, false] {
        let mut run = start(&space, IMAGE, "sleep 500", None);
        eventually(Duration::from_mins(2), "the command runs", || {
            assert!(!run.has_ended(), "{}", run.stderr());
            let phase = "--output=jsonpath={.items[*].status.phase}";
            space.kubectl(&["get", "pods", "--selector=standstill.dev/role=pod", phase]) == "Running"
        });
        kill_runner(&space);
        assert_eq!(run.wait().code(), Some(1));
        recovers(&space, "while the command runs", by_command, || attempt(&space));
    }
}

#[test]
fn killed_anywhere_in_the_matrix_a_run_with_a_command_in_a_pod_leaves_none() {
    let Some(space) = prepared("podmatrix") else { return };
    let _application = Application::start(&space);
    let whole = attempt(&space);
    assert_eq!(whole.code(), Some(0), "{whole}");
    let lines = journal(&space, whole.json()["run"].as_str().unwrap());
    assert!(lines.iter().any(|event| event["intent"]["step"] == "prepare.look"), "{lines:?}");
    let points = kill_points(0..lines.len());
    let mut random = Random::of("cluster pod step");
    for point in random.sample(points, 2) {
        println!("{point}");
        let outcome = start(&space, IMAGE, LOOK, Some(&point)).wait();
        if outcome.code() == Some(0) {
            println!("  the run had fewer lines");
            continue;
        }
        recovers(&space, &point, random.coin(), || attempt(&space));
    }
}
