//! What the demo found out: printed by `demo --output json`, and drawn for people.

use std::{path::PathBuf, time::Duration};

use serde::Serialize;
use standstill_core::{
    Error,
    point::{CheckOutcome, Consistency},
    runner::{BackupReport, VerifyReport},
    runtime::CaptureMode,
    units::milliseconds,
};

use super::{
    chart::Span,
    clock::Clock,
    measure::{Acknowledged, Latencies, Rows},
};

/// Everything that was measured and counted, as far as the demo came.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The database, with its version.
    pub database: String,
    /// Where the repository and the restored copy were left; null if they were removed.
    pub directory: Option<PathBuf>,
    /// Whether everything was shown.
    pub proven: bool,
    /// How the files were captured.
    pub capture: Option<CaptureMode>,
    pub backup: Option<BackupReport>,
    pub restore_milliseconds: Option<u64>,
    pub verify: Option<VerifyReport>,
    pub rows: Option<Rows>,
    pub latency: Option<Latencies>,
    /// What happened when, since the demo began.
    pub timeline: Vec<Stretch>,
    pub error: Option<Refusal>,
    /// What the writer noted; too long for the document.
    #[serde(skip)]
    pub orders: Vec<Acknowledged>,
    /// The phases of the backup, which its report has with their times of day.
    #[serde(skip)]
    pub phases: Vec<(String, Span)>,
    /// What a user types after `standstill backup` for a database of their own.
    #[serde(skip)]
    pub next_command: String,
}

/// A part of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stretch {
    pub name: &'static str,
    pub from_milliseconds: u64,
    pub to_milliseconds: u64,
    #[serde(skip)]
    pub span: Span,
}

/// What kept the demo from its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    pub message: String,
    pub remedy: Option<String>,
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        Self { message: error.chain(), remedy: error.remedy_text().map(str::to_owned) }
    }
}

impl Facts {
    /// Notes a part of the story.
    pub fn stretch(&mut self, name: &'static str, span: Span) {
        let (from, to) = (milliseconds(span.from), milliseconds(span.to));
        self.timeline.push(Stretch { name, from_milliseconds: from, to_milliseconds: to, span });
    }

    /// The part of that name.
    pub fn span(&self, name: &str) -> Option<Span> {
        self.timeline.iter().find(|stretch| stretch.name == name).map(|stretch| stretch.span)
    }

    /// Whether writes waited.
    pub fn froze(&self) -> bool {
        self.backup.as_ref().is_some_and(|backup| backup.holds.iter().any(|hold| hold.blocks_writes))
    }

    /// Notes the rows and waits around the backup, once the writer's record is there.
    pub fn measure(&mut self, initial: u64, cut: Duration, found: &[u64], clock: &Clock) {
        self.rows = Some(Rows::compare(initial, &self.orders, cut, found));
        if let Some(held) = self.held(clock) {
            self.stretch("held", held);
            self.latency = Some(Latencies::around(held, &self.orders));
        }
    }

    /// When the database was held. A hold that blocks writes is off some time before its release is through with
    /// counting, so it is drawn by the freeze that was measured.
    fn held(&self, clock: &Clock) -> Option<Span> {
        let backup = self.backup.as_ref()?;
        let from = backup.holds.iter().map(|hold| clock.since_start(hold.acquired_at)).min()?;
        if self.froze() {
            return Some(Span::lasting(from, Duration::from_millis(backup.freeze.milliseconds)));
        }
        let released = backup.holds.iter().filter_map(|hold| hold.released_at);
        Some(Span::new(from, released.map(|at| clock.since_start(at)).max()?))
    }

    /// Whether everything that the demo is to show was shown.
    pub fn judge(&mut self) -> Result<(), Error> {
        let failed = |what: String| {
            Err(Error::damaged(what)
                .remedy("Run it again with `--directory DIR` and look at what it leaves there."))
        };
        if self.backup.as_ref().and_then(|backup| backup.consistency) != Some(Consistency::Application) {
            return failed("the backup was not proven to be application-consistent".to_owned());
        }
        if self.verify.as_ref().map(|verify| verify.outcome) != Some(CheckOutcome::Passed) {
            return failed("the verification did not pass".to_owned());
        }
        match self.rows {
            Some(rows) if rows.are_whole() => {
                self.proven = true;
                Ok(())
            }
            Some(rows) => failed(format!(
                "of {} rows acknowledged before the cut {} are not in the restored copy, which has {} gaps",
                rows.acknowledged_before_cut, rows.missing, rows.gaps
            )),
            None => failed("the restored rows were not counted".to_owned()),
        }
    }
}
