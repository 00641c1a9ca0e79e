//! Letting go of what a dead run acquired: the lock, by the mark that it left before.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{HookContext, Undone},
    units::milliseconds,
};

use super::{
    lock::{self, Mark},
    server::Server,
    session::Session,
};
use crate::server::undo::reach;

/// The pause between two looks whether the holder lets go by itself.
const PAUSE: Duration = Duration::from_millis(100);

/// What the journal keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    /// The run whose lock may be on; none where nothing stays held.
    run: Option<String>,
    /// How long the server may still be about to lock when nobody waits for it any more.
    #[serde(default)]
    wait_milliseconds: u64,
    /// Says that the lock is off, whatever the mark says.
    #[serde(default)]
    off: Off,
}

/// A file of the run's own. It is there once the run's lock is known to be off, or never to have been on, while the mark
/// cannot be taken away because somebody else has the server locked: what is locked then is theirs. It stays for whoever
/// takes the run's journal over on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Off(PathBuf);

impl Off {
    /// That of a connection.
    ///
    /// # Errors
    /// When the context has no connection.
    pub fn of(context: &HookContext) -> Result<Self> {
        let name = &context.connection()?.name;
        Ok(Self(context.scratch.join(format!("mongodb-{name}.off"))))
    }

    /// Notes it, as well as can be: without it, somebody else's lock could be taken for the run's.
    pub fn note(&self) {
        if let Err(cause) = std::fs::write(&self.0, "") {
            tracing::warn!(%cause, file = %self.0.display(), "it cannot be noted that our lock is off");
        }
    }

    fn is_noted(&self) -> bool {
        self.0.exists()
    }
}

/// The record of what is about to be acquired: `None` where nothing stays held.
pub(super) fn record(context: Option<&HookContext>, wait: Duration) -> Result<Value> {
    let off = context.map(Off::of).transpose()?.unwrap_or_default();
    let run = context.map(|context| context.run.to_string());
    let record = Record { run, wait_milliseconds: milliseconds(wait), off };
    serde_json::to_value(record).map_err(|cause| Error::failed("the undo cannot be recorded").because(cause))
}

/// Takes the lock off, if the record's run still has it. Its holder lets go by itself within the lease, and is waited
/// for: two who unlock would take off somebody else's lock, too.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn undo(record: &Value, context: &HookContext) -> Result<Undone> {
    let record: Record = serde_json::from_value(record.clone())
        .map_err(|cause| Error::input("the journal's undo record is not understood").because(cause))?;
    let Some(run) = record.run else { return Ok(Undone::AlreadyGone) };
    if record.off.is_noted() {
        return Ok(Undone::AlreadyGone);
    }
    // The lock does not outlive its server.
    let Some(session) = reach(context.lease, || Session::open(context)).await? else {
        return Ok(Undone::AlreadyGone);
    };
    let wait = Duration::from_millis(record.wait_milliseconds);
    let deadline = Instant::now() + context.lease.max(wait);
    while Instant::now() < deadline {
        match Mark::find(&session).await? {
            Some(mark) if mark.run == run => tokio::time::sleep(PAUSE).await,
            _ => return Ok(Undone::AlreadyGone),
        }
    }
    Ok(if take_off(&session, &run, &record.off).await? { Undone::LetGo } else { Undone::AlreadyGone })
}

/// Takes one lock off if a run's mark is there, then the mark; whether a lock was on. Without the mark, a lock is
/// somebody else's, and so it is once ours is off.
///
/// # Errors
/// When it is not known that nothing of the run's is on.
pub(super) async fn take_off(session: &Session, run: &str, off: &Off) -> Result<bool> {
    let mark = match Mark::find(session).await? {
        Some(mark) if mark.run == run => mark,
        _ => return Ok(false),
    };
    // A restart clears the lock, and another one in its place is not the run's.
    let same = Server::of(session).await?.process == mark.process;
    let is_off = off.is_noted();
    let ours = !is_off && same && lock::is_locked(session).await?;
    let left = if ours { lock::unlock(session).await? } else { None };
    let Err(error) = mark.take_away(session).await else { return Ok(left.is_some()) };
    if left.is_some() {
        off.note();
    }
    if is_off || left.is_some_and(|left| left > 0) {
        // The mark cannot go before that lock does.
        tracing::warn!(error = error.chain(), "MongoDB is still locked, by somebody else");
        return Ok(left.is_some());
    }
    Err(error)
}
