//! The verbs that ask a server something: `query`, `accepting` and `check-tables`.

use std::time::Duration;

use mysql_async::{Row, Value as Sent};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use standstill_core::{
    Error, ErrorKind, Result,
    hook::{Called, HookContext},
    point::{Check, CheckOutcome, Outputs},
};

use super::{
    connect::{LOOKUP, Session, column, named},
    dialect::Dialect,
    names::Name,
};
use crate::server::arguments::{QueryArguments, not_too_many};

/// How long one statement may take; a step's own timeout is usually shorter.
const LONG: Duration = Duration::from_hours(24);
/// Runs one statement and returns its rows.
pub(crate) async fn query(
    dialect: &'static Dialect,
    context: &HookContext,
    arguments: &QueryArguments,
) -> Result<Called> {
    let session = Session::open(dialect, context).await?;
    for sql in [dialect.patient, "START TRANSACTION READ ONLY"] {
        session.run(LOOKUP, "begin", sql).await?;
    }
    let rows = session.rows(LONG, "run the query", arguments.sql.trim(), Vec::new());
    let rows = session.cancellable(context, "run the query", rows).await?;
    session.close().await;
    not_too_many(rows.len())?;
    let value = rows.first().and_then(|row| row.as_ref(0)).map_or(Value::Null, shown);
    let rows: Vec<_> = rows.iter().map(object).collect();
    let outputs = Outputs::from([("rows".into(), json!(rows)), ("value".into(), value)]);
    Ok(Called { outputs, ..Called::default() })
}

fn object(row: &Row) -> Value {
    let columns = row.columns_ref().iter().enumerate();
    let pairs = columns.map(|(index, column)| {
        (column.name_str().into_owned(), row.as_ref(index).map_or(Value::Null, shown))
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// A value as the server sends it to a statement without parameters: text, of which whole numbers are read as such.
fn shown(value: &Sent) -> Value {
    match value {
        Sent::NULL => Value::Null,
        Sent::Int(number) => json!(number),
        Sent::UInt(number) => json!(number),
        Sent::Bytes(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            match text.parse::<i64>() {
                // Not `007`, which is text.
                Ok(number) if number.to_string() == text => json!(number),
                _ => json!(text),
            }
        }
        other => json!(other.as_sql(true).trim_matches('\'')),
    }
}

/// Whether the server takes statements.
///
/// # Errors
/// [`ErrorKind::Temporary`] until it does.
pub(crate) async fn accepting(dialect: &'static Dialect, context: &HookContext) -> Result<Called> {
    let waiting = |error: Error| error.of_kind(ErrorKind::Temporary);
    let session = Session::open(dialect, context).await.map_err(waiting)?;
    session.close().await;
    Ok(Called::default())
}

/// What `check-tables` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CheckArguments {
    /// Also look whether each row can be seen by a transaction; slower.
    #[serde(default)]
    extended: bool,
}

/// Has the engines check every table, the server's own too.
///
/// `mariadb-check` and `mysqlcheck` do the same, but end with status 0 on a corrupt table; here each answer is read.
pub(crate) async fn check_tables(
    dialect: &'static Dialect,
    context: &HookContext,
    arguments: &CheckArguments,
) -> Result<Called> {
    let session = Session::open(dialect, context).await?;
    session.run(LOOKUP, "lift the time limits", dialect.patient).await?;
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES \
        WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') \
          AND TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema') ORDER BY 1, 2";
    let rows = session.rows(LOOKUP * 6, "list the tables", sql, Vec::new()).await?;
    let how = if arguments.extended { " EXTENDED" } else { "" };
    let (mut checks, mut sound) = (Vec::new(), 0_u32);
    for row in &rows {
        let name = Name { schema: column(row, 0)?, table: column(row, 1)? };
        let sql = format!("CHECK TABLE {}{how}", name.sql());
        let attempt = format!("check {name}");
        let checking = session.rows(LONG, &attempt, &sql, Vec::new());
        let said = session.cancellable(context, "check the tables", checking).await;
        let complaints = match said {
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => vec![error.chain()],
            Ok(answers) => complaints(&answers),
        };
        if complaints.is_empty() {
            sound += 1;
        } else {
            let outcome = CheckOutcome::Failed;
            checks.push(Check { name: format!("table {name}"), outcome, detail: complaints.join("; ") });
        }
    }
    session.close().await;
    let outcome = if sound > 0 { CheckOutcome::Passed } else { CheckOutcome::Failed };
    checks.push(Check { name: "tables".into(), outcome, detail: format!("{sound} checked and sound") });
    Ok(Called { checks, ..Called::default() })
}

/// Everything in the answers to CHECK TABLE that is not good: the last line says `OK` or not, and what comes before
/// it may be a warning of damage.
fn complaints(answers: &[Row]) -> Vec<String> {
    let lines = answers.iter().map(|row| {
        let text = |name| named(row, name).unwrap_or_default();
        (text("Msg_type"), text("Msg_text"))
    });
    let bad =
        lines.filter(|(kind, said)| is_complaint(kind, said)).map(|(kind, said)| format!("{kind}: {said}"));
    bad.collect()
}

fn is_complaint(kind: &str, said: &str) -> bool {
    match kind.to_ascii_lowercase().as_str() {
        // "The storage engine for the table doesn't support check" and the like.
        "note" => false,
        "status" => {
            !said.eq_ignore_ascii_case("OK") && !said.eq_ignore_ascii_case("Table is already up to date")
        }
        // A table that was open when the copy was taken; an engine without crash recovery says so of every one.
        "warning" => !said.contains("clients are using or haven't closed the table properly"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_a_complaint_whatever_the_line_is_called() {
        assert!(is_complaint("Warning", "InnoDB: The B-tree of index PRIMARY is corrupted."));
        assert!(is_complaint("error", "Corrupt"));
        assert!(is_complaint("Error", "Table 'app.t' doesn't exist in engine"));
        assert!(is_complaint("status", "Operation failed"));
        assert!(!is_complaint("status", "OK"));
        assert!(!is_complaint("note", "The storage engine for the table doesn't support check"));
        assert!(!is_complaint("warning", "1 clients are using or haven't closed the table properly"));
    }

    #[test]
    fn whole_numbers_are_numbers_and_everything_else_is_text() {
        assert_eq!(shown(&Sent::Bytes(b"-12".to_vec())), json!(-12));
        assert_eq!(shown(&Sent::Bytes(b"007".to_vec())), json!("007"));
        assert_eq!(shown(&Sent::Bytes(b"1.5".to_vec())), json!("1.5"));
        assert_eq!(shown(&Sent::NULL), Value::Null);
    }
}
