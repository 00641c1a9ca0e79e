//! A hold of one-shot commands.

use std::{sync::Arc, time::Duration};

use standstill_core::{
    Error, Result,
    runtime::{Exit, Output},
};
use tokio_util::sync::CancellationToken;

use super::protocol::{PairProgram, Said};
use crate::process::{
    exec::exec,
    launcher::{Launcher, Prepared},
    tail::last_lines,
};

/// The commands, and how they are run.
pub(super) struct Pair {
    /// The commands.
    pub(super) program: PairProgram,
    /// Starts them.
    pub(super) launcher: Arc<Launcher>,
    /// The deadline for each.
    pub(super) timeout: Duration,
}

impl Pair {
    /// Acquires. After cancellation the command has been killed, and whether it is held is not known.
    pub(super) async fn acquire(&self, cancel: &CancellationToken) -> Result<Said> {
        let command = &self.program.acquire;
        succeeded(command.program(), exec(&self.launcher, command, self.timeout, cancel).await?)
    }

    /// Runs the command that tells whether it is held. The runner judges what it says.
    pub(super) async fn confirm(&self) -> Result<Said> {
        match &self.program.confirm {
            Some(command) => Ok(said(self.run(command).await?)),
            None => Ok(Said::default()),
        }
    }

    /// Lets go.
    pub(super) async fn release(&self) -> Result<Said> {
        let command = &self.program.release;
        succeeded(command.program(), self.run(command).await?)
    }

    async fn run(&self, command: &Prepared) -> Result<Output> {
        // Nothing cancels it from outside: whoever gives up drops the future.
        exec(&self.launcher, command, self.timeout, &CancellationToken::new()).await
    }
}

/// What a command said that had to succeed.
pub(super) fn succeeded(program: &str, output: Output) -> Result<Said> {
    if output.exit.is_success() {
        return Ok(said(output));
    }
    let text = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
    Err(Error::failed(format!("{program} ended with {}{}", output.exit, last_lines(text))))
}

fn said(output: Output) -> Said {
    let exit_code = match output.exit {
        Exit::Status(status) => Some(status),
        Exit::Signal(_) | Exit::Unknown => None,
    };
    Said { exit_code, stdout: output.stdout, stderr: output.stderr }
}
