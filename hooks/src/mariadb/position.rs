//! Where the binary log stands.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use standstill_core::Result;

use crate::mysql_protocol::connect::{Session, column};

/// The position of the binary log, and of its global transaction ids. All empty where there is no binary log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The file's name, and the byte in it.
    pub file: Option<(String, u64)>,
    /// The last transaction of each domain and server: `0-7-812`.
    pub gtid: String,
}

impl Position {
    /// Where it stands now.
    pub async fn of(session: &Session, within: Duration) -> Result<Self> {
        let attempt = "read the binary log's position";
        let rows = session.rows(within, attempt, "SHOW MASTER STATUS", Vec::new()).await?;
        let file = match rows.first() {
            Some(row) => Some((column(row, 0)?, column(row, 1)?)),
            None => None,
        };
        let row = session.one(within, attempt, "SELECT @@gtid_binlog_state").await?;
        Ok(Self { file, gtid: column(&row, 0)? })
    }

    /// For evidence.
    pub fn shown(&self) -> Value {
        match &self.file {
            Some((file, position)) => json!({"file": file, "position": position, "gtid": self.gtid}),
            None => Value::Null,
        }
    }

    /// The last sequence number of each domain and server.
    pub fn sequences(&self) -> BTreeMap<String, u64> {
        sequences(&self.gtid)
    }
}

/// `0-7-812,1-7-3` as `{"0-7": 812, "1-7": 3}`.
pub(super) fn sequences(gtid: &str) -> BTreeMap<String, u64> {
    let each = gtid.split(',').filter_map(|id| id.trim().rsplit_once('-'));
    each.filter_map(|(domain, number)| Some((domain.to_owned(), number.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_ids_are_told_apart_by_domain_and_server() {
        let found = sequences("0-7-812,\n1-7-3");
        assert_eq!(found, BTreeMap::from([("0-7".into(), 812), ("1-7".into(), 3)]));
        assert!(sequences("").is_empty());
    }
}
