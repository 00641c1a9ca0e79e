//! What the two databases say differently, as data: nothing else in this room asks which of them it talks to.

use std::{collections::BTreeMap, time::Duration};

use super::{copy::Scratch, lease::Limits, names::Name};

/// One of the databases that speak MySQL's protocol.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// The hook's name.
    pub hook: &'static str,
    /// The database, for people.
    pub product: &'static str,
    /// The other one, whose servers are refused.
    pub other: &'static str,
    /// Whether a server of that version is one of these.
    pub is_ours: fn(&str) -> bool,
    /// The oldest version, as major and minor number.
    pub oldest: (u32, u32),
    /// The name of the socket of a server that a run started, in its private directory.
    pub socket: &'static str,
    /// What a session starts with: it outranks what the server, the user or `init_connect` may have set.
    pub session: &'static str,
    /// Has the server end a session by itself when its client falls silent, and statements that run for longer than
    /// their share of the lease.
    pub arm: fn(&Limits, Duration) -> String,
    /// Lifts the limits of a session for a statement that may take long.
    pub patient: &'static str,
    /// Counts a table, in no more than the given time.
    pub count: fn(&Name, Duration) -> String,
    /// What the whole server did since it started: rows written, rows deleted, and statements that replace or empty
    /// tables without a row being deleted.
    pub activity: &'static str,
    /// Statements of others that run for longer than `?` seconds, the oldest first: connection, user, seconds, first
    /// word. Only those that change something, unless readers are in the way too.
    pub busy: fn(readers: bool) -> String,
    /// Statements that wait for the server's lock for backups: connection, user and host, first word.
    pub waiting: &'static str,
    /// The table of the server's variables.
    pub variables: &'static str,
    /// The variables that are recorded with a backup. The first ones decide whether a copy starts at all.
    pub recorded: &'static [&'static str],
    /// Shows whether it follows another server, running or stopped.
    pub replication: &'static str,
    /// The same for a user who may not ask that: it counts replication that runs.
    pub replicating: &'static str,
    /// The last transactions that the binary log knows.
    pub transactions: &'static str,
    /// The last number of each series of transactions, out of that.
    pub sequences: fn(&str) -> BTreeMap<String, u64>,
    /// Where it keeps its files: what is there, and the expression that says where.
    pub places: &'static [(&'static str, &'static str)],
    /// Tablespaces outside of the data directory: name and file.
    pub tablespaces: &'static str,
    /// How a data directory is known to be the server's.
    pub binding: Binding,
    /// What a physical backup needs to be granted, with the reason for each.
    pub backup_grants: &'static [(&'static str, &'static str)],
    /// The same for a dump.
    pub dump_grants: &'static [(&'static str, &'static str)],
    /// The configuration of a scratch server.
    pub scratch: Scratch,
}

/// How a data directory that can be seen from here is known to be the one that the server runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// The redo log's checkpoint, read from the file, must be one that the server has just had. No two servers
    /// agree on it, except copies of one another that never wrote since.
    Checkpoint,
    /// The server's identity in `auto.cnf`, which no two servers may share.
    Identity,
}
