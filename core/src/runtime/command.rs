//! Commands, and how they end.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Who a process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunAs {
    /// The runner's own user.
    #[default]
    Runner,
    /// The numeric owner of this file or directory. Only needed, and only possible, for root.
    OwnerOf(PathBuf),
}

/// Where a command runs. On one machine both are this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// Beside the target: where the runner is, with the target's image and volumes.
    #[default]
    Runner,
    /// In the target's own container, with its processes, its sockets and its root.
    Target,
}

/// A command: a list that is never joined into a shell string. Secrets are separate from everything that is shown.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Program and arguments. The program is a path, or a name looked up on `PATH`.
    pub argv: Vec<String>,
    /// Environment variables in addition to a small fixed set (`PATH`, `HOME`, `LANG=C.UTF-8`, `TZ`).
    pub env: BTreeMap<String, String>,
    /// Environment variables whose values are secret.
    pub secret_env: BTreeMap<String, Secret>,
    /// Who it runs as.
    pub run_as: RunAs,
    /// Working directory; the runner's scratch directory by default.
    pub directory: Option<PathBuf>,
    /// Bytes for its standard input; none by default.
    pub stdin: Option<Secret>,
    /// For how long a session may go on when the runner is gone, or after the run's lease when it is silent: what it
    /// puts back does not go with it, so it ends by itself. By default it has a second when the runner is gone, and
    /// none when it is silent.
    pub may_outlive: Duration,
    /// Where it runs. In the target's own container it is always that container's user, and its directory.
    pub place: Place,
}

impl Command {
    /// A command without environment, as the runner's user.
    pub fn new<I, S>(argv: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// The program's file name, for messages.
    pub fn program(&self) -> &str {
        self.argv.first().map_or("", |program| program.rsplit('/').next().unwrap_or(program))
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Unknown: whoever watched it was lost. Never success.
    Unknown,
}

impl Exit {
    /// Whether it ended with status 0.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Status(0))
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "exit status {status}"),
            Self::Signal(signal) => write!(formatter, "signal {signal}"),
            Self::Unknown => formatter.write_str("an unknown status"),
        }
    }
}

/// What a finished command left.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output, at most 1 MiB; more is an error of `exec`.
    pub stdout: String,
    /// The last 64 KiB of its standard error.
    pub stderr: String,
}
