//! What to do next: a pure function of the steps and of what has happened so far.
//!
//! ```text
//!  going:    Target → preflight → prepare → quiesce → capture → Cut → Confirm… → Release… → recover → store → Commit
//!  stopping:                                          Release… → (Settle) → recover
//!  both:                                                          → cleanup → Dispose… → Finish
//!  after Release… in both: PutBack, of what was changed around the target
//! ```
//!
//! A run that goes on releases one hold after the other, in reverse; one that stops releases all of them at once: none
//! waits for another, as when the run dies.
//!
//! Where something is still held at the end, or nobody could see whether the commit was reached, the end is Leave. So is
//! that of a run that was fenced off: whoever took its journal over does the rest, and it only lets go.
//!
//! A run that died is finished by the same function: whoever takes its journal over appends
//! [`Event::TakenOver`], which makes it a stopping run.

use std::collections::HashSet;

use crate::{
    ErrorKind,
    journal::{Event, Undo},
    language::Phase,
};

/// The steps of a plan, as far as the order of things depends on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The steps, in order within each phase.
    pub steps: Vec<StepOutline>,
    /// Whether the action ends with the commit of a recovery point.
    pub commits: bool,
}

/// One step, as far as the order of things depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutline {
    /// Its id, unique in the plan.
    pub id: String,
    /// Its phase.
    pub phase: Phase,
    /// Whether it acquires a hold.
    pub hold: bool,
    /// Whether it is a snapshot: all of them are taken together.
    pub snapshot: bool,
    /// Whether what it changed is put back as soon as everything is let go, and insisted on.
    pub puts_back: bool,
}

/// What the run must do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<'a> {
    /// Find the target and lock it.
    Target,
    /// Do these steps, all at the same time.
    Perform(Vec<&'a str>),
    /// Everything is captured: note the cut.
    Cut,
    /// Prove that this hold spanned the cut.
    Confirm(&'a str),
    /// Let these holds go, all at the same time; repeated until it is settled.
    Release(Vec<&'a str>),
    /// Put back what these steps changed around the target, the last one first; repeated until it is settled.
    PutBack {
        /// The steps.
        steps: Vec<&'a str>,
        /// Whether to wait until it is in use again.
        wait: bool,
    },
    /// Commit the recovery point.
    Commit,
    /// The journal does not say whether the commit was reached: look.
    Settle,
    /// Dispose of the temporary thing that this step intended.
    Dispose(&'a str),
    /// Note the end.
    Finish {
        /// Whether the run did what it was asked to.
        success: bool,
    },
    /// Nothing more can be done now: the journal stays that of an unfinished run, for whoever takes it over.
    Leave,
    /// Nothing is left to do.
    Done,
}

/// What the journal says, folded.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that has or has not happened")]
struct State<'a> {
    target: bool,
    intents: Vec<(&'a str, &'a Undo, bool)>,
    settled_steps: HashSet<&'a str>,
    proven: HashSet<&'a str>,
    let_go: HashSet<&'a str>,
    still_held: HashSet<&'a str>,
    disposed: HashSet<&'a str>,
    stopping: bool,
    cut: bool,
    committing: bool,
    commit_settled: bool,
    commit_unseen: bool,
    committed: bool,
    /// All steps of an action without a commit were done before anything went wrong.
    achieved: bool,
    fenced: bool,
    finished: bool,
}

impl<'a> State<'a> {
    fn of(outline: &Outline, events: &'a [Event]) -> Self {
        let mut state = Self::default();
        for event in events {
            state.take(outline, event);
        }
        state
    }

    fn take(&mut self, outline: &Outline, event: &'a Event) {
        match event {
            Event::Started { .. } => {}
            Event::Target { .. } => self.target = true,
            Event::Intent { step, undo, keep } => {
                self.intents.push((step, undo, *keep));
                // Another attempt of what was disposed of.
                self.disposed.remove(step.as_str());
            }
            Event::Done { step, .. } => {
                self.settled_steps.insert(step);
            }
            Event::Failed { step, error } => {
                self.settled_steps.insert(step);
                self.fenced |= error.kind == ErrorKind::Fenced;
                if self.committing && step == super::COMMIT {
                    self.commit_settled = true;
                }
                // What fails while cleaning up is reported, but takes nothing away from what was achieved.
                let cleaning = outline.step(step).is_some_and(|step| step.phase == Phase::Cleanup);
                self.stopping |= !cleaning;
            }
            Event::Stopped { error } => {
                self.stopping = true;
                self.fenced |= error.kind == ErrorKind::Fenced;
            }
            Event::TakenOver => {
                (self.stopping, self.commit_unseen, self.fenced) = (true, false, false);
                for step in self.still_held.drain() {
                    self.let_go.remove(step);
                    self.disposed.remove(step);
                }
            }
            Event::Cut => self.cut = true,
            Event::Confirmed { step, .. } | Event::Unproven { step, .. } => {
                self.proven.insert(step);
            }
            Event::Released { step, .. } => {
                self.let_go.insert(step);
            }
            Event::StillHeld { step, .. } => {
                self.let_go.insert(step);
                self.disposed.insert(step);
                self.still_held.insert(step);
                // Without a commit things are put back when all steps are done, and what was restored is whole.
                self.achieved |= !self.stopping && !outline.commits;
                self.stopping = true;
            }
            Event::CommitUnseen { .. } => (self.stopping, self.commit_unseen) = (true, true),
            Event::Committing => self.committing = true,
            Event::Committed { .. } => (self.committed, self.commit_settled) = (true, true),
            Event::Disposed { step } | Event::LeftBehind { step, .. } => {
                self.disposed.insert(step);
            }
            Event::Finished { .. } => self.finished = true,
        }
    }

    /// The holds that were intended and not let go, the last one first.
    fn holds_on(&self, outline: &Outline) -> Vec<&'a str> {
        let intended = self.intents.iter().rev().map(|(step, ..)| *step);
        intended.filter(|step| outline.is_hold(step) && !self.let_go.contains(step)).collect()
    }

    /// What is to be put back now: changed before the cut, and not disposed of. What a run that succeeds keeps is put
    /// back at its end, if at all.
    fn put_back(&self, outline: &Outline, wait: bool) -> Option<Next<'a>> {
        let before_cut =
            |id: &str| outline.step(id).is_some_and(|step| step.puts_back && step.phase < Phase::Recover);
        let open = self.intents.iter().rev();
        let open = open.filter(|(step, _, keep)| !keep && before_cut(step) && !self.disposed.contains(step));
        let steps: Vec<&str> = open.map(|(step, ..)| *step).collect();
        (outline.commits && !steps.is_empty()).then_some(Next::PutBack { steps, wait })
    }

    /// The steps of a phase that are to be done next: all snapshots together, then one at a time.
    fn pending<'o>(&self, outline: &'o Outline, phase: Phase) -> Option<Next<'o>> {
        let pending =
            |step: &&StepOutline| step.phase == phase && !self.settled_steps.contains(step.id.as_str());
        let snapshots: Vec<&str> = outline
            .steps
            .iter()
            .filter(pending)
            .filter(|step| step.snapshot)
            .map(|step| step.id.as_str())
            .collect();
        if !snapshots.is_empty() {
            return Some(Next::Perform(snapshots));
        }
        outline.steps.iter().find(pending).map(|step| Next::Perform(vec![&step.id]))
    }

    fn going<'o>(&self, outline: &'o Outline) -> Option<Next<'o>>
    where
        'a: 'o,
    {
        if !self.target {
            return Some(Next::Target);
        }
        for phase in [Phase::Preflight, Phase::Prepare, Phase::Quiesce, Phase::Capture] {
            if let Some(next) = self.pending(outline, phase) {
                return Some(next);
            }
        }
        if outline.commits && !self.cut {
            return Some(Next::Cut);
        }
        let unproven = outline.steps.iter().find(|step| step.hold && !self.proven.contains(step.id.as_str()));
        if let Some(step) = unproven {
            return Some(Next::Confirm(&step.id));
        }
        if let Some(step) = self.holds_on(outline).first() {
            return Some(Next::Release(vec![step]));
        }
        if let Some(next) = self.put_back(outline, true) {
            return Some(next);
        }
        for phase in [Phase::Recover, Phase::Store, Phase::Steps] {
            if let Some(next) = self.pending(outline, phase) {
                return Some(next);
            }
        }
        (outline.commits && !self.committed).then_some(Next::Commit)
    }

    fn stopping<'o>(&self, outline: &'o Outline) -> Option<Next<'o>>
    where
        'a: 'o,
    {
        let on = self.holds_on(outline);
        if !on.is_empty() {
            return Some(Next::Release(on));
        }
        if self.fenced {
            return Some(Next::Leave);
        }
        if let Some(next) = self.put_back(outline, false) {
            return Some(next);
        }
        if self.committing && !self.commit_settled && !self.commit_unseen {
            return Some(Next::Settle);
        }
        let quiesced = self.intents.iter().any(|(step, ..)| outline.is_hold(step));
        if quiesced { self.pending(outline, Phase::Recover) } else { None }
    }
}

impl Outline {
    fn step(&self, id: &str) -> Option<&StepOutline> {
        self.steps.iter().find(|step| step.id == id)
    }

    fn is_hold(&self, id: &str) -> bool {
        self.step(id).is_some_and(|step| step.hold)
    }
}

/// What the run must do next. Total: every journal, also a torn one, has an answer.
pub fn next<'a>(outline: &'a Outline, events: &'a [Event]) -> Next<'a> {
    let state = State::of(outline, events);
    if state.finished {
        return Next::Done;
    }
    let first = if state.stopping { state.stopping(outline) } else { state.going(outline) };
    if let Some(next) = first {
        return next;
    }
    // A run that never found its target has nothing to clean up but its own temporary things.
    if state.target
        && let Some(next) = state.pending(outline, Phase::Cleanup)
    {
        return next;
    }
    let success = !state.stopping || state.committed || state.achieved;
    let left = state.intents.iter().rev().find(|(step, _, keep)| {
        let may_be_kept = *keep && (success || state.commit_unseen);
        !(outline.is_hold(step) || state.disposed.contains(step) || may_be_kept)
    });
    match left {
        Some((step, ..)) if outline.step(step).is_some_and(|step| step.puts_back) => {
            Next::PutBack { steps: vec![step], wait: false }
        }
        Some((step, ..)) => Next::Dispose(step),
        None if state.commit_unseen || !state.still_held.is_empty() => Next::Leave,
        None => Next::Finish { success },
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
