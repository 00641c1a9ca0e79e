//! Facts: rows of tables and values of sequences, counted over a connection that is not a hold's.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::json;
use standstill_core::{
    Result,
    point::{Bound, Fact},
};
use tokio_postgres::types::Type;

use super::connect::{LOOKUP, Session, column};
use crate::server::facts::{ROWS, left_out};

/// What a fact about a sequence begins with.
pub(super) const SEQUENCE: &str = "sequence ";
/// The name of the fact about everything in a database that was not counted.
fn missing(database: &str) -> String {
    format!("not counted in {database}")
}

/// How many rows were ever inserted into a table and deleted from it, as the server's statistics say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Activity {
    inserted: i64,
    deleted: i64,
}

/// Last values of sequences.
pub(super) type Sequences = BTreeMap<String, i64>;

/// A table's rows, and its activity when the counting began and when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rows {
    count: i64,
    began: Activity,
    ended: Activity,
}

/// What was counted in one database at one time.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    database: String,
    tables: BTreeMap<String, Rows>,
    sequences: Sequences,
    left_out: BTreeMap<String, String>,
}

/// A table that can be counted.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Database, schema and name, quoted where needed: what facts are named by.
    pub name: String,
    /// Schema and name, quoted: for statements.
    pub sql: String,
    /// Why it is not counted, if it is not.
    unsuited: Option<&'static str>,
}

impl Counts {
    /// Counts the largest tables of the session's database, each in a statement of its own.
    ///
    /// A table that cannot be counted, or not in time, is left out with the reason.
    pub async fn of(session: &Session, tables: u32, within: Duration) -> Result<Self> {
        let list = list(session, tables).await?;
        let mut counts = Self::listed(session, &list, within, false).await?;
        counts.sequences = sequences(session).await?;
        Ok(counts)
    }

    /// Counts given tables. In a transaction, a table that cannot be counted must not take the snapshot with it.
    pub async fn listed(
        session: &Session,
        list: &[Table],
        within: Duration,
        in_transaction: bool,
    ) -> Result<Self> {
        let deadline = Instant::now() + within;
        let mut counts = Self { database: database(session).await?, ..Self::default() };
        let began = activity(session).await?;
        for table in list {
            let left = deadline.saturating_duration_since(Instant::now());
            let reason = match table.unsuited {
                Some(reason) => reason.to_owned(),
                None if left.is_zero() => "there was no time left".to_owned(),
                None => match count(session, table, left, in_transaction).await {
                    Ok(count) => {
                        let began = began.get(&table.name).copied().unwrap_or_default();
                        counts.tables.insert(table.name.clone(), Rows { count, began, ended: began });
                        continue;
                    }
                    Err(error) if session.is_closed() => return Err(error),
                    Err(error) => error.chain(),
                },
            };
            counts.left_out.insert(table.name.clone(), reason);
        }
        session.simple(LOOKUP, "lift a limit", "SET statement_timeout = '60s'").await?;
        let ended = activity(session).await?;
        for (name, rows) in &mut counts.tables {
            rows.ended = ended.get(name).copied().unwrap_or(rows.began);
        }
        Ok(counts)
    }

    /// Facts as of the snapshot that was counted in. Sequences know no snapshot: their values were read when the
    /// snapshot was taken, and no later.
    pub fn exact(self, sequences: &Sequences) -> Vec<Fact> {
        let rows = self.tables.iter().map(|(name, rows)| fact(ROWS, name, rows.count, Bound::Exact));
        let mut facts: Vec<_> = rows.collect();
        facts.extend(sequences.iter().map(|(name, value)| fact(SEQUENCE, name, *value, Bound::AtLeast)));
        facts.extend(left_out(missing(&self.database), &self.left_out));
        facts
    }
}

/// The tables of a database, the largest first. Unlogged ones come back empty, so they are listed as unsuited.
pub(super) async fn list(session: &Session, tables: u32) -> Result<Vec<Table>> {
    let sql = "SELECT quote_ident(current_database()) || '.' || s.name, s.name, c.relpersistence = 'u' \
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, \
            LATERAL (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name) s \
        WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'standstill') \
            AND n.nspname NOT LIKE 'pg\\_%' \
        ORDER BY c.relpersistence = 'u', c.relpages DESC, 1 LIMIT $1";
    // One more than is counted, so that it can be said where the counting ends.
    let limit = i64::from(tables) + 1;
    let rows = session.rows(LOOKUP, "list the tables", sql, &[(&limit, Type::INT8)]).await?;
    rows.iter()
        .zip(1_u32..)
        .map(|(row, number)| {
            let unlogged: bool = column(row, 2)?;
            let unsuited = match unlogged {
                true => Some("it is unlogged, so a restored copy has it empty"),
                false if number > tables => {
                    Some("it and all that are smaller are beyond the number of tables to count")
                }
                false => None,
            };
            Ok(Table { name: column(row, 0)?, sql: column(row, 1)?, unsuited })
        })
        .collect()
}

impl Table {
    /// Whether it can be counted.
    pub fn is_suited(&self) -> bool {
        self.unsuited.is_none()
    }
}

async fn count(session: &Session, table: &Table, left: Duration, in_transaction: bool) -> Result<i64> {
    if in_transaction {
        session.simple(LOOKUP, "set a savepoint", "SAVEPOINT standstill").await?;
    }
    let counted = count_in_time(session, table, left).await;
    if in_transaction {
        let sql =
            if counted.is_ok() { "RELEASE SAVEPOINT standstill" } else { "ROLLBACK TO SAVEPOINT standstill" };
        session.simple(LOOKUP, "return to a savepoint", sql).await?;
    }
    counted
}

async fn count_in_time(session: &Session, table: &Table, left: Duration) -> Result<i64> {
    let limit = left.as_millis().max(1).to_string();
    let sql = "SELECT set_config('statement_timeout', $1, false)";
    session.one(LOOKUP, "limit a count", sql, &[(&limit, Type::TEXT)]).await?;
    let sql = format!("SELECT count(*) FROM ONLY {}", table.sql);
    let row = session.one(left + LOOKUP, &format!("count {}", table.name), &sql, &[]).await?;
    column(&row, 0)
}

async fn activity(session: &Session) -> Result<BTreeMap<String, Activity>> {
    let sql = "SELECT quote_ident(current_database()) || '.' || quote_ident(schemaname) || '.' || quote_ident(relname), \
        n_tup_ins, n_tup_del FROM pg_stat_user_tables";
    let rows = session.rows(LOOKUP, "read the tables' statistics", sql, &[]).await?;
    rows.iter()
        .map(|row| Ok((column(row, 0)?, Activity { inserted: column(row, 1)?, deleted: column(row, 2)? })))
        .collect()
}

async fn database(session: &Session) -> Result<String> {
    let sql = "SELECT quote_ident(current_database())";
    column(&session.one(LOOKUP, "ask for the database", sql, &[]).await?, 0)
}

/// Last values of permanent sequences, where the role may read them.
pub(super) async fn sequences(session: &Session) -> Result<Sequences> {
    let sql = "SELECT quote_ident(current_database()) || '.' || quote_ident(s.schemaname) || '.' || quote_ident(s.sequencename), \
            s.last_value \
        FROM pg_sequences s JOIN pg_namespace n ON n.nspname = s.schemaname \
            JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.sequencename \
        WHERE s.last_value IS NOT NULL AND NOT s.cycle AND s.increment_by > 0 AND c.relpersistence = 'p' \
            AND s.schemaname <> 'standstill' LIMIT 1000";
    let rows = session.rows(LOOKUP, "read the sequences", sql, &[]).await?;
    rows.iter().map(|row| Ok((column(row, 0)?, column(row, 1)?))).collect()
}

/// Facts between a count before the cut and one after it.
pub(super) fn between(before: Option<Counts>, after: Counts) -> Vec<Fact> {
    let Some(before) = before else { return without_bound(&after) };
    let mut facts = Vec::new();
    for (name, one) in &before.tables {
        // A table that is new or gone was not there for the whole time: nothing is known of it at the cut.
        if let Some(other) = after.tables.get(name) {
            let (low, high) = bounds(*one, *other);
            facts.push(fact(ROWS, name, low, Bound::Bounded(json!(high))));
        }
    }
    for (name, one) in &before.sequences {
        // One that went back was reset; nothing can be said of it.
        if after.sequences.get(name).is_some_and(|other| other >= one) {
            facts.push(fact(SEQUENCE, name, *one, Bound::AtLeast));
        }
    }
    let mut reasons = before.left_out;
    reasons.extend(after.left_out);
    facts.extend(left_out(missing(&after.database), &reasons));
    facts
}

/// Between which numbers the rows were at any moment between two counts. Where rows came *and* went, the number
/// in between may have been outside the two counts, by as many as the statistics saw come or go.
fn bounds(before: Rows, after: Rows) -> (i64, i64) {
    let came = (after.ended.inserted - before.began.inserted).max(0);
    let went = (after.ended.deleted - before.began.deleted).max(0);
    let (low, high) = (before.count.min(after.count), before.count.max(after.count));
    if came > 0 && went > 0 {
        (low.min(before.count - went).max(0), high.max(before.count + came))
    } else {
        (low, high)
    }
}

/// Counts that are kept for people only.
pub(super) fn without_bound(counts: &Counts) -> Vec<Fact> {
    let rows = counts.tables.iter().map(|(name, rows)| fact(ROWS, name, rows.count, Bound::None));
    rows.chain(left_out(missing(&counts.database), &counts.left_out)).collect()
}

fn fact(what: &str, name: &str, value: i64, bound: Bound) -> Fact {
    Fact { name: format!("{what}{name}"), value: json!(value), bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: i64, inserted: i64, deleted: i64) -> Rows {
        let activity = Activity { inserted, deleted };
        Rows { count, began: activity, ended: activity }
    }

    fn counts(rows: Rows, sequence: i64) -> Counts {
        Counts {
            database: "app".into(),
            tables: BTreeMap::from([("app.public.t".into(), rows)]),
            sequences: BTreeMap::from([("app.public.s".into(), sequence)]),
            left_out: BTreeMap::new(),
        }
    }

    #[test]
    fn rows_that_only_come_are_between_the_two_counts() {
        let before = counts(rows(5, 5, 0), 5);
        let after = counts(rows(9, 9, 0), 9);
        let facts = between(Some(before), after);
        assert_eq!(facts[0], fact(ROWS, "app.public.t", 5, Bound::Bounded(json!(9))));
        assert_eq!(facts[1], fact(SEQUENCE, "app.public.s", 5, Bound::AtLeast));
    }

    #[test]
    fn a_table_that_was_emptied_and_filled_in_between_raises_no_false_alarm() {
        let before = counts(rows(10, 10, 0), 1);
        let after = counts(rows(10, 20, 10), 1);
        let facts = between(Some(before), after);
        assert_eq!(facts[0].agrees(&json!(0)), Some(true));
        assert_eq!(facts[0].agrees(&json!(21)), Some(false));
    }

    #[test]
    fn a_sequence_that_was_reset_is_no_fact() {
        let rows = rows(1, 1, 0);
        assert_eq!(between(Some(counts(rows, 50)), counts(rows, 1)).len(), 1);
    }
}
