//! SQLite: a database that is a file, with no server to ask.
//!
//! ```text
//!   Sqlite (Hook) ── client ──runtime──▶ `agent hold sqlite TASK`
//!      │                                    ├ hold      keeps the write lock under a lease
//!      ├ write_lock      (Hold)  ◀─lines──▶ ├ witness   proves it from outside, counts rows
//!      └ online_backup   (Hold)             └ inspect, checkpoint, backup, check, count, query, end
//! ```
//!
//! # Why every access is in a process of its own
//! POSIX drops all of a process' locks on a file as soon as *any* descriptor of that file is closed in it. The
//! runner reads files to copy them, and may even share its process with the application. So it never opens a
//! database: helpers do, each opening it through SQLite alone. The one that holds the lock does nothing else.
//!
//! # Why a copy that is not atomic is right while the write lock is held
//! `BEGIN IMMEDIATE` takes the RESERVED lock in rollback-journal mode: nobody else may write the database file, and
//! there is no hot journal, since taking the SHARED lock before it rolled one back. No file changes.
//!
//! In WAL mode it takes `WAL_WRITE_LOCK`, and the connection keeps a SHARED lock on the database file. Then
//! - the `-wal` file does not change: frames are appended, the log is restarted and truncated only under
//!   `WAL_WRITE_LOCK`, and it is removed only under an EXCLUSIVE lock on the database file, which our SHARED one
//!   prevents;
//! - a checkpoint of another process is still possible, but only as PASSIVE: FULL, RESTART and TRUNCATE fall back to
//!   it when they cannot have `WAL_WRITE_LOCK` (`sqlite3WalCheckpoint`). It writes into the database file pages
//!   whose newest version stays in the unchanged `-wal`.
//!
//! So a copy of the database file that was torn by such a checkpoint is what a power failure in the middle of a
//! checkpoint leaves, with a complete `-wal` beside it: SQLite reads each page that the log has from the log. It
//! does not matter in which order the two files are copied. The `-shm` is rebuilt by the first process that opens
//! the copy. What is needed is that the capture has both files: they are beside each other in the volume.

mod agent;
mod arguments;
mod client;
mod description;
mod facts;
mod online_backup;
mod task;
mod verbs;
mod write_lock;

pub use agent::holder_main;
pub use verbs::Sqlite;
