//! Reading a database or a copy of one: row counts, the integrity check, an author's query.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::{Connection, InterruptHandle, types::ValueRef};
use serde_json::{Map, Value};
use standstill_core::{Error, Result};

use super::{
    super::task::{CopyTask, Count, CountTask, QueryTask},
    files, open,
};

/// The application's own tables. SQLite's internal ones, views and virtual tables (whose module may be missing
/// here, and whose rows are in tables that are counted) are left out.
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
     AND sql NOT LIKE 'CREATE VIRTUAL TABLE%' ORDER BY name LIMIT ?1";

/// Counting in a thread of its own, in a read transaction that is already open.
pub(super) struct Counting {
    start: Option<SyncSender<()>>,
    interrupt: InterruptHandle,
    results: Receiver<Count>,
    tables: Vec<String>,
    counted: Vec<Count>,
    thread: Option<JoinHandle<()>>,
}

impl Counting {
    /// Opens a read transaction on a database that is in use; its counts are as of now, whenever they are made.
    pub(super) fn begin(path: &Path, limit: u32) -> Result<Self> {
        let failed = |cause| open::fault("read", path, cause);
        let connection = open::reader(path)?;
        connection.execute_batch("BEGIN").map_err(failed)?;
        // The first read is what opens the snapshot.
        let tables = tables(&connection, limit).map_err(failed)?;
        let interrupt = connection.get_interrupt_handle();
        let (start, started) = sync_channel(1);
        let (sender, results) = sync_channel(tables.len().max(1));
        let wanted = tables.clone();
        let thread = std::thread::spawn(move || {
            // An error means that nobody wants counts any more.
            if started.recv().is_ok() {
                for table in wanted {
                    let Ok(rows) = count_rows(&connection, &table) else { return };
                    if sender.send(Count { table, rows: Some(rows) }).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Self { start: Some(start), interrupt, results, tables, counted: Vec::new(), thread: Some(thread) })
    }

    /// Starts counting, if it has not started yet.
    pub(super) fn start(&self) {
        if let Some(start) = &self.start {
            // Full means started already; disconnected means done.
            let _started_before = start.try_send(());
        }
    }

    /// Waits for the counts, but no longer than `within`.
    pub(super) fn finish(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        while self.counted.len() < self.tables.len() {
            match self.results.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(count) => self.counted.push(count),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Ends the read transaction, whether or not all is counted, and gives what there is.
    pub(super) fn stop(&mut self) -> Vec<Count> {
        self.start = None;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            // Again and again, since an interrupt between two statements is lost.
            self.interrupt.interrupt();
            std::thread::sleep(Duration::from_micros(100));
        }
        if let Some(thread) = self.thread.take() {
            // It ends without a panic, and a count that is missing is said to be missing.
            let _ended = thread.join();
        }
        self.counted.extend(self.results.try_iter());
        let rows =
            |table: &String| self.counted.iter().find(|count| count.table == *table).and_then(|c| c.rows);
        self.tables.iter().map(|table| Count { table: table.clone(), rows: rows(table) }).collect()
    }
}

/// The application's tables.
pub(super) fn tables(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<String>> {
    connection.prepare(TABLES)?.query_map([limit], |row| row.get(0))?.collect()
}

/// The rows of one table.
pub(super) fn count_rows(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    let quoted = table.replace('"', "\"\"");
    let rows: i64 =
        connection.query_row(&format!("SELECT count(*) FROM \"{quoted}\""), (), |row| row.get(0))?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

/// The problems that the integrity check finds.
pub(super) fn problems(connection: &Connection, path: &Path) -> Result<Vec<String>> {
    // Damage can also be an error of the check itself; either way it is what was asked for.
    let found = connection.prepare("PRAGMA integrity_check").and_then(|mut statement| {
        statement.query_map((), |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()
    });
    match found {
        Ok(lines) if lines == ["ok"] => Ok(Vec::new()),
        Ok(lines) => Ok(lines),
        Err(cause)
            if matches!(
                cause.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
            ) =>
        {
            Ok(vec![cause.to_string()])
        }
        Err(cause) => Err(open::fault("check", path, cause)),
    }
}

/// Runs the integrity check on a copy.
pub(super) fn check(task: &CopyTask) -> Result<Vec<String>> {
    let (connection, path) = open_copy(task)?;
    problems(&connection, &path)
}

/// Counts the rows of the tables that are there.
pub(super) fn count(task: &CountTask) -> Result<Vec<Count>> {
    let (connection, path) = open_copy(&task.copy)?;
    let failed = |cause| open::fault("count the rows of", &path, cause);
    let there = tables(&connection, u32::MAX).map_err(failed)?;
    task.tables
        .iter()
        .map(|table| {
            let rows =
                there.contains(table).then(|| count_rows(&connection, table)).transpose().map_err(failed)?;
            Ok(Count { table: table.clone(), rows })
        })
        .collect()
}

/// Runs a query that must not change anything: a list of objects.
pub(super) fn query(task: &QueryTask) -> Result<Vec<Value>> {
    let (connection, path) = open_copy(&task.copy)?;
    let failed = |cause: rusqlite::Error| {
        Error::input(format!("the query on {} did not succeed", path.display()))
            .remedy("Try it with `sqlite3 -readonly`.")
            .because(cause)
    };
    let mut statement = connection.prepare(&task.sql).map_err(failed)?;
    if !statement.readonly() {
        return Err(Error::input("the query would change the database")
            .remedy("Write a query that only reads; a change belongs into a command of the application."));
    }
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query(()).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        if found.len() >= task.limit as usize {
            return Err(Error::input(format!("the query has more than {} rows", task.limit))
                .remedy("Add a LIMIT to it, or raise `limit`."));
        }
        let mut object = Map::new();
        for (index, name) in names.iter().enumerate() {
            object.insert(name.clone(), json(row.get_ref(index).map_err(failed)?));
        }
        found.push(Value::Object(object));
    }
    Ok(found)
}

/// A value as JSON; a blob as hexadecimal digits.
fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => hexadecimal(bytes).into(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Opens a database to read it, so that no byte of it changes: read-only, and where it must be recovered first
/// (a rollback journal that is still hot, a log where no index can be made) a copy of the copy is recovered instead.
fn open_copy(task: &CopyTask) -> Result<(Connection, PathBuf)> {
    let path = files::resolve(&task.database)?;
    if files::size(&files::beside(&path, "-journal"))? == 0 {
        let readable = open::reader(&path).and_then(|connection| {
            open::page_count(&connection, &path)?;
            Ok(connection)
        });
        match readable {
            Err(error) if error.kind() == standstill_core::ErrorKind::Input => {}
            opened => return Ok((opened?, path)),
        }
    }
    let into = task.scratch.join("sqlite-recovered");
    let attempt = || -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(&into)?;
        let copy = into.join("copy.db");
        for suffix in ["", "-wal", "-journal"] {
            let (from, to) = (files::beside(&path, suffix), files::beside(&copy, suffix));
            match std::fs::copy(&from, &to) {
                Ok(_) => {}
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && !suffix.is_empty() => {
                    // One of an earlier call must not stay beside this copy.
                    match std::fs::remove_file(&to) {
                        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(cause),
                        _ => {}
                    }
                }
                Err(cause) => return Err(cause),
            }
        }
        Ok(copy)
    };
    let copy = attempt().map_err(|cause| {
        Error::failed(format!("cannot copy {} to recover the copy", path.display()))
            .remedy("Make room for a second copy in the scratch directory.")
            .because(cause)
    })?;
    let connection = open::shared(&copy)?;
    open::page_count(&connection, &copy)?;
    connection.execute_batch("PRAGMA query_only = on").map_err(|cause| open::fault("open", &copy, cause))?;
    Ok((connection, path))
}
