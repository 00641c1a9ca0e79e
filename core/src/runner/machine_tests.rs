//! The machine, played against every outcome: whatever happens, it ends, and nothing stays held.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    ErrorKind,
    journal::{Failure, RunRequest},
    point::{Evidence, RunId},
};

/// What the transfer of the step that stores needs.
const TRANSFER: &str = "store[0]/transfer";

fn step(id: &str, phase: Phase, hold: bool, snapshot: bool) -> StepOutline {
    StepOutline { id: id.into(), phase, hold, snapshot, puts_back: false }
}

/// A step that changes something around the target; one that is called so is kept by a run that succeeds.
fn change(id: &str, phase: Phase) -> StepOutline {
    StepOutline { puts_back: true, ..step(id, phase, false, false) }
}

fn backup() -> Outline {
    let steps = vec![
        step("preflight[0]", Phase::Preflight, false, false),
        change("prepare.down", Phase::Prepare),
        change("prepare.kept", Phase::Prepare),
        change("prepare.paused", Phase::Prepare),
        step("quiesce.a", Phase::Quiesce, true, false),
        step("quiesce.b", Phase::Quiesce, true, false),
        step("capture.later", Phase::Capture, false, false),
        step("capture.x", Phase::Capture, false, true),
        step("capture.y", Phase::Capture, false, true),
        step("recover[0]", Phase::Recover, false, false),
        step("store[0]", Phase::Store, false, false),
        change("store.marked", Phase::Store),
        step("cleanup[0]", Phase::Cleanup, false, false),
    ];
    Outline { steps, commits: true }
}

fn failure() -> Failure {
    Failure { kind: ErrorKind::Failed, message: "it failed".into(), remedy: None }
}

fn intent(step: &str, keep: bool) -> Event {
    let undo = Undo::Runtime { record: Value::Null, secrets: BTreeMap::new() };
    Event::Intent { step: step.into(), undo, keep }
}

fn done(step: &str) -> Event {
    Event::Done {
        step: step.into(),
        outputs: BTreeMap::new(),
        facts: Vec::new(),
        checks: Vec::new(),
        artifacts: Vec::new(),
    }
}

fn released(step: &str) -> Event {
    Event::Released {
        step: step.into(),
        evidence: Some(Evidence::of("seen", true)),
        outputs: BTreeMap::new(),
        facts: Vec::new(),
    }
}

fn still_held(step: &str) -> Event {
    Event::StillHeld { step: step.into(), error: failure() }
}

fn failed(step: &str) -> Event {
    Event::Failed { step: step.into(), error: failure() }
}

/// The attempts of a transfer by another process; each says whether what it needed is gone.
fn moved(attempts: &[bool]) -> Vec<Event> {
    let attempt = |gone: &bool| {
        let disposed = gone.then(|| Event::Disposed { step: TRANSFER.into() });
        std::iter::once(intent(TRANSFER, false)).chain(disposed)
    };
    attempts.iter().flat_map(attempt).collect()
}

fn started(run: &RunId) -> Event {
    let request = RunRequest {
        blueprint_text: String::new(),
        blueprint_origin: String::new(),
        action: "backup".into(),
        application: "app".into(),
        parameters: serde_json::Map::new(),
        secrets: BTreeMap::new(),
        repository: None,
        point: None,
        member: None,
        members: Vec::new(),
    };
    Event::Started { run: run.clone(), request: Box::new(request), standstill: "0".into() }
}

/// Performs what is next; `fails` says whether the n-th thing that can fail does.
fn play(outline: &Outline, mut events: Vec<Event>, mut fails: impl FnMut(usize) -> bool) -> Vec<Event> {
    let mut turn = 0;
    for _ in 0..200 {
        turn += 1;
        let bad = fails(turn);
        let more = match next(outline, &events) {
            Next::Done | Next::Leave => return events,
            Next::Target if bad => vec![intent("run.scratch", false), failed("target")],
            Next::Target => vec![
                intent("run.scratch", false),
                intent("capture.x", false),
                intent("capture.y", false),
                intent("run.artifacts", true),
                Event::Target { member: None, identity: None, version: None, role: None },
            ],
            Next::Perform(ids) => {
                let hold = |id: &str| outline.is_hold(id);
                let all = ids.iter().flat_map(|id| {
                    let changes = outline.step(id).is_some_and(|step| step.puts_back);
                    let first = (hold(id) || changes).then(|| intent(id, id.ends_with("kept")));
                    let moved = if *id == "store[0]" { moved(&[true, !bad]) } else { Vec::new() };
                    first.into_iter().chain(moved).chain([if bad { failed(id) } else { done(id) }])
                });
                all.collect()
            }
            Next::Cut => vec![Event::Cut],
            Next::Confirm(id) if bad => vec![failed(id)],
            Next::Confirm(id) => {
                vec![Event::Confirmed { step: id.into(), evidence: Evidence::of("seen", true) }]
            }
            Next::Release(ids) => {
                let outcome = |(index, id): (usize, &&str)| {
                    if bad && index == 0 { still_held(id) } else { released(id) }
                };
                ids.iter().enumerate().map(outcome).collect()
            }
            Next::PutBack { steps, .. } => {
                let back = |step: &&str| Event::Disposed { step: (*step).into() };
                let outcome = |(index, step): (usize, &&str)| {
                    if bad && index == 0 { still_held(step) } else { back(step) }
                };
                steps.iter().enumerate().map(outcome).collect()
            }
            Next::Commit if bad => vec![Event::Committing, failed("commit")],
            Next::Commit => vec![Event::Committing, Event::Committed { point: RunId::generate() }],
            Next::Settle => vec![failed("commit")],
            Next::Dispose(id) if bad => vec![Event::LeftBehind { step: id.into(), error: failure() }],
            Next::Dispose(id) => vec![Event::Disposed { step: id.into() }],
            Next::Finish { success } => vec![Event::Finished { success }],
        };
        events.extend(more);
    }
    panic!("the machine does not end: {events:#?}");
}

/// Performs what is next, until it is this.
fn play_until(outline: &Outline, events: &[Event], is_this: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let all = play(outline, events.to_vec(), |_| false);
    let length = (events.len()..=all.len()).find(|length| is_this(&all[..*length]));
    all[..length.expect("it never is")].to_vec()
}

/// What must be true of every run that has ended. One that was left is finished by whoever takes it over.
fn assert_nothing_is_left(outline: &Outline, events: &[Event]) {
    let mut events = events.to_vec();
    if next(outline, &events) == Next::Leave {
        events.push(Event::TakenOver);
        events = play(outline, events, |_| false);
    }
    assert!(matches!(events.last(), Some(Event::Finished { .. })), "not finished: {events:#?}");
    let events = &events;
    let mut open: HashSet<&str> = HashSet::new();
    let mut kept: HashSet<&str> = HashSet::new();
    for event in events {
        match event {
            Event::Intent { step, keep, .. } => {
                open.insert(step);
                if *keep {
                    kept.insert(step);
                }
            }
            Event::Released { step, .. } | Event::Disposed { step } | Event::LeftBehind { step, .. } => {
                open.remove(step.as_str());
            }
            _ => {}
        }
    }
    let success = matches!(events.last(), Some(Event::Finished { success: true }));
    open.retain(|step| !(success && kept.contains(step)));
    assert!(open.is_empty(), "left: {open:?} in {events:#?}");
    let committed = events.iter().any(|event| matches!(event, Event::Committed { .. }));
    assert_eq!(success, committed || !outline.commits, "success and commit disagree in {events:#?}");
}

#[test]
fn a_clean_run_goes_through_its_phases_in_order_and_releases_in_reverse() {
    let events = play(&backup(), Vec::new(), |_| false);
    let order: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Done { step, .. } => Some(step.clone()),
            Event::Cut => Some("cut".into()),
            Event::Confirmed { step, .. } => Some(format!("confirm {step}")),
            Event::Released { step, .. } => Some(format!("release {step}")),
            Event::Committed { .. } => Some("commit".into()),
            Event::Disposed { step } => Some(format!("dispose {step}")),
            _ => None,
        })
        .collect();
    assert_eq!(
        order,
        [
            "preflight[0]",
            "prepare.down",
            "prepare.kept",
            "prepare.paused",
            "quiesce.a",
            "quiesce.b",
            "capture.x",
            "capture.y",
            "capture.later",
            "cut",
            "confirm quiesce.a",
            "confirm quiesce.b",
            "release quiesce.b",
            "release quiesce.a",
            "dispose prepare.paused",
            "dispose prepare.down",
            "recover[0]",
            "dispose store[0]/transfer",
            "dispose store[0]/transfer",
            "store[0]",
            "store.marked",
            "commit",
            "cleanup[0]",
            "dispose store.marked",
            "dispose capture.y",
            "dispose capture.x",
            "dispose run.scratch",
        ]
    );
}

#[test]
fn a_run_that_dies_at_any_event_is_finished_by_whoever_takes_it_over() {
    let clean = play(&backup(), vec![started(&RunId::generate())], |_| false);
    for length in 1..clean.len() {
        let mut events = clean[..length].to_vec();
        let committed = events.iter().any(|event| matches!(event, Event::Committed { .. }));
        events.push(Event::TakenOver);
        let events = play(&backup(), events, |_| false);
        assert_nothing_is_left(&backup(), &events);
        let after = events.iter().skip(length).any(|event| matches!(event, Event::Committing));
        assert!(!after, "a run that was taken over commits nothing new");
        assert_eq!(committed, matches!(events.last(), Some(Event::Finished { success: true })));
    }
}

#[test]
fn what_was_changed_is_put_back_as_soon_as_everything_is_let_go_and_only_then() {
    let outline = backup();
    let clean = play(&outline, vec![started(&RunId::generate())], |_| false);
    let at = |wanted: &dyn Fn(&Event) -> bool| clean.iter().position(wanted).unwrap();
    let changed = at(&|event| matches!(event, Event::Done { step, .. } if step == "prepare.down"));
    let held = at(&|event| matches!(event, Event::Done { step, .. } if step == "quiesce.b"));
    let mut events = clean[..=changed].to_vec();
    events.push(failed("prepare.paused"));
    let steps = vec!["prepare.down"];
    assert_eq!(next(&outline, &events), Next::PutBack { steps, wait: false });
    let mut events = clean[..=held].to_vec();
    events.push(Event::TakenOver);
    let holds = vec!["quiesce.b", "quiesce.a"];
    assert_eq!(
        next(&outline, &events),
        Next::Release(holds),
        "holds are let go first, none waits for another"
    );
    let restore = Outline {
        commits: false,
        steps: vec![change("steps[0]", Phase::Steps), step("steps[1]", Phase::Steps, false, false)],
    };
    let mut events = vec![Event::Target { member: None, identity: None, version: None, role: None }];
    events.extend([intent("steps[0]", false), done("steps[0]")]);
    assert_eq!(next(&restore, &events), Next::Perform(vec!["steps[1]"]), "a restore goes on with it changed");
    events.push(done("steps[1]"));
    assert_eq!(next(&restore, &events), Next::PutBack { steps: vec!["steps[0]"], wait: false });
}

#[test]
fn what_is_still_held_is_tried_again_by_whoever_takes_the_journal_over() {
    let outline = backup();
    let clean = play(&outline, vec![started(&RunId::generate())], |_| false);
    let held =
        clean.iter().position(|event| matches!(event, Event::Done { step, .. } if step == "quiesce.b"));
    let mut events = clean[..=held.unwrap()].to_vec();
    events.push(failed("capture.x"));
    for step in ["quiesce.b", "prepare.down"] {
        let stuck = |events: &[Event]| match next(&outline, events) {
            Next::Release(steps) | Next::PutBack { steps, .. } => steps.contains(&step),
            _ => false,
        };
        let mut dead = play_until(&outline, &events, stuck);
        dead.push(still_held(step));
        let mut dead = play(&outline, dead, |_| false);
        assert_eq!(next(&outline, &dead), Next::Leave, "it does not count as finished");
        dead.push(Event::TakenOver);
        assert!(stuck(&dead), "{step}: {:?}", next(&outline, &dead));
        let recovered = play(&outline, dead, |_| false);
        assert!(matches!(recovered.last(), Some(Event::Finished { success: false })));
    }
}

#[test]
fn what_a_commit_that_nobody_saw_may_have_committed_stays_until_somebody_sees() {
    let outline = backup();
    let clean = play(&outline, vec![started(&RunId::generate())], |_| false);
    let committing = clean.iter().position(|event| matches!(event, Event::Committing)).unwrap();
    for dies in [true, false] {
        let mut events = clean[..=committing].to_vec();
        if dies {
            events.push(Event::TakenOver);
            assert_eq!(next(&outline, &events), Next::Settle);
        }
        events.push(Event::CommitUnseen { error: failure() });
        let mut events = play(&outline, events, |_| false);
        assert_eq!(next(&outline, &events), Next::Leave);
        let is_kept = |event: &Event| matches!(event, Event::Disposed { step } if step == "run.artifacts" || step.ends_with("kept"));
        assert!(!events.iter().any(is_kept), "{events:#?}");
        events.push(Event::TakenOver);
        assert_eq!(next(&outline, &events), Next::Settle);
        events.push(Event::Committed { point: RunId::generate() });
        let events = play(&outline, events, |_| false);
        assert!(!events.iter().any(is_kept), "{events:#?}");
        assert!(matches!(events.last(), Some(Event::Finished { success: true })));
    }
}

#[test]
fn a_failed_acquire_is_undone_too() {
    let mut events = vec![Event::Target { member: None, identity: None, version: None, role: None }];
    events.extend([done("preflight[0]"), intent("quiesce.a", false), failed("quiesce.a")]);
    assert_eq!(next(&backup(), &events), Next::Release(vec!["quiesce.a"]));
}

#[test]
fn a_run_that_was_fenced_off_only_lets_go() {
    let outline = backup();
    let clean = play(&outline, vec![started(&RunId::generate())], |_| false);
    let fenced = Failure { kind: ErrorKind::Fenced, ..failure() };
    for length in 1..clean.len() {
        let mut events = clean[..length].to_vec();
        events.push(Event::Stopped { error: fenced.clone() });
        let events = play(&outline, events, |_| false);
        let more: Vec<&Event> = events.iter().skip(length + 1).collect();
        assert!(more.iter().all(|event| matches!(event, Event::Released { .. })), "{more:#?}");
        assert_eq!(next(&outline, &events), Next::Leave);
        let on = |step: &str| {
            let intended =
                events.iter().any(|event| matches!(event, Event::Intent { step: of, .. } if of == step));
            intended
                && !events.iter().any(|event| matches!(event, Event::Released { step: of, .. } if of == step))
        };
        assert!(!on("quiesce.a") && !on("quiesce.b"), "after {length} events");
    }
}

#[test]
fn what_was_restored_stays_also_where_something_around_it_could_not_be_put_back() {
    let restore = Outline {
        commits: false,
        steps: vec![change("steps[0]", Phase::Steps), step("steps[1]", Phase::Steps, false, false)],
    };
    let mut events = vec![started(&RunId::generate()), intent("volumes.new", true)];
    events.push(Event::Target { member: None, identity: None, version: None, role: None });
    let put_back = |events: &[Event]| matches!(next(&restore, events), Next::PutBack { .. });
    let mut events = play_until(&restore, &events, put_back);
    events.push(still_held("steps[0]"));
    assert_eq!(next(&restore, &events), Next::Leave);
    events.push(Event::TakenOver);
    assert!(put_back(&events), "it is tried again");
    let events = play(&restore, events, |_| false);
    assert!(matches!(events.last(), Some(Event::Finished { success: true })));
    let removed = |event: &Event| matches!(event, Event::Disposed { step } if step == "volumes.new");
    assert!(!events.iter().any(removed), "{events:#?}");
}

#[test]
fn a_failed_cleanup_does_not_undo_a_commit() {
    let outline = backup();
    let events = play(&outline, Vec::new(), |_| false);
    let cleanup =
        events.iter().position(|event| matches!(event, Event::Done { step, .. } if step == "cleanup[0]"));
    let mut events = events[..cleanup.unwrap()].to_vec();
    events.push(failed("cleanup[0]"));
    let events = play(&outline, events, |_| false);
    assert!(matches!(events.last(), Some(Event::Finished { success: true })));
}

proptest! {
    #[test]
    fn whatever_fails_the_machine_ends_and_nothing_stays_held(bad in proptest::collection::hash_set(1_usize..40, 0..6)) {
        let events = play(&backup(), Vec::new(), |turn| bad.contains(&turn));
        assert_nothing_is_left(&backup(), &events);
    }

    #[test]
    fn what_is_made_again_after_it_was_removed_is_removed_again(
        attempts in proptest::collection::vec(any::<bool>(), 1..5),
        dies in any::<bool>(),
    ) {
        let clean = play(&backup(), vec![started(&RunId::generate())], |_| false);
        let stores = clean.iter().position(|event| matches!(event, Event::Intent { step, .. } if step == TRANSFER));
        let mut events = clean[..stores.unwrap()].to_vec();
        events.extend(moved(&attempts));
        events.push(if dies { Event::TakenOver } else { failed("store[0]") });
        let before = events.len();
        let events = play(&backup(), events, |_| false);
        assert_nothing_is_left(&backup(), &events);
        let removed = events[before..]
            .iter()
            .filter(|event| matches!(event, Event::Disposed { step } if step == TRANSFER));
        // Once if the last attempt left it, and not at all otherwise.
        prop_assert_eq!(removed.count(), usize::from(attempts.last() == Some(&false)));
    }

    #[test]
    fn a_second_death_during_the_recovery_is_recovered_too(first in 1_usize..30, second in 1_usize..10) {
        let clean = play(&backup(), vec![started(&RunId::generate())], |_| false);
        let mut events = clean[..first.min(clean.len() - 1)].to_vec();
        events.push(Event::TakenOver);
        let recovery = play(&backup(), events.clone(), |_| false);
        let mut events = recovery[..(events.len() + second).min(recovery.len() - 1)].to_vec();
        events.push(Event::TakenOver);
        let events = play(&backup(), events, |_| false);
        assert_nothing_is_left(&backup(), &events);
    }
}
