//! Letting go of what a dead run acquired: the lock, by the mark that it left before.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
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
}

/// Runs whose lock this process has taken off, while their mark could not be: beside them somebody else had locked the
/// server. They hold nothing, and what is held there is not theirs.
static OFF: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Remembers that a run's lock is off, whatever its mark says.
pub(super) fn remember_off(run: &str) {
    OFF.lock().unwrap_or_else(PoisonError::into_inner).insert(run.to_owned());
}

/// The record of what is about to be acquired: `None` where nothing stays held.
pub(super) fn record(context: Option<&HookContext>, wait: Duration) -> Result<Value> {
    let run = context.map(|context| context.run.to_string());
    let record = Record { run, wait_milliseconds: milliseconds(wait) };
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
    if OFF.lock().unwrap_or_else(PoisonError::into_inner).contains(&run) {
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
    Ok(if take_off(&session, &run).await? { Undone::LetGo } else { Undone::AlreadyGone })
}

/// Takes one lock off if a run's mark is there, then the mark; whether a lock was on. Without the mark, a lock is
/// somebody else's.
///
/// # Errors
/// When it is not known that nothing of the run's is on.
pub(super) async fn take_off(session: &Session, run: &str) -> Result<bool> {
    let mark = match Mark::find(session).await? {
        Some(mark) if mark.run == run => mark,
        _ => return Ok(false),
    };
    // A restart clears the lock, and another one in its place is not the run's.
    let same = Server::of(session).await?.process == mark.process;
    let left = if same && lock::is_locked(session).await? { lock::unlock(session).await? } else { None };
    match mark.take_away(session).await {
        Ok(()) => Ok(left.is_some()),
        // Somebody locked beside the run: the mark cannot go before that lock does.
        Err(error) if left.is_some_and(|left| left > 0) => {
            tracing::warn!(error = error.chain(), "MongoDB is still locked, by somebody else");
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
