//! Connections to a database, and SQLite's errors in the framework's words.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use standstill_core::{Error, Result};

use super::super::task::JournalMode;

/// The pause between two attempts to read while a writer has its exclusive lock (rollback-journal mode, recovery).
/// SQLite's own pauses grow up to 100 ms; a busy writer leaves the file free for moments only, and they miss them.
const PAUSE: Duration = Duration::from_micros(200);
/// The number of attempts: some ten seconds.
const ATTEMPTS: i32 = 40_000;

/// Opens a database that is in use, to read and to lock it.
///
/// It never makes one, and closing it never checkpoints: that is the application's business, and could take long.
pub(super) fn shared(path: &Path) -> Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// Opens a database that is in use, to read it.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Opens a database that nobody else has open, without locks and without looking at a log.
pub(super) fn alone(path: &Path) -> Result<Connection> {
    let uri = immutable_uri(path)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags).map_err(|cause| fault("open", path, cause))
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let failed = |cause| fault("open", path, cause);
    let mut connection =
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    connection.busy_handler(Some(try_again)).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    // A schema must not make us run the application's functions.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(failed)?;
    Ok(connection)
}

fn try_again(attempts: i32) -> bool {
    std::thread::sleep(PAUSE);
    attempts < ATTEMPTS
}

/// The path as a URI with `immutable=1`.
fn immutable_uri(path: &Path) -> Result<String> {
    use std::fmt::Write;
    let text = path.to_str().ok_or_else(|| {
        Error::input(format!("{} is not UTF-8", path.display())).remedy("Rename the database file.")
    })?;
    let mut uri = String::from("file:");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _infallible = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?immutable=1");
    Ok(uri)
}

/// How changes reach the database file.
pub(super) fn journal_mode(connection: &Connection, path: &Path) -> Result<JournalMode> {
    let mode: String = connection
        .query_row("PRAGMA journal_mode", (), |row| row.get(0))
        .map_err(|cause| fault("read the journal mode of", path, cause))?;
    Ok(if mode == "wal" { JournalMode::Wal } else { JournalMode::Rollback })
}

/// A whole number that a `PRAGMA` answers.
pub(super) fn number(connection: &Connection, path: &Path, pragma: &str) -> Result<i64> {
    connection
        .query_row(&format!("PRAGMA {pragma}"), (), |row| row.get(0))
        .map_err(|cause| fault(&format!("read {pragma} of"), path, cause))
}

/// How many pages the database has.
pub(super) fn page_count(connection: &Connection, path: &Path) -> Result<u64> {
    Ok(u64::try_from(number(connection, path, "page_count")?).unwrap_or(0))
}

/// Whether somebody else has a lock that is in the way.
pub(super) fn is_busy(cause: &rusqlite::Error) -> bool {
    matches!(cause.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What a failure of SQLite means for an operator.
pub(super) fn fault(attempt: &str, path: &Path, cause: rusqlite::Error) -> Error {
    let message = format!("cannot {attempt} the database {}", path.display());
    let error = match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::temporary(message).remedy(
            "Try again; if it stays so, find out which process keeps the database locked (`locking_mode=EXCLUSIVE`, \
             or a transaction left open).",
        ),
        Some(ErrorCode::NotADatabase) => Error::input(message)
            .remedy("Check `file`: it is not a SQLite database, or it is encrypted by the application."),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => Error::input(message)
            .remedy("Run as a user who may write the database's files and its directory."),
        Some(ErrorCode::DatabaseCorrupt) => {
            Error::damaged(message).remedy("Restore it from an earlier recovery point: its pages are damaged.")
        }
        Some(ErrorCode::DiskFull) => Error::failed(message).remedy("Make room on the file system."),
        _ => Error::failed(message),
    };
    error.because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_hides_nothing_of_a_path() {
        let uri = immutable_uri(Path::new("/data/50% of?x#y.db")).unwrap();
        assert_eq!(uri, "file:/data/50%25%20of%3Fx%23y.db?immutable=1");
    }
}
