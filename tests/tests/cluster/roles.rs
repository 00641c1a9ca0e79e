//! Several pods of one workload, whose databases differ by their role: which of them is backed up, and when none is.

use std::fs;

use serde_json::Value;

use crate::support::{Space, image, place::Outcome, redis::Redis, runs::journal};

/// The least that the blueprint needs, by its README.
const SAVE: &str = "+ping +info +client|setname +client|list +config|get +bgsave";

/// Asserts that a backup was refused before anything was begun, and by what words.
#[track_caller]
fn assert_refused(space: &Space, outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
    assert!(space.place.points().is_empty(), "{outcome}");
}

/// The server that a backup was of, by what its save observed.
#[track_caller]
fn backed_up(outcome: &Outcome) -> String {
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let report = outcome.json();
    let evidence = report["holds"][0]["evidence"].to_string();
    println!("backup: {:?}, {evidence}", outcome.took);
    evidence
}

#[test]
fn of_several_pods_the_one_with_the_role_is_backed_up_and_otherwise_each_is_named() {
    let Some(space) = Space::new("roles") else { return };
    space.place.init();
    let [first, second] = Redis::start_two(&space, SAVE);
    let back_up = |more: &[&str]| first.start_backup("redis", more).wait();

    let unsaid = back_up(&[]);
    assert_refused(&space, &unsaid, &["statefulset/redis", "2 pods that are ready: redis-0, redis-1"]);
    assert!(unsaid.json()["error"]["remedy"].as_str().unwrap().contains("--set role=primary"), "{unsaid}");
    let two = back_up(&["--set=role=primary"]);
    assert_refused(&space, &two, &["2 of them are a primary", "redis-0 is a primary, redis-1 is a primary"]);
    first.follow(Some(&second));
    second.follow(Some(&first));
    let none = back_up(&["--set=role=primary"]);
    assert_refused(
        &space,
        &none,
        &["none of them is a primary", "redis-0 is a replica, redis-1 is a replica"],
    );

    second.follow(None);
    first.await_replicated();
    assert!(backed_up(&back_up(&["--set=role=primary"])).contains(&second.run_id()));
    // Also by the labels that the Service has, and with the address of the Service, which is that of both pods.
    let by_service = ["--set=role=replica", "--set=target.workload=service/redis"];
    assert!(backed_up(&back_up(&by_service)).contains(&first.run_id()));
    let verified = first.of_newest("verify", &[]);
    assert_eq!(verified.json()["outcome"], "passed", "{verified}");
    space.assert_clean();
}

/// Redis' blueprint with a command between the preflight and the save, in the target's own container.
fn with_failover(space: &Space, command: &str) -> String {
    let shipped = fs::read_to_string(image::folder().join("../../blueprints/redis/blueprint.yaml")).unwrap();
    let client = format!("REDISCLI_AUTH=$(cat /run/secrets/redis/password) redis-cli {command}");
    let prepare =
        format!("      prepare:\n        - exec: {{command: [sh, -c, \"{client}\"]}}\n      quiesce:\n");
    let text = shipped.replacen("      quiesce:\n", &prepare, 1);
    assert!(text.contains("prepare:"));
    space.place.file("failover.yaml", &text).to_str().unwrap().to_owned()
}

#[test]
fn a_role_that_changes_between_the_preflight_and_the_quiesce_is_refused_before_anything_is_held() {
    let Some(space) = Space::new("failover") else { return };
    space.place.init();
    let [first, second] = Redis::start_two(&space, SAVE);
    let (here, there) = (first.address(), second.address());
    // The other pod follows nobody any more; and, the other way about, the target follows it.
    let demoted = format!("replicaof {there} 6379");
    let another = format!("-h {there} replicaof no one");
    for (command, now) in
        [(another, "redis-0 is a primary, redis-1 is a primary"), (demoted, "redis-0 is a replica")]
    {
        first.follow(None);
        second.follow(Some(&first));
        second.await_replicated();
        let saves = first.ask("LASTSAVE");
        let outcome = first.start_backup(&with_failover(&space, &command), &["--set=role=primary"]).wait();
        assert_eq!(outcome.code(), Some(1), "{here}: {outcome}");
        let report = outcome.json();
        let message = report["error"]["message"].as_str().unwrap();
        assert!(message.contains("the one primary when the run began") && message.contains(now), "{message}");
        assert_eq!(report["holds"].as_array().unwrap().len(), 0, "{outcome}");
        let run = report["run"].as_str().unwrap();
        let holds = |event: &Value| event["intent"]["undo"].get("hold").is_some();
        assert!(!journal(&space, run).iter().any(holds), "something was held");
        assert_eq!(first.ask("LASTSAVE"), saves);
        assert!(space.place.points().is_empty());
        space.assert_clean();
    }
}
