use std::slice;

use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::ResourceExt;
use serde_json::{Value, json};
use standstill_core::{
    ErrorKind,
    journal::{Entry, Event, RunState, Undo},
    point::{Outputs, RunId},
};

use super::{
    KEPT_RUNS, ended,
    entries::{By, entries, key, line, summary},
    surplus,
    writer::{Known, Outcome},
};
use crate::names;

fn started(run: &RunId) -> Value {
    json!({"at": "2026-01-02T03:04:05Z", "event": {"started": {"run": run, "standstill": "0.1.0", "request": {
        "blueprintText": "", "blueprintOrigin": "built-in:sqlite", "action": "backup", "application": "app",
        "parameters": {}, "secrets": {}, "repository": null, "point": null,
    }}}})
}

fn journal(version: &str, lines: &[String]) -> ConfigMap {
    let data: serde_json::Map<String, Value> =
        lines.iter().enumerate().map(|(index, line)| (key(index), line.clone().into())).collect();
    serde_json::from_value(json!({"metadata": {"name": "j", "resourceVersion": version}, "data": data}))
        .unwrap()
}

fn entry(event: Event) -> String {
    line(&Entry { at: jiff::Timestamp::now(), event }, 0, By::Run).unwrap()
}

#[test]
fn entries_come_back_in_order_beyond_the_tenth() {
    let run = RunId::generate();
    let mut lines = vec![started(&run).to_string()];
    lines.extend((0..12).map(|index| entry(Event::Disposed { step: format!("s{index}") })));
    let read = entries(&journal("1", &lines)).unwrap();
    assert_eq!(read.len(), 13);
    assert_eq!(read[12].event, Event::Disposed { step: "s11".into() });
}

#[test]
fn a_run_is_dead_when_it_did_not_finish_and_nobody_renews_its_lease() {
    let run = RunId::generate();
    let mut lines = vec![started(&run).to_string(), entry(Event::Cut)];
    let state = |lines: &[String], alive| summary(&journal("1", lines), alive).unwrap().state;
    assert_eq!(state(&lines, true), RunState::Running);
    assert_eq!(state(&lines, false), RunState::Dead);
    lines.push(entry(Event::Finished { success: true }));
    assert_eq!(state(&lines, false), RunState::Succeeded);
    assert_eq!(summary(&journal("1", &lines), false).unwrap().run, run);
}

#[test]
fn leases_that_are_over_go_unless_their_run_is_to_be_recovered() {
    let now = jiff::Timestamp::now();
    let lease = |run: &RunId, role: &str, age: i64| -> Lease {
        let renewed = now - jiff::SignedDuration::from_secs(age);
        serde_json::from_value(json!({
            "metadata": {"name": role, "labels": names::labels(run, role)},
            "spec": {"holderIdentity": run, "leaseDurationSeconds": 15, "renewTime": renewed.to_string()},
        }))
        .unwrap()
    };
    let journal_of = |run: &RunId, lines: &[String]| {
        let mut map = journal("1", lines);
        map.metadata.labels = Some(names::labels(run, names::JOURNAL));
        map
    };
    let (finished, dead) = (RunId::generate(), RunId::generate());
    let maps = [
        journal_of(&finished, &[started(&finished).to_string(), entry(Event::Finished { success: true })]),
        journal_of(&dead, &[started(&dead).to_string(), entry(Event::Cut)]),
    ];
    let leases = [
        lease(&finished, names::JOURNAL, 60),
        lease(&finished, names::LOCK, 60),
        lease(&finished, names::LOCK, 1),
        lease(&dead, names::JOURNAL, 60),
        lease(&dead, names::LOCK, 60),
        // A run that has not yet noted anything, and one that died before it could.
        lease(&RunId::generate(), names::JOURNAL, 1),
        lease(&RunId::generate(), names::JOURNAL, 60),
    ];
    let gone: Vec<&Lease> = ended(&maps, &leases, now).collect();
    // The third one is waited for: it ends by itself.
    assert_eq!(gone, [&leases[0], &leases[1], &leases[2], &leases[6]]);
}

#[test]
fn a_journal_without_its_first_entry_is_no_run() {
    assert!(summary(&journal("1", &[]), true).is_none());
}

#[test]
fn an_append_whose_answer_was_lost_finds_its_own_write() {
    let cut = entry(Event::Cut);
    let known = Known::of(&journal("7", slice::from_ref(&cut)));
    let mine = entry(Event::Committing);
    let before = journal("7", slice::from_ref(&cut));
    assert_eq!(known.compare(&before, slice::from_ref(&mine)), Outcome::NotWritten(Known::of(&before)));
    let after = journal("8", &[cut, mine.clone()]);
    assert_eq!(known.compare(&after, slice::from_ref(&mine)), Outcome::Written(Known::of(&after)));
}

#[test]
fn whoever_finds_an_entry_of_somebody_else_is_fenced_off() {
    let known = Known::of(&journal("7", &[entry(Event::Cut)]));
    let mine = entry(Event::Committing);
    let taken = journal("8", &[entry(Event::Cut), entry(Event::TakenOver)]);
    assert_eq!(known.compare(&taken, slice::from_ref(&mine)), Outcome::Fenced);
    let taken = journal("9", &[entry(Event::Cut), mine.clone(), entry(Event::TakenOver)]);
    assert_eq!(known.compare(&taken, slice::from_ref(&mine)), Outcome::Fenced);
    assert_eq!(known.compare(&journal("10", &[]), slice::from_ref(&mine)), Outcome::Fenced);
}

#[test]
fn entries_that_were_written_together_are_recognised_only_together() {
    let known = Known::of(&journal("7", &[entry(Event::Cut)]));
    let mine = [entry(Event::Committing), entry(Event::TakenOver)];
    let after = journal("8", &[entry(Event::Cut), mine[0].clone(), mine[1].clone()]);
    assert_eq!(known.compare(&after, &mine), Outcome::Written(Known::of(&after)));
    let half = journal("8", &[entry(Event::Cut), mine[0].clone()]);
    assert_eq!(known.compare(&half, &mine), Outcome::Fenced, "a request writes all of them or none");
}

/// What is written of an event in a journal that takes this much already.
fn written(event: &Event, taken: usize, by: By) -> standstill_core::Result<String> {
    line(&Entry { at: jiff::Timestamp::now(), event: event.clone() }, taken, by)
}

#[test]
fn an_entry_without_room_is_refused_before_it_is_sent() {
    let big = Event::Disposed { step: "x".repeat(1010 * 1024) };
    for by in [By::Run, By::Recovery] {
        let error = written(&big, 0, by).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains("its ConfigMap has room for"));
    }
}

#[test]
fn a_run_leaves_room_in_its_journal_for_its_end_and_for_whoever_takes_it_over() {
    let released =
        Event::Released { step: "lock".into(), evidence: None, outputs: Outputs::new(), facts: Vec::new() };
    let intent = Event::Intent { step: "data".into(), undo: Undo::Strays, keep: false };
    let full = 700 * 1024;
    for on_the_way in [&released, &intent] {
        assert!(written(on_the_way, full - 1024, By::Run).is_ok());
        assert!(written(on_the_way, full, By::Run).is_err());
        assert!(written(on_the_way, full, By::Recovery).is_ok());
    }
    for end in [Event::Finished { success: false }, Event::Disposed { step: "data".into() }] {
        assert!(written(&end, full, By::Run).is_ok());
    }
    assert!(
        written(&Event::TakenOver, full + 200 * 1024, By::Recovery).is_ok(),
        "one that an older version filled"
    );
}

#[test]
fn only_old_journals_of_finished_runs_and_those_without_any_entry_are_removed() {
    let named = |name: String, lines: &[String]| {
        let mut map = journal("1", lines);
        map.metadata.name = Some(name);
        map
    };
    let finished = |number: usize| {
        let lines = [started(&RunId::generate()).to_string(), entry(Event::Finished { success: true })];
        named(format!("finished-{number:02}"), &lines)
    };
    let mut maps = vec![
        named("dead".into(), &[started(&RunId::generate()).to_string(), entry(Event::Cut)]),
        named("newer".into(), &[json!({"at": "2026-01-02T03:04:05Z", "event": {"begun": {}}}).to_string()]),
        named("empty".into(), &[]),
    ];
    maps.extend((0..=KEPT_RUNS).map(finished));
    let removed = |alive: bool| -> Vec<String> {
        surplus(&maps, |_| alive).into_iter().map(ResourceExt::name_any).collect()
    };
    assert_eq!(removed(false), ["finished-00", "empty"]);
    assert_eq!(removed(true), ["finished-00"], "a run that has only just begun has no entry yet");
}
