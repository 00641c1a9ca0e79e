//! Facts: rows of tables and ids of transactions, counted over a connection that is not the hold's.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use standstill_core::{
    Error, Result,
    point::{Bound, Fact},
};

use super::{
    connect::{LOOKUP, Session, column},
    engines::SYSTEM,
    lease::Limits,
    names::Name,
};
use crate::server::facts::{ROWS, left_out};

/// What a fact about the last transaction of a series begins with: of MariaDB domain and server follow, of MySQL the server's
/// identity.
pub(crate) const TRANSACTION: &str = "last transaction ";
/// The name of the fact about everything that was not counted.
const LEFT_OUT: &str = "not counted";

/// A table, and why it is not counted, if it is not.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    name: Name,
    transactional: bool,
    unsuited: Option<&'static str>,
}

/// What the whole server did since it started: the only counters that there are in every version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Activity {
    written: u64,
    deleted: u64,
    /// Statements that replace or empty tables without a row being deleted.
    definitions: u64,
}

/// What was counted at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    rows: BTreeMap<Name, u64>,
    left_out: BTreeMap<Name, String>,
    began: Activity,
    ended: Activity,
}

impl Counts {
    /// Counts the largest tables, each in a statement of its own.
    ///
    /// A table that cannot be counted, or not in time, is left out with the reason.
    pub async fn of(session: &Session, tables: u32, within: Duration) -> Result<Self> {
        let list = list(session, tables).await?;
        let began = activity(session).await?;
        let mut counts = Self::listed(session, &list, within).await?;
        counts.began = began;
        counts.ended = activity(session).await?;
        Ok(counts)
    }

    async fn listed(session: &Session, list: &[Table], within: Duration) -> Result<Self> {
        let deadline = Instant::now() + within;
        let mut counts = Self::default();
        for table in list {
            let left = deadline.saturating_duration_since(Instant::now());
            let reason = match table.unsuited {
                Some(reason) => reason.to_owned(),
                None if left.is_zero() => "there was no time left".to_owned(),
                None => match count(session, &table.name, left).await {
                    Ok(rows) => {
                        counts.rows.insert(table.name.clone(), rows);
                        continue;
                    }
                    Err(error) if session.is_closed() => return Err(error),
                    Err(error) => error.chain(),
                },
            };
            counts.left_out.insert(table.name.clone(), reason);
        }
        Ok(counts)
    }
}

/// The tables of the users, the largest first.
pub(crate) async fn list(session: &Session, tables: u32) -> Result<Vec<Table>> {
    // One more than is counted, so that it can be said where the counting ends.
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(ENGINE, '') FROM information_schema.TABLES \
         WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA NOT IN {SYSTEM} \
         ORDER BY COALESCE(DATA_LENGTH, 0) DESC, 1, 2 LIMIT {}",
        u64::from(tables) + 1
    );
    let rows = session.rows(LOOKUP * 6, "list the tables", &sql, Vec::new()).await?;
    let table = |(row, number): (_, u32)| -> Result<Table> {
        let engine: String = column(row, 2)?;
        let unsuited = match engine.as_str() {
            "MEMORY" => Some("it lives in memory, so a restored copy has it empty"),
            "InnoDB" | "Aria" | "MyISAM" if number > tables => {
                Some("it and all that are smaller are beyond the number of tables to count")
            }
            "InnoDB" | "Aria" | "MyISAM" => None,
            _ => Some("its engine may keep it elsewhere"),
        };
        let name = Name { schema: column(row, 0)?, table: column(row, 1)? };
        Ok(Table { name, transactional: engine == "InnoDB", unsuited })
    };
    rows.iter().zip(1_u32..).map(table).collect()
}

async fn count(session: &Session, name: &Name, left: Duration) -> Result<u64> {
    let sql = (session.dialect().count)(name, left.max(Duration::from_millis(1)));
    column(&session.one(left + LOOKUP, &format!("count {name}"), &sql).await?, 0)
}

async fn activity(session: &Session) -> Result<Activity> {
    let row = session.one(LOOKUP, "read the server's counters", session.dialect().activity).await?;
    // Sums of texts come as floating-point numbers, which hold integers of this size exactly.
    let number = |index| column::<f64>(&row, index).map(whole);
    Ok(Activity { written: number(0)?, deleted: number(1)?, definitions: number(2)? })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a counter, never negative or fractional"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

/// A transaction that sees what had been committed when commits were blocked, and counts of tables that have no
/// transactions, made while nothing could write to them.
pub(crate) struct Snapshot {
    session: Session,
    list: Vec<Table>,
    counted: Counts,
    position: Option<Value>,
}

impl Snapshot {
    /// Opens it. Commits are blocked meanwhile, so nothing here waits for long.
    pub async fn open(session: Session, list: Vec<Table>, limits: &Limits) -> Result<Self> {
        let within = limits.answer();
        let attempt = "open a snapshot for counting";
        for sql in [
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ] {
            session.run(within, attempt, sql).await?;
        }
        let sql = "SHOW STATUS LIKE 'binlog\\_snapshot\\_%'";
        let rows = session.rows(within, attempt, sql, Vec::new()).await?;
        let values = rows.iter().map(|row| column::<String>(row, 1)).collect::<Result<Vec<_>>>()?;
        let position = match values.as_slice() {
            [file, position, ..] if !file.is_empty() => {
                Some(json!({"file": file, "position": position.parse::<u64>().unwrap_or_default()}))
            }
            _ => None,
        };
        let (here, list): (Vec<_>, Vec<_>) =
            list.into_iter().partition(|table| !table.transactional && table.unsuited.is_none());
        let counted = Counts::listed(&session, &here, limits.statement).await?;
        Ok(Self { session, list, counted, position })
    }

    /// The binary log's position that the transaction sees.
    pub fn position(&self) -> Option<Value> {
        self.position.clone()
    }

    /// Keeps the session from being ended; best effort, for without it only the facts are lost.
    pub async fn renew(&self, within: Duration) {
        if let Err(error) = self.session.run(within, "keep the snapshot", "DO 0").await {
            tracing::warn!(error = error.chain(), "the snapshot for counting is lost");
        }
    }

    /// Counts, and ends the transaction.
    pub async fn facts(self, within: Duration) -> Result<Vec<Fact>> {
        let Counts { mut rows, left_out: mut reasons, .. } =
            Counts::listed(&self.session, &self.list, within).await?;
        rows.extend(self.counted.rows);
        reasons.extend(self.counted.left_out);
        self.session.close().await;
        let mut facts: Vec<_> = rows.iter().map(|(name, count)| fact(name, *count, Bound::Exact)).collect();
        facts.extend(left_out(LEFT_OUT, &reasons));
        Ok(facts)
    }
}

/// Facts between a count before the cut and one after it.
pub(crate) fn between(before: Counts, after: Counts) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (name, one) in &before.rows {
        // A table that is new or gone was not there for the whole time: nothing is known of it at the cut.
        if let Some(other) = after.rows.get(name) {
            let (low, high) = bounds((*one, *other), before.began, after.ended);
            let bound = high.map_or(Bound::None, |high| Bound::Bounded(json!(high)));
            facts.push(fact(name, low, bound));
        }
    }
    let mut reasons = before.left_out;
    reasons.extend(after.left_out);
    facts.extend(left_out(LEFT_OUT, &reasons));
    facts
}

/// Between which numbers the rows were at any moment between two counts; no upper one where nothing is known.
///
/// The server counts rows that came and went for all tables together. Where some came *and* some went, a table may
/// have been outside of its two counts. By how many, nobody knows: rows that a foreign key deleted are not counted.
fn bounds(counts: (u64, u64), began: Activity, ended: Activity) -> (u64, Option<u64>) {
    let (low, high) = (counts.0.min(counts.1), counts.0.max(counts.1));
    if ended.definitions != began.definitions {
        return (low, None);
    }
    let came = ended.written.saturating_sub(began.written);
    let went = ended.deleted.saturating_sub(began.deleted);
    if came > 0 && went > 0 { (0, Some(high.max(counts.0 + came))) } else { (low, Some(high)) }
}

/// Facts about the last transactions of each series, from those when the hold was reached and after the cut.
/// `still`: nothing could be committed in between.
pub(crate) fn of_transactions(
    begin: &BTreeMap<String, u64>,
    end: &BTreeMap<String, u64>,
    still: bool,
) -> Vec<Fact> {
    let both = begin.iter().filter_map(|(series, one)| Some((series, *one, *end.get(series)?)));
    both.map(|(series, one, other)| {
        let bound = if still && one == other { Bound::Exact } else { Bound::Bounded(json!(other)) };
        Fact { name: format!("{TRANSACTION}{series}"), value: json!(one), bound }
    })
    .collect()
}

/// Nothing was counted, and why.
pub(crate) fn uncounted(error: &Error) -> Fact {
    Fact { name: LEFT_OUT.into(), value: json!(error.chain()), bound: Bound::None }
}

fn fact(name: &Name, value: u64, bound: Bound) -> Fact {
    Fact { name: format!("{ROWS}{name}"), value: json!(value), bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: u64, written: u64, deleted: u64, definitions: u64) -> Counts {
        let name = Name { schema: "app".into(), table: "t".into() };
        let activity = Activity { written, deleted, definitions };
        Counts { rows: BTreeMap::from([(name, rows)]), began: activity, ended: activity, ..Counts::default() }
    }

    #[test]
    fn rows_that_only_come_are_between_the_two_counts() {
        let facts = between(counts(5, 5, 0, 1), counts(9, 9, 0, 1));
        assert_eq!(
            facts,
            [Fact { name: "rows app.t".into(), value: json!(5), bound: Bound::Bounded(json!(9)) }]
        );
    }

    #[test]
    fn a_table_that_was_emptied_and_filled_in_between_raises_no_false_alarm() {
        let facts = between(counts(10, 10, 0, 1), counts(10, 20, 10, 1));
        assert_eq!(facts[0].agrees(&json!(0)), Some(true));
        assert_eq!(facts[0].agrees(&json!(21)), Some(false));
        let truncated = between(counts(10, 10, 0, 1), counts(3, 13, 0, 2));
        assert_eq!(truncated[0].agrees(&json!(0)), None);
    }

    #[test]
    fn a_transaction_id_is_exact_only_where_nothing_was_committed_meanwhile() {
        let at = |number| BTreeMap::from([("0-7".to_owned(), number)]);
        let exact = of_transactions(&at(5), &at(5), true);
        assert_eq!(exact[0].bound, Bound::Exact);
        assert_eq!(exact[0].name, "last transaction 0-7");
        let bounded = of_transactions(&at(5), &at(9), false);
        assert_eq!(bounded[0].agrees(&json!(7)), Some(true));
        assert_eq!(bounded[0].agrees(&json!(10)), Some(false));
    }
}
