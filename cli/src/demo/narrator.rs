//! Telling what happens as it happens, in short lines on standard error.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use standstill_core::{
    journal::Event, plan::RunPlan, point::CheckOutcome, runner::Observer, runtime::CaptureMode,
};

use super::clock::Clock;
use crate::progress::Stderr;

/// Says lines, with the time since the beginning.
#[derive(Clone)]
pub struct Narrator {
    clock: Clock,
    lines: Option<mpsc::Sender<Option<String>>>,
}

/// The thread that prints. A terminal that was stopped (Ctrl-S) keeps this thread waiting, never a run that holds a
/// database.
pub struct Printer {
    lines: mpsc::Sender<Option<String>>,
    thread: JoinHandle<()>,
}

impl Narrator {
    /// A narrator, and its printer if it is to be heard.
    pub fn start(clock: Clock, heard: bool) -> (Self, Option<Printer>) {
        if !heard {
            return (Self { clock, lines: None }, None);
        }
        let (lines, received) = mpsc::channel::<Option<String>>();
        let print = move || {
            while let Ok(Some(line)) = received.recv() {
                // A terminal that went away is no reason to stop.
                let _ = Stderr.write_all(line.as_bytes());
            }
        };
        let printer = std::thread::Builder::new()
            .name("narrator".into())
            .spawn(print)
            .ok()
            .map(|thread| Printer { lines: lines.clone(), thread });
        (Self { clock, lines: Some(lines) }, printer)
    }

    /// Says a line. It returns at once.
    pub fn say(&self, line: &str) {
        if let Some(lines) = &self.lines {
            // Without a printer there is nobody to hear it.
            let _ = lines.send(Some(format!("{:6.1} s  {line}\n", self.clock.elapsed().as_secs_f64())));
        }
    }
}

impl Printer {
    /// Waits until everything is printed.
    pub fn finish(self) {
        let _ = self.lines.send(None);
        let _ = self.thread.join();
    }
}

/// Tells what happens in a run, and remembers how it captured.
pub struct Watcher {
    narrator: Narrator,
    /// The steps that acquire a hold, and whether writes wait for it.
    holds: BTreeMap<String, bool>,
    capture: Mutex<Option<CaptureMode>>,
}

impl Watcher {
    /// Of a run of this plan; a plan is not needed for one that holds nothing.
    pub fn of(narrator: &Narrator, plan: Option<&RunPlan>) -> Self {
        let steps = plan.map(RunPlan::steps).unwrap_or_default();
        let hold = |step: &standstill_core::plan::PlannedStep| {
            step.hold.map(|hold| (step.id.clone(), hold.blocks_writes))
        };
        let holds = steps.into_iter().filter_map(hold).collect();
        Self { narrator: narrator.clone(), holds, capture: Mutex::new(None) }
    }

    /// How the run captured, once it did.
    pub fn capture(&self) -> Option<CaptureMode> {
        *self.capture.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, event: &Event) -> Option<String> {
        match event {
            Event::Done { step, checks, .. } => match self.holds.get(step) {
                Some(true) => Some("held: writes wait".to_owned()),
                Some(false) => Some("held: writes go on".to_owned()),
                None if checks.is_empty() => None,
                None => Some(format!("{step}: {}", if all_passed(checks) { "passed" } else { "FAILED" })),
            },
            Event::Cut => Some(format!("cut: {}", self.capture().map_or("everything is captured", captured))),
            Event::Confirmed { .. } => Some("proven: it was held all the time".to_owned()),
            Event::Released { step, .. } if self.holds.contains_key(step) => Some("let go".to_owned()),
            Event::Committed { .. } => Some("stored and committed".to_owned()),
            _ => None,
        }
    }
}

fn all_passed(checks: &[standstill_core::point::Check]) -> bool {
    checks.iter().all(|check| check.outcome != CheckOutcome::Failed)
}

/// How files were captured, for people.
pub const fn captured(mode: CaptureMode) -> &'static str {
    match mode {
        CaptureMode::Atomic => "a snapshot of the file system was taken",
        CaptureMode::Copy => "the files were copied",
        CaptureMode::Live => "the files were read into the repository",
        CaptureMode::Auto => "the files were captured",
    }
}

impl Observer for Watcher {
    fn event(&self, event: &Event) {
        if let Event::Done { outputs, .. } = event
            && let Some(mode) = outputs.get("mode")
            && let Ok(mode) = serde_json::from_value(mode.clone())
        {
            *self.capture.lock().unwrap_or_else(PoisonError::into_inner) = Some(mode);
        }
        if let Some(line) = self.line(event) {
            self.narrator.say(&format!("  {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use standstill_core::{journal::Event, point::Outputs};

    use super::*;

    fn done(step: &str, outputs: Outputs) -> Event {
        Event::Done { step: step.into(), outputs, facts: vec![], checks: vec![], artifacts: vec![] }
    }

    #[test]
    fn a_watcher_knows_how_the_run_captured() {
        let (narrator, _) = Narrator::start(Clock::start(), false);
        let watcher = Watcher::of(&narrator, None);
        watcher.event(&done("preflight.ready", Outputs::from([("mode".into(), json!("wal"))])));
        assert_eq!(watcher.capture(), None);
        watcher.event(&done("capture.data", Outputs::from([("mode".into(), json!("copy"))])));
        assert_eq!(watcher.capture(), Some(CaptureMode::Copy));
        assert_eq!(watcher.line(&Event::Cut).unwrap(), "cut: the files were copied");
    }

    #[test]
    fn a_hold_that_blocks_writes_is_told_from_one_that_does_not() {
        let (narrator, _) = Narrator::start(Clock::start(), false);
        let holds = BTreeMap::from([("quiesce.lock".to_owned(), true), ("quiesce.mode".to_owned(), false)]);
        let watcher = Watcher { holds, ..Watcher::of(&narrator, None) };
        let line = |step| watcher.line(&done(step, Outputs::new()));
        assert_eq!(line("quiesce.lock").unwrap(), "held: writes wait");
        assert_eq!(line("quiesce.mode").unwrap(), "held: writes go on");
        assert_eq!(line("prepare[0]"), None);
    }
}
