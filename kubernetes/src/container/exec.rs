//! A command that is run to its end in the target's container.

use std::time::{Duration, Instant};

use standstill_core::{
    Error, Result,
    runtime::{Command, Exit, Output},
    units::show_duration,
};
use tokio_util::sync::CancellationToken;

use super::{
    Container,
    connection::{Connection, Heard},
    script::{Builder, Script},
};

/// The most that a command may write to its standard output.
const STDOUT_LIMIT: usize = 1024 * 1024;
/// How much of the end of its standard error is kept.
const STDERR_KEPT: usize = 64 * 1024;
/// How long the connection may take.
pub(super) const OPEN: Duration = Duration::from_secs(15);

impl Container {
    /// Runs a command to its end. After `timeout` or cancellation it is killed in the container, with everything that it
    /// started; likewise when this process is gone.
    ///
    /// # Errors
    /// Also when the connection ended without the server saying how the command did.
    pub(crate) async fn exec(
        &self,
        command: &Command,
        timeout: Duration,
        cancel: &CancellationToken,
    ) -> Result<Output> {
        let script = Builder::new("standstill-exec", []).command("ss_command", command)?.exec();
        tokio::select! {
            output = self.run(command.program(), &script, timeout) => output,
            () = cancel.cancelled() => {
                Err(Error::cancelled(format!("{} was ended before it was done", command.program())))
            }
        }
    }

    /// Runs a script to its end.
    pub(super) async fn run(&self, program: &str, script: &Script, timeout: Duration) -> Result<Output> {
        let deadline = Instant::now() + timeout;
        let mut connection = Connection::open(self, script, OPEN.min(timeout)).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match connection.hear(left).await {
                Some(Heard::Output(bytes)) => stdout.extend_from_slice(&bytes),
                Some(Heard::Error(bytes)) => {
                    stderr.extend_from_slice(&bytes);
                    let surplus = stderr.len().saturating_sub(STDERR_KEPT);
                    stderr.drain(..surplus);
                }
                Some(Heard::Ended(status)) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let (stdout, stderr) = (text(&stdout), text(&stderr));
                    return Ok(Output { exit: Exit::Status(status), stdout, stderr });
                }
                Some(Heard::Lost(why)) => return Err(self.not_known(program, &why)),
                None => {
                    return Err(Error::failed(format!(
                        "{program} did not end within {} in {} and was killed",
                        show_duration(timeout),
                        self.show()
                    ))
                    .remedy("Find out what it waits for, or give the step a longer `timeout`."));
                }
            }
            if stdout.len() > STDOUT_LIMIT {
                return Err(Error::failed(format!("{program} wrote more than 1 MiB to its standard output"))
                    .remedy("Store large output by a `stream` step."));
            }
        }
    }

    /// How a command ended is not known.
    pub(super) fn not_known(&self, program: &str, why: &str) -> Error {
        let error = Error::temporary(format!("how {program} ended in {} is not known: {why}", self.show()));
        if why.contains("executable file not found") || why.contains("no such file or directory") {
            error.of_kind(standstill_core::ErrorKind::Input).remedy(
                "Its image has no shell: have the blueprint run this beside the target by `in: runner`.",
            )
        } else {
            error.remedy("Look at the pod, at its node's kubelet and at the API server.")
        }
    }
}
