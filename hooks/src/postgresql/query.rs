//! The verbs that ask a server something: `query`, `accepting` and `checkpoint`.

use std::time::Duration;

use serde_json::{Map, Value, json};
use standstill_core::{
    Error, ErrorKind, Result,
    hook::{Called, HookContext},
    point::Outputs,
};
use tokio_postgres::SimpleQueryMessage;

use super::connect::{LOOKUP, Purpose, Session, column};
use crate::server::arguments::{QueryArguments, ROWS, not_too_many};

/// How long a query or a checkpoint may take; a step's own timeout is usually shorter.
const LONG: Duration = Duration::from_hours(1);

/// Runs one statement and returns its rows.
pub(super) async fn query(context: &HookContext, arguments: &QueryArguments) -> Result<Called> {
    let session = Session::open(context, Purpose::Call).await?;
    session.simple(LOOKUP, "begin", "BEGIN READ ONLY; SET LOCAL statement_timeout = 0").await?;
    let sql = arguments.sql.trim().trim_end_matches(';');
    let rows = session.cancellable(context, "run the query", rows(&session, sql)).await?;
    session.close().await;
    not_too_many(rows.len())?;
    let value = rows.first().and_then(Value::as_object).and_then(|row| row.values().next()).cloned();
    let outputs =
        Outputs::from([("rows".into(), json!(rows)), ("value".into(), value.unwrap_or(Value::Null))]);
    Ok(Called { outputs, ..Called::default() })
}

async fn rows(session: &Session, sql: &str) -> Result<Vec<Value>> {
    let first = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let wraps = ["select", "with", "values", "table"].iter().any(|word| first.eq_ignore_ascii_case(word));
    if wraps {
        // The server turns its own types into JSON.
        let wrapped = format!("SELECT row_to_json(q) FROM (\n{sql}\n) q LIMIT {}", ROWS + 1);
        let rows = session.rows(LONG, "run the query", &wrapped, &[]).await?;
        return rows.iter().map(|row| column(row, 0)).collect();
    }
    let messages = session.simple(LONG, "run the query", sql).await?;
    Ok(messages.iter().filter_map(texts).collect())
}

fn texts(message: &SimpleQueryMessage) -> Option<Value> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    let names = row.columns().iter().enumerate();
    let values: Map<_, _> =
        names.map(|(index, column)| (column.name().to_owned(), json!(row.get(index)))).collect();
    Some(Value::Object(values))
}

/// Whether the server takes statements and is done with recovery.
///
/// # Errors
/// [`ErrorKind::Temporary`] until it is.
pub(super) async fn accepting(context: &HookContext) -> Result<Called> {
    let waiting = |error: Error| error.of_kind(ErrorKind::Temporary);
    let session = Session::open(context, Purpose::Call).await.map_err(waiting)?;
    let row = session.one(LOOKUP, "ask whether it recovers", "SELECT pg_is_in_recovery()", &[]).await;
    let recovering: bool = column(&row.map_err(waiting)?, 0)?;
    let place = session.place().to_owned();
    session.close().await;
    if recovering {
        return Err(Error::temporary(format!("PostgreSQL at {place} is still recovering")));
    }
    Ok(Called::default())
}

/// Has the server write a checkpoint, so that the one that starts a backup has little to do.
pub(super) async fn checkpoint(context: &HookContext) -> Result<Called> {
    let session = Session::open(context, Purpose::Call).await?;
    session.simple(LOOKUP, "lift the time limit", "SET statement_timeout = 0").await?;
    let work = session.simple(LONG, "write a checkpoint", "CHECKPOINT");
    session.cancellable(context, "write a checkpoint", work).await.map_err(|error| match error.kind() {
        ErrorKind::Input => error.remedy("GRANT pg_checkpoint to the role (15 and later), or leave the checkpoint step out: the start of a backup makes one anyway."),
        _ => error,
    })?;
    session.close().await;
    Ok(Called::default())
}
