//! Groups: one moment of several databases, or none at all.

use std::fs;

use serde_json::Value;

use crate::support::{
    Subject, eventually, group::TEXT, kind::Kind, place::Outcome, postgresql::Version, subject::shipped,
    writer::Writer,
};

fn group() -> Option<Subject> {
    Subject::new(&Kind::Group(Version::first()?))
}

/// Replaces the group's text, for one of its tests.
fn rewrite(subject: &Subject, text: &str) {
    fs::write(&subject.blueprint, text).unwrap();
}

/// The index's blueprint with something in it replaced; the group then uses it.
fn change_index(subject: &Subject, from: &str, to: &str) {
    let text = shipped("sqlite");
    assert!(text.contains(from), "{from} is not in the blueprint");
    subject.place.file("index.yaml", &text.replacen(from, to, 1));
    rewrite(subject, &TEXT.replace("blueprint: sqlite", "blueprint: index.yaml"));
}

/// A run that failed: said why and of whom, nothing is listed, nothing is left, both members take writes.
#[track_caller]
fn failed_without_a_trace(subject: &Subject, writer: &Writer, outcome: &Outcome, status: i32, says: &str) {
    assert_eq!(outcome.code(), Some(status), "{outcome}");
    let report = outcome.json();
    assert!(report["recoveryPoint"].is_null(), "{outcome}");
    let error = &report["error"];
    let said = format!("{} {} {}", error["phase"], error["step"], error["message"]);
    assert!(said.contains(says), "`{says}` is not in `{said}`: {outcome}");
    assert!(error["remedy"].is_string(), "{outcome}");
    assert_eq!(subject.place.points(), Vec::<String>::new());
    writer.goes_on(std::time::Duration::from_secs(5));
    subject.assert_clean();
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn the_evidence_of_a_group_shows_its_order_and_each_member_keeps_its_own() {
    let Some(subject) = group() else { return };
    let point = subject.backup_ok();
    let shown = subject.place.ok(["show", &point, "--output=json"]).json()["point"].clone();
    let holds = shown["holds"].as_array().unwrap();
    let steps: Vec<&str> = holds.iter().map(|hold| text(hold, "step")).collect();
    assert_eq!(steps, ["orders/backupMode", "index/writeLock"]);
    assert!(text(&holds[0], "acquiredAt") < text(&holds[1], "acquiredAt"), "{shown}");
    assert!(text(&holds[1], "acquiredAt") < text(&shown, "cutAt"), "{shown}");
    assert!(text(&shown, "cutAt") < text(&holds[1], "releasedAt"), "{shown}");
    assert!(text(&holds[1], "releasedAt") < text(&holds[0], "releasedAt"), "{shown}");
    assert!(holds.iter().all(|hold| hold["evidence"].is_object()), "{shown}");
    let artifacts: Vec<&str> =
        shown["artifacts"].as_array().unwrap().iter().map(|artifact| text(artifact, "name")).collect();
    assert_eq!(artifacts, ["orders/data", "orders/wal", "index/data"]);
    let members = shown["members"].as_array().unwrap();
    assert_eq!(
        members.iter().map(|member| text(member, "blueprint")).collect::<Vec<_>>(),
        ["postgresql", "sqlite"]
    );
    assert!(text(&members[0], "identity").starts_with("postgresql:"), "{shown}");
    let journal = subject.place.journal(&point);
    let targets: Vec<&str> =
        journal.iter().filter(|(event, _)| event == "target").map(|(_, held)| text(held, "member")).collect();
    assert_eq!(targets, ["orders", "index"]);
}

#[test]
fn a_group_and_one_member_of_it_are_restored_and_verified() {
    let Some(subject) = group() else { return };
    let point = subject.backup_ok();
    let listed = || subject.place.ok(["list", "--output=json"]).json()[0].clone();
    let one = subject.place.ok(["verify", &point, "--member=index", "--output=json"]).json();
    let checks = one["checks"].as_array().unwrap();
    assert!(
        !checks.is_empty() && checks.iter().all(|check| text(check, "name").starts_with("index/")),
        "{one}"
    );
    assert!(listed()["verification"].is_null(), "one member says nothing about the other");
    subject.verify_ok(&point);
    assert_eq!(listed()["verification"]["outcome"], "passed");
    let alone = subject.place.join("alone");
    let directory = format!("--set=directory={}", alone.display());
    subject.place.ok(["restore", &point, "--member=index", &directory]);
    assert!(alone.join("app.db").exists());
    subject
        .place
        .run(["restore", &point, "--member=shard"])
        .fails(2, &["no member `shard`", "orders, index"]);
    let restored = subject.restore(&point, "both");
    subject.read(&restored);
    subject.assert_clean();
}

#[test]
fn a_member_that_is_not_ready_keeps_every_other_from_being_held() {
    let Some(subject) = group() else { return };
    let subject = subject.with("index.file=missing.db");
    let writer = subject.database().writer();
    let outcome = subject.backup();
    failed_without_a_trace(&subject, &writer, &outcome, 2, "index");
    let journal = subject.place.journal(&subject.place.newest_run());
    assert!(
        journal.iter().all(|(_, held)| held["undo"].get("hold").is_none()),
        "something was held: {journal:?}"
    );
}

#[test]
fn a_member_that_cannot_be_held_lets_every_other_go() {
    let Some(subject) = group() else { return };
    let writer = subject.database().writer();
    change_index(
        &subject,
        "quiesce:\n",
        "quiesce:\n        - pair: {blocksWrites: true, acquire: [\"false\"], release: [\"true\"]}\n",
    );
    let outcome = subject.backup();
    failed_without_a_trace(&subject, &writer, &outcome, 1, "index/quiesce[0]");
    let journal = subject.place.journal(&subject.place.newest_run());
    let released = journal
        .iter()
        .any(|(event, held)| event == "released" && held["step"] == "orders/quiesce.backupMode");
    assert!(released, "PostgreSQL was held and not let go: {journal:?}");
}

#[test]
fn a_member_that_cannot_be_captured_lets_every_other_go() {
    let Some(subject) = group() else { return };
    let writer = subject.database().writer();
    change_index(&subject, "capture:\n", "capture:\n        - exec: {command: [\"false\"]}\n");
    let outcome = subject.backup();
    failed_without_a_trace(&subject, &writer, &outcome, 1, "index/capture[0]");
}

#[test]
fn the_ceiling_of_a_group_counts_over_all_its_members() {
    let Some(subject) = group() else { return };
    let writer = subject.database().writer();
    change_index(&subject, "capture:\n", "capture:\n        - exec: {command: [sleep, \"60\"]}\n");
    let with_ceiling =
        fs::read_to_string(&subject.blueprint).unwrap().replace("  members:", "  maxFreeze: 2s\n  members:");
    rewrite(&subject, &with_ceiling);
    let since = std::time::Instant::now();
    let outcome = subject.backup();
    failed_without_a_trace(&subject, &writer, &outcome, 1, "maxFreeze was reached");
    assert_eq!(outcome.json()["freeze"]["maximumMilliseconds"], 2000, "{outcome}");
    assert!(writer.longest_stall(since) < std::time::Duration::from_secs(6));
}

#[test]
fn a_run_on_one_member_recovers_a_group_that_died_and_is_locked_out_by_one_that_lives() {
    let Some(subject) = group() else { return };
    let subject = subject.with("index.maxFreeze=100s");
    let writer = subject.database().writer();
    change_index(&subject, "capture:\n", "capture:\n        - exec: {command: [sleep, \"90\"]}\n");
    let alone = |name: &str| {
        let values = subject.values();
        let own = values.iter().filter_map(|value| value.strip_prefix("index."));
        let mut arguments: Vec<String> = vec!["backup".into(), "sqlite".into(), "--output=json".into()];
        arguments.push(format!("--name={name}"));
        arguments.extend(own.map(|value| format!("--set={value}")));
        subject.place.run(arguments)
    };
    let runner = subject.place.start(subject.backup_arguments());
    let cut_off = || {
        let run = subject.place.run_ids().pop();
        run.is_some_and(|run| {
            subject
                .place
                .journal(&run)
                .iter()
                .any(|(_, held)| held["step"] == "orders/capture.data" && held.get("outputs").is_some())
        })
    };
    eventually(std::time::Duration::from_mins(1), "both members are held", cut_off);
    let group = subject.place.newest_run();
    let second = alone("second");
    assert_eq!(second.code(), Some(1), "{second}");
    assert!(text(&second.json()["error"], "message").contains("is working on"), "{second}");
    runner.signal(rustix::process::Signal::KILL);
    runner.wait();
    let third = alone("third");
    assert_eq!(third.code(), Some(0), "{third}");
    assert_eq!(
        subject.place.journal(&group).pop().unwrap().0,
        "finished",
        "the group's run was not finished"
    );
    writer.goes_on(std::time::Duration::from_secs(5));
    subject.assert_clean();
}

#[test]
fn mistakes_of_a_group_are_told_before_anything_is_touched() {
    let Some(subject) = group() else { return };
    let blueprint = subject.blueprint.as_str();
    let path = subject.place.join("disk/index").display().to_string();
    let twice = format!(
        "apiVersion: standstill.dev/v1alpha1\nkind: Group\nmetadata: {{name: shop}}\nspec:\n  summary: one database twice\n  members:\n    - {{name: a, blueprint: sqlite, parameters: {{directory: {path}, file: app.db}}}}\n    - {{name: b, blueprint: sqlite, parameters: {{directory: {path}, file: app.db}}}}\n"
    );
    let twice = subject.place.file("twice.yaml", &twice);
    subject
        .place
        .run(["backup", twice.to_str().unwrap()])
        .fails(2, &["the member b", "the member a works on the same database"]);
    subject.place.ok(["lint", blueprint]);
    rewrite(&subject, &TEXT.replace("name: index, blueprint: sqlite", "name: orders, blueprint: sqlight"));
    subject.place.run(["lint", blueprint]).fails(2, &[]);
    subject.place.run(["backup", blueprint]).fails(2, &["the group", "already a member `orders`"]);
    rewrite(&subject, TEXT);
    subject
        .place
        .run(["backup", blueprint, "--set=shard.file=x"])
        .fails(2, &["no parameter of a member", "orders, index"]);
    subject.place.run(["backup", blueprint]).fails(2, &["the member orders", "--set orders.dataDir="]);
    subject
        .place
        .run(["backup", blueprint, "--set=orders.dataDr=x"])
        .fails(2, &["the member orders", "no parameter `dataDr`"]);
    assert_eq!(subject.place.points(), Vec::<String>::new());
    subject.assert_clean();
}
