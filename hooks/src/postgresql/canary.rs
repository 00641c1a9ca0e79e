//! The canary: a row that was committed before the backup began, so every restored copy must have it.

use serde_json::json;
use standstill_core::{
    Result,
    point::{Bound, Fact},
};
use tokio_postgres::types::Type;

use super::connect::{LOOKUP, Session, column};

/// What a canary's fact begins with; its database and run follow.
pub(super) const CANARY: &str = "canary ";
/// Where the rows are.
pub(super) const TABLE: &str = "standstill.standstill_canary";
/// How many rows are kept.
const KEPT: i64 = 100;

/// Writes the run's row, and removes those of runs long past.
///
/// The schema and the table are made if they are missing; that needs CREATE on the database.
pub(super) async fn write(session: &Session, run: &str) -> Result<Fact> {
    let sql = "SELECT to_regclass($1) IS NOT NULL, quote_ident(current_database())";
    let row = session.one(LOOKUP, "look for the canary's table", sql, &[(&TABLE, Type::TEXT)]).await?;
    let (there, database): (bool, String) = (column(&row, 0)?, column(&row, 1)?);
    if !there {
        let sql = format!(
            "CREATE SCHEMA IF NOT EXISTS standstill; \
             CREATE TABLE IF NOT EXISTS {TABLE} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
             run text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
        );
        session.simple(LOOKUP, "create the canary's table", &sql).await.map_err(|error| {
            error
                .remedy(format!("GRANT CREATE ON DATABASE {database} to the role, or switch the canary off."))
        })?;
    }
    let sql = format!("INSERT INTO {TABLE} (run) VALUES ($1) RETURNING id");
    let row = session.one(LOOKUP, "write the canary", &sql, &[(&run, Type::TEXT)]).await.map_err(|error| {
        error.remedy(format!("GRANT USAGE on schema standstill and SELECT, INSERT, DELETE on {TABLE} to the role, or switch the canary off."))
    })?;
    let id: i64 = column(&row, 0)?;
    let sql = format!("DELETE FROM {TABLE} WHERE id <= $1");
    session.rows(LOOKUP, "remove old canaries", &sql, &[(&(id - KEPT), Type::INT8)]).await?;
    Ok(Fact { name: format!("{CANARY}{database} {run}"), value: json!(id), bound: Bound::Exact })
}
