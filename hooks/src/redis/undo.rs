//! Letting go of what a dead run acquired: a setting that says by itself whose it is, and what it was before.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{HookContext, Undone},
};

use super::{connect::Session, mark};
use crate::server::undo::reach;

/// What the journal keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    /// The run whose mark may be there; none where nothing stays held.
    run: Option<String>,
}

/// The record of what is about to be acquired: `None` where nothing stays held.
pub(super) fn record(context: Option<&HookContext>) -> Result<Value> {
    let record = Record { run: context.map(|context| context.run.to_string()) };
    serde_json::to_value(record).map_err(|cause| Error::failed("the undo cannot be recorded").because(cause))
}

/// Puts the setting back, if the record's run still has its mark there.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn undo(record: &Value, context: &HookContext) -> Result<Undone> {
    let record: Record = serde_json::from_value(record.clone())
        .map_err(|cause| Error::input("the journal's undo record is not understood").because(cause))?;
    let Some(run) = record.run else { return Ok(Undone::AlreadyGone) };
    // The setting does not outlive its server.
    let Some(session) = reach(context.lease, || Session::open(context)).await? else {
        return Ok(Undone::AlreadyGone);
    };
    Ok(if mark::lift(&session, &run).await? { Undone::LetGo } else { Undone::AlreadyGone })
}
