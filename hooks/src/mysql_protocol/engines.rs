//! Which engines hold the tables: it decides how far a backup stage must go.

use std::collections::BTreeMap;

use standstill_core::Result;

use super::connect::{LOOKUP, Session, column};

/// Tables that are the server's own, or no tables at all.
pub(crate) const SYSTEM: &str = "('mysql', 'sys', 'performance_schema', 'information_schema')";

/// The tables that are not InnoDB's, by engine: how many, and the first by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Others(BTreeMap<String, (u64, String)>);

impl Others {
    /// Looks at every table of the users.
    pub async fn of(session: &Session) -> Result<Self> {
        let sql = format!(
            "SELECT ENGINE, COUNT(*), MIN(CONCAT(TABLE_SCHEMA, '.', TABLE_NAME)) FROM information_schema.TABLES \
             WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') AND TABLE_SCHEMA NOT IN {SYSTEM} \
               AND COALESCE(ENGINE, '') NOT IN ('InnoDB', 'MEMORY') GROUP BY ENGINE"
        );
        let rows = session.rows(LOOKUP * 6, "look at the tables' engines", &sql, Vec::new()).await?;
        let other = |row| -> Result<_> {
            let engine: Option<String> = column(row, 0)?;
            Ok((engine.unwrap_or_else(|| "unknown".into()), (column(row, 1)?, column(row, 2)?)))
        };
        Ok(Self(rows.iter().map(other).collect::<Result<_>>()?))
    }

    /// Whether every table is InnoDB's. Tables in memory do not count: a restored server has them empty anyway.
    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// For people: `3 MyISAM (the first is app.log)`.
    pub fn describe(&self) -> String {
        if self.are_none() {
            return "all tables are InnoDB".into();
        }
        let each =
            self.0.iter().map(|(engine, (count, first))| format!("{count} {engine} (the first is {first})"));
        each.collect::<Vec<_>>().join(", ")
    }
}
