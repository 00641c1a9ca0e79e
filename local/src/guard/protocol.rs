//! What the runner and a guard say to each other over the control socket.
//!
//! First the runner sends the length of the spec (4 bytes, big endian) together with three descriptors (the
//! child's standard input, output and error), then the spec as JSON, then single bytes. The guard answers with
//! JSON lines. Secrets travel in the spec: neither the guard's arguments nor its environment hold any.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use standstill_core::runtime::Exit;

use crate::identity::ProcessIdentity;

/// The runner lives: the lease starts again.
pub(crate) const RENEW: u8 = b'.';
/// Kill the child and all its descendants.
pub(crate) const KILL: u8 = b'K';
/// Ask the child to end, by SIGHUP.
pub(crate) const HANGUP: u8 = b'H';
/// Ask the child to end, by SIGINT.
pub(crate) const INTERRUPT: u8 = b'I';
/// Ask the child to end, by SIGQUIT.
pub(crate) const QUIT: u8 = b'Q';
/// Ask the child to end, by SIGTERM.
pub(crate) const TERMINATE: u8 = b'T';

/// A child as it is to be started. It holds secrets (in the environment), so it is never shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChildSpec {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// The whole environment.
    pub(crate) environment: Vec<(String, String)>,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// Numeric user and group to change to; the guard's own by default.
    pub(crate) user: Option<(u32, u32)>,
}

/// What a guard is told first.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GuardSpec {
    /// The child.
    pub(crate) child: ChildSpec,
    /// How long the child may outlive the last renewal, in milliseconds; what its command allows is in it.
    pub(crate) lease_milliseconds: u64,
    /// How long the child may take to end by itself when the runner is gone, in milliseconds.
    pub(crate) grace_milliseconds: u64,
}

/// What a guard reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Report {
    /// The child runs.
    Started(ProcessIdentity),
    /// The child could not be started.
    Refused {
        /// Whether that is because there is no such program.
        missing: bool,
        /// What the operating system said.
        message: String,
    },
    /// The child and all its descendants are gone. Always the last report.
    Ended(Ended),
}

/// How a guarded child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ended {
    /// The child itself.
    pub(crate) exit: Exit,
    /// How many processes the child had left behind that had to be killed after it ended by itself.
    pub(crate) left: usize,
}

impl Ended {
    /// The end of a child whose guard was lost.
    pub(crate) const UNKNOWN: Self = Self { exit: Exit::Unknown, left: 0 };
}
