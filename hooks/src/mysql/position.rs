//! Where the logs stand.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use standstill_core::Result;

use crate::mysql_protocol::connect::{Session, column};

/// The position of the binary log, its transactions and the redo log, all of one moment: for that the server stops
/// its logs for an instant (`performance_schema.log_status`, 8.0 and later).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// The binary log's file and the byte in it; none where there is no binary log.
    file: Option<(String, u64)>,
    /// The transactions that were executed, if they are numbered.
    gtid: String,
    /// How far InnoDB's redo log is written.
    lsn: u64,
}

impl Position {
    /// Where they stand now.
    pub async fn of(session: &Session, within: Duration) -> Result<Self> {
        let sql = "SELECT JSON_UNQUOTE(JSON_EXTRACT(LOCAL, '$.binary_log_file')), \
                CAST(JSON_EXTRACT(LOCAL, '$.binary_log_position') AS UNSIGNED), \
                COALESCE(JSON_UNQUOTE(JSON_EXTRACT(LOCAL, '$.gtid_executed')), ''), \
                CAST(JSON_EXTRACT(STORAGE_ENGINES, '$.InnoDB.LSN') AS UNSIGNED) \
            FROM performance_schema.log_status";
        let row = session.one(within, "read where the logs stand", sql).await?;
        let file: Option<String> = column(&row, 0)?;
        // Where there is no binary log, the server says so by an empty name or by JSON's null.
        let file = match file.filter(|name| !name.is_empty() && name != "null") {
            Some(name) => Some((name, column::<Option<u64>>(&row, 1)?.unwrap_or_default())),
            None => None,
        };
        Ok(Self { file, gtid: column(&row, 2)?, lsn: column(&row, 3)? })
    }

    /// For evidence.
    pub fn shown(&self) -> Value {
        let (file, position) = self.file.as_ref().map_or((None, None), |(file, at)| (Some(file), Some(at)));
        json!({"file": file, "position": position, "gtid": self.gtid, "lsn": self.lsn})
    }

    /// The last transaction of each series.
    pub fn sequences(&self) -> BTreeMap<String, u64> {
        sequences(&self.gtid)
    }
}

/// `uuid:1-5:7,other:tag:1-3` as `{"uuid": 7, "other:tag": 3}`: a series is a server's identity, and a tag where
/// there is one (8.3 and later).
pub(super) fn sequences(gtid: &str) -> BTreeMap<String, u64> {
    let mut last = BTreeMap::new();
    for set in gtid.split(',') {
        let mut parts = set.split(':').map(str::trim);
        let Some(server) = parts.next().filter(|server| !server.is_empty()) else { continue };
        let mut series = server.to_owned();
        for part in parts {
            let end = part.rsplit_once('-').map_or(part, |(_, end)| end);
            match end.parse::<u64>() {
                Ok(number) => {
                    let highest: &mut u64 = last.entry(series.clone()).or_default();
                    *highest = number.max(*highest);
                }
                Err(_) => series = format!("{server}:{part}"),
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_transaction_of_each_series_is_found_whatever_gaps_and_tags_there_are() {
        let found = sequences("aa-1:1-5:7,\nbb-2:3:nightly:1-3:9:other:2");
        let expected = [("aa-1", 7), ("bb-2", 3), ("bb-2:nightly", 9), ("bb-2:other", 2)];
        assert_eq!(found, expected.map(|(name, number)| (name.to_owned(), number)).into());
        assert!(sequences("").is_empty());
    }
}
