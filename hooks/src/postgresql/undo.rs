//! Letting go of what a dead run acquired: its hold is a session, found by its `application_name`.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{HookContext, Undone},
};
use tokio_postgres::types::Type;

use super::connect::{LOOKUP, Purpose, Session, column};
use crate::server::undo::reach;

/// What the journal keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Record {
    /// The run.
    run: String,
    /// What its hold's sessions are called in `pg_stat_activity`; no other run's and no other hold's are.
    application_name: String,
}

/// The record of what a verb is about to acquire.
pub(super) fn record(verb: &str, context: &HookContext) -> Result<Value> {
    let purpose = Purpose::Hold { verb, connection: &context.connection()?.name };
    let application_name = purpose.application_name(&context.run);
    let record = Record { run: context.run.as_str().into(), application_name };
    serde_json::to_value(record).map_err(|cause| Error::failed("the undo cannot be recorded").because(cause))
}

/// Ends the sessions of the record, and waits until they are gone; their slots go with them.
///
/// # Errors
/// When the server cannot be asked, or a session does not go.
pub(super) async fn undo(record: &Value, context: &HookContext) -> Result<Undone> {
    let record: Record = serde_json::from_value(record.clone())
        .map_err(|cause| Error::input("the journal's undo record is not understood").because(cause))?;
    if !record.application_name.contains(&record.run) || record.run.is_empty() {
        return Err(Error::input("the journal's undo record names no run"));
    }
    let reached = reach(context.lease, || Session::open(context, Purpose::Call)).await?;
    let Some(session) = reached else { return Ok(Undone::AlreadyGone) };
    let deadline = Instant::now() + context.lease + LOOKUP;
    let mut ended = false;
    loop {
        let sql = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE application_name = $1 AND pid <> pg_backend_pid()";
        let name = (&record.application_name as _, Type::TEXT);
        let rows = session.rows(LOOKUP, "end a dead run's session", sql, &[name]).await?;
        if rows.is_empty() {
            session.close().await;
            return Ok(if ended { Undone::LetGo } else { Undone::AlreadyGone });
        }
        ended = true;
        if Instant::now() > deadline {
            let pids: Vec<String> =
                rows.iter().filter_map(|row| column::<i32>(row, 0).ok()).map(|pid| pid.to_string()).collect();
            return Err(Error::temporary(format!(
                "the session of run {} does not end at {}: process {}",
                record.run,
                session.place(),
                pids.join(", ")
            ))
            .remedy(format!(
                "As a superuser, run: SELECT pg_terminate_backend({});",
                pids.join("), pg_terminate_backend(")
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
