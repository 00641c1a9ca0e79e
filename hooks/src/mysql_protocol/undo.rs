//! Letting go of what a dead run acquired: its hold is a session, found by a lock that no other one has.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{HookContext, Undone},
    point::RunId,
};

use super::{
    connect::{LOOKUP, Session, column},
    dialect::Dialect,
};
use crate::server::undo::reach;

/// What the journal keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Record {
    /// The run.
    run: String,
    /// The advisory lock that the hold's session has: no other run's and no other hold's does.
    mark: String,
}

/// The name of the advisory lock by which a hold's session is known: at most 64 characters, which is all that the
/// server takes. A connection's number alone would not do: numbers begin anew with each start of the server.
pub(crate) fn mark(verb: &str, connection: &str, run: &RunId) -> String {
    let mut hasher = DefaultHasher::new();
    (verb, connection).hash(&mut hasher);
    format!("standstill {run} {:08x}", hasher.finish() >> 32)
}

/// The record of what a verb is about to acquire.
pub(crate) fn record(verb: &str, context: &HookContext) -> Result<Value> {
    let mark = mark(verb, &context.connection()?.name, &context.run);
    let record = Record { run: context.run.as_str().into(), mark };
    serde_json::to_value(record).map_err(|cause| Error::failed("the undo cannot be recorded").because(cause))
}

/// Ends the session of the record, and waits until it is gone; what it holds goes with it.
///
/// # Errors
/// When the server cannot be asked, or the session does not go.
pub(crate) async fn undo(dialect: &'static Dialect, record: &Value, context: &HookContext) -> Result<Undone> {
    let record: Record = serde_json::from_value(record.clone())
        .map_err(|cause| Error::input("the journal's undo record is not understood").because(cause))?;
    if !record.mark.contains(&record.run) || record.run.is_empty() {
        return Err(Error::input("the journal's undo record names no run"));
    }
    let reached = reach(context.lease, || Session::open(dialect, context)).await?;
    let Some(session) = reached else { return Ok(Undone::AlreadyGone) };
    let deadline = Instant::now() + context.lease + LOOKUP;
    let mut ended = false;
    loop {
        let sql = "SELECT IS_USED_LOCK(?)";
        let rows = session
            .rows(LOOKUP, "look for a dead run's session", sql, vec![record.mark.as_str().into()])
            .await?;
        let held = rows.first().map(|row| column::<Option<u64>>(row, 0)).transpose()?.flatten();
        let Some(id) = held else {
            session.close().await;
            return Ok(if ended { Undone::LetGo } else { Undone::AlreadyGone });
        };
        ended = true;
        // It may have ended by itself since it was looked for.
        let killed = session.run(LOOKUP, "end a dead run's session", &format!("KILL CONNECTION {id}")).await;
        if Instant::now() > deadline {
            let error = Error::temporary(format!(
                "the session of run {} does not end at {}: connection {id}",
                record.run,
                session.place()
            ))
            .remedy(format!("As the same user, or with CONNECTION ADMIN, run: KILL CONNECTION {id};"));
            return Err(match killed {
                Err(cause) => error.because(cause),
                Ok(()) => error,
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_fits_and_tells_holds_apart() {
        let run = RunId::generate();
        let one = mark("backup-stage", "db", &run);
        assert!(one.len() <= 64, "{one}");
        assert_ne!(one, mark("backup-stage", "other", &run));
        assert!(one.contains(run.as_str()));
    }
}
