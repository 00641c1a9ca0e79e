//! What the runner and a keeper say to each other, one JSON document a line.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use standstill_core::journal::Failure;

use crate::process::launcher::Prepared;

/// The first line to a keeper. It holds secrets, in the environments of the commands.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Start {
    /// How long to hold on without a renewal.
    pub(super) lease_milliseconds: u64,
    /// The deadline for each single command or answer.
    pub(super) timeout_milliseconds: u64,
    /// The keeper's own directory.
    pub(super) directory: PathBuf,
    /// The arguments that come before the name of an `agent` subcommand.
    pub(super) agent_arguments: Vec<String>,
    /// What to run.
    pub(super) program: Program,
}

/// What a keeper runs.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Program {
    /// One-shot commands.
    Pair(PairProgram),
    /// A client that is kept open.
    Session(SessionProgram),
}

/// One-shot commands.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PairProgram {
    /// Acquires.
    pub(super) acquire: Prepared,
    /// Tells whether it is held.
    pub(super) confirm: Option<Prepared>,
    /// Lets go.
    pub(super) release: Prepared,
}

/// A client that is kept open.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SessionProgram {
    /// The client.
    pub(super) client: Prepared,
    /// Lines to acquire with.
    pub(super) send: Vec<String>,
    /// The regular expression for the line that says that it is held.
    pub(super) until: String,
    /// The line that is sent at every renewal.
    pub(super) keep_alive: Option<String>,
    /// The line to ask with, and the regular expression for the answer that says that it is held.
    pub(super) confirm: Option<(String, String)>,
    /// Lines to let go with.
    pub(super) release: Vec<String>,
    /// The regular expression for the line that says that it was let go.
    #[serde(default)]
    pub(super) release_until: Option<String>,
    /// Whether the state outlives the client.
    pub(super) survives_client: bool,
}

/// Every later line to a keeper; each is a renewal too.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Order {
    /// Counts from 1; the reply has it too.
    pub(super) id: u64,
    /// What to do.
    pub(super) order: OrderKind,
}

/// What a keeper can be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum OrderKind {
    /// Hold on for another lease.
    Renew,
    /// Find out whether it is still held.
    Confirm,
    /// Let go.
    Release,
}

/// A line from a keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Reply {
    /// The order that it answers; 0 for the start.
    pub(super) id: u64,
    /// What came of it, or why nothing.
    pub(super) outcome: Result<Said, Failure>,
}

/// What a command or a client said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Said {
    /// The exit status, of a command or of a client that has ended.
    pub(super) exit_code: Option<i32>,
    /// The standard output of a command; the line that was waited for of a client.
    pub(super) stdout: String,
    /// The end of the standard error of a command.
    pub(super) stderr: String,
}
