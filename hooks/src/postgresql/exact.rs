//! Exact facts of a physical backup: a short SHARE lock, a named restore point, and one snapshot under it.

use std::time::{Duration, Instant};

use standstill_core::{Error, Result, point::Fact};
use tokio_postgres::types::Type;

use super::{
    connect::{LOOKUP, Session, column},
    facts::{self, Counts, Sequences, Table},
    server::Server,
    settings::Target,
    wal::Lsn,
};

/// How often the lock is tried before the facts are given up.
const TRIES: u32 = 5;
/// The longest that writers may wait for one try.
const LOCK: Duration = Duration::from_secs(2);

/// A snapshot of the restore point's moment, to be counted in after the locks are gone.
pub(super) struct Exact {
    /// The restore point: a restored copy must stop at it.
    pub name: String,
    /// Recovery needs the WAL up to here.
    pub end: Lsn,
    /// For how long writers of the counted tables waited, at most.
    pub froze: Duration,
    reader: Session,
    tables: Vec<Table>,
    sequences: Sequences,
}

impl Exact {
    /// Keeps the snapshot from being ended by the server while something else is done.
    pub async fn awake<T>(&self, every: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.reader.awake(every, work).await?
    }

    /// Counts inside the snapshot. A count that fails costs facts, not the backup.
    pub async fn count(self, within: Duration) -> Vec<Fact> {
        let counted = Counts::listed(&self.reader, &self.tables, within, true).await;
        let Self { reader, sequences, .. } = self;
        reader.close().await;
        match counted {
            Ok(counts) => counts.exact(&sequences),
            Err(error) => {
                tracing::warn!(
                    error = error.chain(),
                    "rows could not be counted in the restore point's snapshot"
                );
                Vec::new()
            }
        }
    }
}

/// Writes the restore point while no counted table changes. Needs two connections besides the hold's.
///
/// # Errors
/// When the locks cannot be had within a few short tries, or the role may not take them.
pub(super) async fn take(target: &Target, server: &Server, tables: u32) -> Result<Exact> {
    let locker = Session::to(target).await?;
    let reader = Session::to(target).await?;
    for session in [&locker, &reader] {
        server.expect_same(&Server::of(session).await?, session.place())?;
    }
    let tables = facts::list(&locker, tables).await?;
    let patience = patience(&locker).await?;
    let (mut froze, mut attempt) = (Duration::ZERO, 1);
    // Before the restore point: whatever comes after it only counts up.
    let sequences = facts::sequences(&reader).await?;
    let (name, end) = loop {
        let name = format!("standstill {} {attempt}", target.run);
        let began = Instant::now();
        let taken = under_lock(&locker, &reader, &tables, patience, &name).await;
        froze += began.elapsed();
        match taken {
            Ok(end) => break (name, end),
            Err(error) if attempt == TRIES || locker.is_closed() || reader.is_closed() => return Err(error),
            Err(error) => tracing::info!(error = error.chain(), attempt, "the tables could not be locked"),
        }
        for session in [&locker, &reader] {
            session.simple(LOOKUP, "roll back", "ROLLBACK").await?;
        }
        // Writers that queued behind the attempt get their turn.
        tokio::time::sleep(patience).await;
        attempt += 1;
    };
    locker.close().await;
    Ok(Exact { name, end, froze, reader, tables, sequences })
}

/// Less than the time after which the server looks for deadlocks: a writer that already holds one of the tables
/// and waits for another must never be the one that is aborted.
async fn patience(session: &Session) -> Result<Duration> {
    let sql = "SELECT setting::int8 FROM pg_settings WHERE name = 'deadlock_timeout'";
    let milliseconds: i64 = column(&session.one(LOOKUP, "ask for deadlock_timeout", sql, &[]).await?, 0)?;
    Ok(LOCK.min(Duration::from_millis(milliseconds.unsigned_abs()) * 4 / 5))
}

async fn under_lock(
    locker: &Session,
    reader: &Session,
    tables: &[Table],
    patience: Duration,
    name: &str,
) -> Result<Lsn> {
    let limit = patience.as_millis();
    let begin = format!("BEGIN; SET LOCAL statement_timeout = {limit}; SET LOCAL synchronous_commit = local");
    locker.simple(LOOKUP, "begin", &begin).await?;
    reader.simple(LOOKUP, "begin", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut names: Vec<_> =
        tables.iter().filter(|table| table.is_suited()).map(|table| table.sql.as_str()).collect();
    names.sort_unstable();
    if !names.is_empty() {
        let only: Vec<_> = names.iter().map(|name| format!("ONLY {name}")).collect();
        let sql = format!("LOCK TABLE {} IN SHARE MODE", only.join(", "));
        locker.simple(patience + LOOKUP, "lock the tables for exact facts", &sql).await.map_err(remedy)?;
    }
    // The first statement takes the snapshot; it reads nothing that waits for a lock.
    reader.one(patience, "take a snapshot", "SELECT 1", &[]).await?;
    let sql = "SELECT pg_create_restore_point($1)::text";
    locker.one(patience, "write the restore point", sql, &[(&name, Type::TEXT)]).await?;
    // A commit that wrote something is what brings the restore point to disk.
    let sql = "SELECT pg_logical_emit_message(true, 'standstill', '')::text";
    locker.one(patience, "write a WAL message", sql, &[]).await?;
    locker.simple(LOOKUP, "commit", "COMMIT").await?;
    let sql = "SELECT pg_current_wal_flush_lsn()::text";
    column::<String>(&locker.one(LOOKUP, "ask how far the WAL is on disk", sql, &[]).await?, 0)?.parse()
}

fn remedy(error: Error) -> Error {
    if error.kind() == standstill_core::ErrorKind::Input {
        return error.remedy("Exact facts lock the tables: GRANT pg_write_all_data to the role (or pg_maintain from 17 on), or use `facts: bounded`.");
    }
    error
}
