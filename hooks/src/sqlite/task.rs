//! What the hook and its helper processes say to each other: one JSON document for the task, JSON lines after it.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// A database: a file in a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Database {
    /// The volume's directory.
    pub directory: PathBuf,
    /// The file, relative to it.
    pub file: PathBuf,
}

/// What one helper process does. It is its only argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Task {
    /// Keeps the write lock; takes [`HoldOrder`]s.
    Hold(HoldTask),
    /// Watches the lock from outside and counts; takes [`WitnessOrder`]s.
    Witness(WitnessTask),
    /// Says which database a volume holds: [`Identity`].
    Identify(IdentifyTask),
    /// Looks whether a database is ready for a backup: [`Inspected`].
    Inspect(InspectTask),
    /// Makes a PASSIVE checkpoint: [`Checkpointed`].
    Checkpoint(Database),
    /// Copies a database online: [`BackedUp`].
    Backup(BackupTask),
    /// Runs the integrity check: a list of problems.
    Check(CopyTask),
    /// Counts rows: a list of [`Count`]s.
    Count(CountTask),
    /// Runs an author's query: its rows.
    Query(QueryTask),
    /// Ends the holder of a dead run: [`Ended`].
    End(Owner),
}

/// Whose hold it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Owner {
    pub run: String,
    pub database: Database,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HoldTask {
    pub owner: Owner,
    pub lease_milliseconds: u64,
    pub wait_milliseconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WitnessTask {
    pub owner: Owner,
    pub lease_milliseconds: u64,
    /// Whether the files are written to the disk inside the hold.
    pub sync: bool,
    /// The number of tables whose rows are counted at most; none if `None`.
    pub tables: Option<u32>,
    /// For how long counting may go on after the release.
    pub count_milliseconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct IdentifyTask {
    pub directory: PathBuf,
    /// The file; where it is not known, the only database in the directory, or the directory itself.
    pub file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InspectTask {
    pub database: Database,
    /// Whether a write lock will be taken.
    pub writable: bool,
}

/// How an online copy is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Method {
    /// SQLite's backup API: page by page, as the database is.
    #[default]
    Backup,
    /// `VACUUM INTO`: rebuilt without free pages.
    Vacuum,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BackupTask {
    pub database: Database,
    pub method: Method,
    /// The directory that the copy goes into; it is made, and emptied if it is there.
    pub into: PathBuf,
    /// For how long a copy may keep writers waiting where it does (rollback-journal mode).
    pub block_milliseconds: u64,
    pub integrity: bool,
    pub tables: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CopyTask {
    pub database: Database,
    /// Where a copy that must be recovered first is copied to, so that the original stays as it is.
    pub scratch: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CountTask {
    pub copy: CopyTask,
    pub tables: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct QueryTask {
    pub copy: CopyTask,
    pub sql: String,
    pub limit: u32,
}

/// An order to the holder. Every order prolongs the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum HoldOrder {
    /// Takes the lock: [`Held`].
    Acquire,
    /// Prolongs the lease.
    Renew,
    /// Says whether the lock has been on since it was taken: [`StillHeld`].
    Confirm,
    /// Lets go: [`StillHeld`], as of the moment before.
    Release,
}

/// An order to the witness. Every order prolongs its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum WitnessOrder {
    /// The lock was taken: looks at it, and opens the reader that counts ([`Watched`]).
    Watch,
    /// Prolongs the lease.
    Renew,
    /// Tries to write, which must be refused: [`Witnessed`].
    Confirm,
    /// The lock is being released: lets go of whatever could make a writer wait.
    Yield,
    /// The counts, as far as they could be made: a list of [`Count`]s.
    Count,
}

/// How changes reach a database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum JournalMode {
    /// By a write-ahead log: a reader keeps nobody waiting.
    Wal,
    /// Directly, with a rollback journal: a reader keeps a commit waiting.
    Rollback,
}

impl JournalMode {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Wal => "wal",
            Self::Rollback => "rollback",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    pub identity: String,
    /// The version of the SQLite that wrote last.
    pub written_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inspected {
    pub page_size: u64,
    pub page_count: u64,
    pub journal_mode: JournalMode,
    /// The database file and its log.
    pub bytes: u64,
    pub wal_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checkpointed {
    pub journal_mode: JournalMode,
    /// Frames in the log.
    pub logged: i64,
    /// Frames of it that are in the database file now.
    pub moved: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackedUp {
    pub page_count: u64,
    pub bytes: u64,
    pub journal_mode: JournalMode,
    /// For how long a commit would have waited for the copy.
    pub froze_microseconds: u64,
    /// From the start of the task to the moment of which the copy is.
    pub cut_microseconds: u64,
    /// From the end of the copying to the end of the task.
    pub after_microseconds: u64,
    /// `None` if it was not asked for.
    pub problems: Option<Vec<String>>,
    pub counts: Vec<Count>,
}

/// The rows of one table; `None` where counting them did not come to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Count {
    pub table: String,
    pub rows: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Held {
    pub pid: i32,
    pub journal_mode: JournalMode,
    pub page_count: u64,
    /// From the receipt of the order to the start of the attempt that succeeded.
    pub waited_microseconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StillHeld {
    pub held_milliseconds: u64,
    pub page_count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Watched {
    pub data_version: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Witnessed {
    /// Changes whenever anybody commits.
    pub data_version: i64,
    /// Whether a write was refused because somebody has the lock.
    pub refused: bool,
    /// The process that has the lock, where the kernel says it.
    pub owner: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ended {
    /// How many helpers of that run were still there.
    pub processes: u64,
}

/// Whole microseconds of a duration.
pub(super) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
