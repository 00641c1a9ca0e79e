//! Holds that a keeper keeps: what it runs, and what the journal knows in order to let go without it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    runtime::{Command, Place, RunAs},
    secret::Secret,
};

/// How a keeper's hold is acquired, proven and let go: the blueprint's `pair` and `session` steps.
#[derive(Debug, Clone)]
pub enum KeeperProgram {
    /// One-shot commands.
    Pair {
        /// Acquires; status 0 means held.
        acquire: Command,
        /// Says whether it is held, with an expression over `result` that must be true.
        confirm: Option<(Command, String)>,
        /// Lets go. It must be safe to run again.
        release: Command,
    },
    /// A client that is kept open.
    Session {
        /// The client.
        client: Command,
        /// Lines to acquire with.
        send: Vec<String>,
        /// A regular expression for the line that says that it is held.
        until: String,
        /// A line that keeps the client's connection alive, sent at every renewal.
        keep_alive: Option<String>,
        /// A line to ask with, and a regular expression for the answer that says that it is held.
        confirm: Option<(String, String)>,
        /// Lines to let go with.
        release: Vec<String>,
        /// A regular expression for the line that says that it was let go.
        release_until: Option<String>,
        /// Whether the state outlives the client, so that the release lines must be run by a new client.
        survives_client: bool,
    },
}

/// A hold that a keeper keeps: it does not depend on the runner, and lets go when renewals stop.
#[derive(Debug, Clone)]
pub struct KeeperSpec {
    /// The step's name.
    pub name: String,
    /// What it runs.
    pub program: KeeperProgram,
    /// How long it holds on without a renewal.
    pub lease: Duration,
    /// The deadline for each single command or answer.
    pub timeout: Duration,
}

impl KeeperSpec {
    /// Where it is kept.
    pub const fn place(&self) -> Place {
        match &self.program {
            KeeperProgram::Pair { release: command, .. } | KeeperProgram::Session { client: command, .. } => {
                command.place
            }
        }
    }
}

/// How to let go without the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ReleaseRecord {
    /// By a command.
    Command(CommandRecord),
    /// By lines to a new client.
    Client {
        /// The client.
        client: CommandRecord,
        /// The lines.
        lines: Vec<String>,
        /// A regular expression for the line that says that it was let go.
        #[serde(default)]
        until: Option<String>,
    },
    /// The hold is gone when its client is.
    WithItsClient,
}

/// A command without its secret values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandRecord {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    secret_env: Vec<String>,
    run_as: RunAs,
    directory: Option<PathBuf>,
    #[serde(default)]
    place: Place,
}

impl ReleaseRecord {
    /// How to let go of what a program acquires.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] when it takes standard input, which a journal cannot keep.
    pub fn of(program: &KeeperProgram) -> Result<Self> {
        Ok(match program {
            KeeperProgram::Pair { release, .. } => Self::Command(CommandRecord::of(release)?),
            KeeperProgram::Session { client, release, release_until, survives_client: true, .. } => {
                Self::Client {
                    client: CommandRecord::of(client)?,
                    lines: release.clone(),
                    until: release_until.clone(),
                }
            }
            KeeperProgram::Session { survives_client: false, .. } => Self::WithItsClient,
        })
    }

    /// What a person does to let go; `None` where it goes with its client.
    pub fn by_hand(&self) -> Option<String> {
        match self {
            Self::Command(command) => Some(format!("`{}`", command.show())),
            Self::Client { client, lines, .. } => {
                Some(format!("`{}` and enter {}", client.show(), lines.join(", ")))
            }
            Self::WithItsClient => None,
        }
    }
}

impl CommandRecord {
    fn of(command: &Command) -> Result<Self> {
        if command.stdin.is_some() {
            return Err(Error::input(format!(
                "the release command {} takes standard input",
                command.program()
            ))
            .remedy(
                "Give secrets to a release by `env`: its input cannot be kept for the case of a crash.",
            ));
        }
        Ok(Self {
            argv: command.argv.clone(),
            env: command.env.clone(),
            secret_env: command.secret_env.keys().cloned().collect(),
            run_as: command.run_as.clone(),
            directory: command.directory.clone(),
            place: command.place,
        })
    }

    /// The command, with its secrets.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] when one of them is not given.
    pub fn with_secrets(&self, secrets: &BTreeMap<String, Secret>) -> Result<Command> {
        let mut secret_env = BTreeMap::new();
        for name in &self.secret_env {
            let secret = secrets.get(name).ok_or_else(|| {
                Error::input(format!("the secret for {name} is needed to let go with {}", self.show()))
                    .remedy("Give the secret parameters again.")
            })?;
            secret_env.insert(name.clone(), secret.clone());
        }
        Ok(Command {
            argv: self.argv.clone(),
            env: self.env.clone(),
            secret_env,
            run_as: self.run_as.clone(),
            directory: self.directory.clone(),
            place: self.place,
            ..Command::default()
        })
    }

    /// The command for people.
    pub fn show(&self) -> String {
        self.argv.join(" ")
    }
}
