//! The durable record of a run, and the seam for where it is kept.
//!
//! What to do next is a function of the plan and these events (see [`crate::runner`]), so a run that died is
//! finished by the same function over the journal that was found.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Result,
    point::{Check, Evidence, Fact, Outputs, RunId, StoredArtifact, Version},
    secret::SecretReference,
};

/// What a run was asked to do: enough to make its plan again, without any secret value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunRequest {
    /// The blueprint's text.
    pub blueprint_text: String,
    /// Where the blueprint came from, for messages.
    pub blueprint_origin: String,
    /// The action.
    pub action: String,
    /// The application's name.
    pub application: String,
    /// Parameter values that are not secret.
    pub parameters: Map<String, Value>,
    /// Where the values of secret parameters come from.
    pub secrets: BTreeMap<String, SecretReference>,
    /// The repository's location, without credentials.
    pub repository: Option<String>,
    /// The recovery point that is restored or verified.
    pub point: Option<RunId>,
    /// The member of a group that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// For a group, whose text the blueprint's then is: what is asked of each member, in the order in which they are
    /// quiesced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<RunRequest>,
}

/// How to undo an effect, written before the effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Undo {
    /// By the hook that acquires it.
    Hold {
        /// The hook.
        hook: String,
        /// The connection, volume or service of the step, to reach the database again.
        connection: Option<String>,
        /// The volume of the step.
        volume: Option<String>,
        /// What the hook's `undo` needs.
        record: Value,
    },
    /// By [`crate::runtime::Runtime::dispose`].
    Runtime {
        /// What `dispose` needs.
        record: Value,
        /// The secret environment variables that it needs: names, and the parameters that hold their values.
        secrets: BTreeMap<String, String>,
    },
    /// By removing the artifacts of this run that no recovery point names.
    Strays,
}

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The run began. Always the first.
    Started {
        /// The run.
        run: RunId,
        /// What it was asked to do.
        request: Box<RunRequest>,
        /// The version of Standstill.
        standstill: String,
    },
    /// The target was found and locked. A group has one for each member, noted when all were found.
    Target {
        /// The member of a group that it is of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<String>,
        /// The identity that the lock is on.
        identity: Option<String>,
        /// The database's version.
        version: Option<Version>,
        /// Its role, in the hook's words.
        role: Option<String>,
    },
    /// An effect is about to happen; it has this undo.
    Intent {
        /// The step, or `run.scratch`.
        step: String,
        /// How to undo it.
        undo: Undo,
        /// Whether a run that succeeds keeps it: a restored volume, stored artifacts.
        keep: bool,
    },
    /// A step is done; for a hold: it was acquired.
    Done {
        /// The step.
        step: String,
        /// Its outputs.
        outputs: Outputs,
        /// Facts that it observed.
        facts: Vec<Fact>,
        /// Checks that it made.
        checks: Vec<Check>,
        /// What it stored.
        artifacts: Vec<StoredArtifact>,
    },
    /// A step failed.
    Failed {
        /// The step.
        step: String,
        /// What happened.
        error: Failure,
    },
    /// The run is to end early: a signal, a ceiling, a lapsed hold, a lock that was lost.
    Stopped {
        /// Why.
        error: Failure,
    },
    /// Everything that is captured has been cut.
    Cut,
    /// A hold was proven to have spanned the cut.
    Confirmed {
        /// The step that acquired it.
        step: String,
        /// The proof.
        evidence: Evidence,
    },
    /// A hold could not be proven, and the blueprint accepts a crash-consistent recovery point.
    Unproven {
        /// The step that acquired it.
        step: String,
        /// Why not.
        error: Failure,
    },
    /// A hold was let go.
    Released {
        /// The step that acquired it.
        step: String,
        /// What the release observed; `None` when it was undone without its hold (after a crash or a lapse).
        evidence: Option<Evidence>,
        /// Outputs that became available.
        outputs: Outputs,
        /// Facts of the quiesced moment.
        facts: Vec<Fact>,
    },
    /// A hold could not be let go before the deadline, or a change not be put back. The run is not finished: whoever
    /// takes its journal over tries again.
    StillHeld {
        /// The step that acquired it.
        step: String,
        /// Why not.
        error: Failure,
    },
    /// The recovery point is about to be committed.
    Committing,
    /// The recovery point was committed and read back.
    Committed {
        /// Its id.
        point: RunId,
    },
    /// Whether the commit was reached could not be seen. What it may have committed stays, and the run is not finished:
    /// whoever takes its journal over looks again.
    CommitUnseen {
        /// Why not.
        error: Failure,
    },
    /// A temporary thing was disposed of.
    Disposed {
        /// The step of its intent.
        step: String,
    },
    /// A temporary thing could not be disposed of.
    LeftBehind {
        /// The step of its intent.
        step: String,
        /// Why not.
        error: Failure,
    },
    /// Another process took over the journal of a run that is dead: from here on it may only let go.
    TakenOver,
    /// The run has ended and nothing is left to do. Always the last.
    Finished {
        /// Whether it did what it was asked to.
        success: bool,
    },
}

/// An error, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// Its kind.
    pub kind: crate::ErrorKind,
    /// The message with all causes.
    pub message: String,
    /// What to do next.
    pub remedy: Option<String>,
}

impl From<&crate::Error> for Failure {
    fn from(error: &crate::Error) -> Self {
        Self { kind: error.kind(), message: error.chain(), remedy: error.remedy_text().map(str::to_owned) }
    }
}

impl From<&Failure> for crate::Error {
    fn from(failure: &Failure) -> Self {
        let error = Self::new(failure.kind, failure.message.clone());
        match &failure.remedy {
            Some(remedy) => error.remedy(remedy.clone()),
            None => error,
        }
    }
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// A journal that this process may write to.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends an entry. On return it is durable.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Fenced`] when another process took the journal over; otherwise when it cannot be
    /// written (a full disk). What creates an obligation must not happen then; releasing goes on regardless.
    async fn append(&self, event: &Event) -> Result<()>;

    /// Appends several entries in order. On return all are durable; after an error the first ones may be.
    ///
    /// # Errors
    /// As [`Journal::append`].
    async fn append_all(&self, events: &[Event]) -> Result<()> {
        for event in events {
            self.append(event).await?;
        }
        Ok(())
    }

    /// How long entries that nothing waits for may be gathered, to be appended together: where each append is a
    /// request to a server that others need, too. What creates an obligation is never kept back.
    fn gathers(&self) -> Duration {
        Duration::ZERO
    }

    /// Asks whether this process still counts as the journal's writer to whoever would take it over. While a hold
    /// keeps writes waiting this is asked with every renewal: a run that cannot be seen to live must not go on holding
    /// a database. By default it always does, as with a lock that the kernel keeps for as long as the process lives.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Fenced`] when another process took the journal over; otherwise when it cannot be known.
    async fn is_ours(&self) -> Result<()> {
        Ok(())
    }
}

/// A run as the journals show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// When it started.
    pub started_at: Timestamp,
    /// The action.
    pub action: String,
    /// The application's name.
    pub application: String,
    /// The identities that it worked on, once all were known.
    pub identities: Vec<String>,
    /// How it stands.
    pub state: RunState,
}

impl RunSummary {
    /// A run as its entries tell of it; `None` where they do not begin with its start. `alive` says whether its process
    /// lives; it is asked only where the entries do not decide.
    pub fn of(entries: impl IntoIterator<Item = Entry>, alive: impl FnOnce() -> bool) -> Option<Self> {
        let mut entries = entries.into_iter();
        let first = entries.next()?;
        let Event::Started { run, request, .. } = first.event else { return None };
        let (mut identities, mut targets, mut finished) = (Vec::new(), 0, None);
        for entry in entries {
            match entry.event {
                Event::Target { identity, .. } => {
                    targets += 1;
                    identities.extend(identity);
                }
                Event::Finished { success } => finished = Some(success),
                _ => {}
            }
        }
        // Some of a group's targets alone would hide that it worked on the others too.
        if targets < request.members.len() {
            identities.clear();
        }
        let state = match finished {
            Some(true) => RunState::Succeeded,
            Some(false) => RunState::Failed,
            None if alive() => RunState::Running,
            None => RunState::Dead,
        };
        let RunRequest { action, application, .. } = *request;
        Some(Self { run, started_at: first.at, action, application, identities, state })
    }
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunState {
    /// Its process lives.
    Running,
    /// Its process is gone and it did not finish: `recover` has work to do.
    Dead,
    /// It finished and did what it was asked to.
    Succeeded,
    /// It finished without success; nothing is left of it.
    Failed,
}

/// Where journals are kept.
#[async_trait]
pub trait JournalStore: Send + Sync {
    /// Begins the journal of a new run. The journal's owner is this process, for as long as the value lives.
    async fn create(&self, run: &RunId) -> Result<Box<dyn Journal>>;
    /// All runs, oldest first. A torn last line (the process died while writing it) is left out.
    async fn runs(&self) -> Result<Vec<RunSummary>>;
    /// The entries of a run, in order, without a torn last line.
    async fn read(&self, run: &RunId) -> Result<Vec<Entry>>;
    /// Takes over the journal of a dead run and appends [`Event::TakenOver`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::Locked`] when its process lives.
    async fn take_over(&self, run: &RunId) -> Result<Box<dyn Journal>>;
}
