//! A command that is run to its end.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use standstill_core::{
    Error, Result,
    runtime::{Exit, Output},
    units::show_duration,
};
use tokio::{io::AsyncReadExt, net::unix::pipe};
use tokio_util::sync::CancellationToken;

use super::{
    launcher::{Launcher, Pipe, Prepared, feed, no_streams, null},
    tail::{Tail, last_lines},
};
use crate::guard::client::Guarded;

/// The most that a command may write to its standard output.
const STDOUT_LIMIT: u64 = 1024 * 1024;

/// How long a killed child may take to be reported as gone.
const KILLED_DEADLINE: Duration = Duration::from_secs(15);

/// Runs a command to its end. After `timeout` or cancellation it is killed with everything it started.
pub(crate) async fn exec(
    launcher: &Arc<Launcher>,
    prepared: &Prepared,
    timeout: Duration,
    cancel: &CancellationToken,
) -> Result<Output> {
    let program = prepared.program();
    if cancel.is_cancelled() {
        return Err(Error::cancelled(format!("{program} was not started, because the run is ending")));
    }
    let (guarded, output, tail) = start(launcher, prepared).await?;
    let finished = tokio::select! {
        finished = async { tokio::join!(read(output), guarded.wait()) } => finished,
        () = tokio::time::sleep(timeout) => {
            let said = kill(&guarded, &tail).await;
            return Err(Error::failed(format!("{program} did not end within {} and was killed{said}", show_duration(timeout)))
                .remedy("Find out what it waits for, or give the step a longer `timeout`."));
        }
        () = cancel.cancelled() => {
            let said = kill(&guarded, &tail).await;
            return Err(Error::cancelled(format!("{program} was ended before it was done{said}")));
        }
    };
    let (stdout, ended) = finished;
    let stderr = tail.read_to_end().await;
    let Some(stdout) = stdout? else {
        return Err(Error::failed(format!("{program} wrote more than 1 MiB to its standard output"))
            .remedy("Store large output by a `stream` step."));
    };
    if ended.exit == Exit::Unknown {
        return Err(Error::failed(format!("how {program} ended is not known, because its guard was lost")));
    }
    if ended.left > 0 {
        tracing::warn!(program, processes = ended.left, "a command left processes behind, which were ended");
    }
    Ok(Output { exit: ended.exit, stdout, stderr })
}

async fn start(launcher: &Arc<Launcher>, prepared: &Prepared) -> Result<(Guarded, OwnedFd, Tail)> {
    let program = prepared.program();
    let pipes = || {
        let input = match prepared.stdin {
            Some(_) => Some(Pipe::to_child()?),
            None => None,
        };
        Ok((input, Pipe::from_child()?, Pipe::from_child()?, null()?))
    };
    let (input, output, error, nothing) = pipes().map_err(no_streams(program))?;
    let (ours, theirs) = match input {
        Some(pipe) => (Some(pipe.ours), pipe.theirs),
        None => (None, nothing),
    };
    let guarded = launcher.start(prepared, [theirs, output.theirs, error.theirs], Duration::ZERO).await?;
    if let Some(ours) = ours {
        feed(ours, prepared.stdin.clone()).map_err(no_streams(program))?;
    }
    let tail = Tail::follow(error.ours).map_err(no_streams(program))?;
    Ok((guarded, output.ours, tail))
}

/// Reads all of a command's standard output; `None` if it is too much, and then the command is cut off from it.
async fn read(output: OwnedFd) -> Result<Option<String>> {
    let failed = |cause| Error::failed("the standard output of a command cannot be read").because(cause);
    let receiver = pipe::Receiver::from_owned_fd(output).map_err(failed)?;
    let mut bytes = Vec::new();
    receiver.take(STDOUT_LIMIT + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > STDOUT_LIMIT {
        return Ok(None);
    }
    Ok(Some(
        String::from_utf8(bytes)
            .unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned()),
    ))
}

/// Kills the command; what it said last, as an ending of a message.
async fn kill(guarded: &Guarded, tail: &Tail) -> String {
    guarded.kill();
    if guarded.wait_at_most(KILLED_DEADLINE).await.is_none() {
        tracing::warn!(pid = guarded.child().pid, "a killed command is not gone yet");
    }
    last_lines(&tail.text())
}
