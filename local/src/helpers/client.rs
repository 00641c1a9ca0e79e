//! The runner's side: sessions with helpers in another container.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use async_trait::async_trait;
use rustix::event::{PollFd, PollFlags, poll};
use standstill_core::{
    Error, Result,
    runtime::{Exit, Session},
    units::show_duration,
};

use super::{Ended, KEEP, Wanted};
use crate::process::lines::{LineWriter, Lines, NoLine};

/// How long a helper may take to read a line.
const SEND_DEADLINE: Duration = Duration::from_secs(5);
/// How long the server may take to come up: its container is started after the runner's, by a node that may be busy.
const BEGUN: Duration = Duration::from_mins(1);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// That the runner lives: for as long as it has this, helpers can be started beside it.
#[derive(Debug)]
pub struct Life(
    #[expect(dead_code, reason = "it is held, and closed by the end of this process at the latest")]
    UnixStream,
);

impl Life {
    /// Connects to the server of helpers. Blocks until it is there, for a minute at the most.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn begin(socket: &Path) -> Result<Self> {
        connect(socket, &Wanted::Life).map(Self)
    }
}

fn connect(socket: &Path, wanted: &Wanted) -> Result<UnixStream> {
    let deadline = std::time::Instant::now() + BEGUN;
    let failed = |cause: io::Error| {
        Error::failed(format!("the container for helpers cannot be reached at {}", socket.display()))
            .remedy("Look at the container `helpers` of the run's pod by `kubectl describe pod`.")
            .because(cause)
    };
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(cause) if std::time::Instant::now() > deadline => return Err(failed(cause)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    };
    let line = serde_json::to_string(wanted).map_err(|cause| failed(cause.into()))?;
    writeln!(stream, "{line}").map_err(failed)?;
    Ok(stream)
}

/// Starts a helper, whose arguments follow `agent`: what it is told, and what it says.
fn start(socket: &Path, arguments: Vec<String>, helper: &str) -> Result<(LineWriter, Lines)> {
    let stream = connect(socket, &Wanted::Helper(arguments))?;
    let both = || {
        let input = LineWriter::new(OwnedFd::from(stream.try_clone()?))?;
        io::Result::Ok((input, Lines::of(Awaited(File::from(OwnedFd::from(stream.try_clone()?))))?))
    };
    both().map_err(|cause| Error::failed(format!("the helper `{helper}` cannot be talked to")).because(cause))
}

/// Starts a keeper in another container.
pub(crate) fn start_keeper(socket: &Path) -> Result<(LineWriter, Lines)> {
    start(socket, vec![KEEP.to_owned()], KEEP)
}

/// A helper in another container.
pub(crate) struct RemoteSession {
    helper: String,
    input: Option<LineWriter>,
    output: Lines,
    exit: Option<Exit>,
}

impl RemoteSession {
    /// Starts a helper: `arguments` follow `agent`.
    pub(crate) fn start(socket: &Path, arguments: &[String]) -> Result<Self> {
        let helper = arguments.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(" ");
        let (input, output) = start(socket, arguments.to_vec(), &helper)?;
        Ok(Self { helper, input: Some(input), output, exit: None })
    }

    /// A line of the helper; the server's own last word is noted.
    async fn next(&mut self, within: Duration) -> Result<String, NoLine> {
        let line = self.output.next(within).await?;
        match serde_json::from_str::<Ended>(&line) {
            Ok(ended) => {
                self.exit = Some(ended.exit_status.map_or(Exit::Unknown, Exit::Status));
                Err(NoLine::EndOfFile)
            }
            Err(_) => Ok(line),
        }
    }

    fn ended(&self) -> Error {
        Error::failed(match self.exit {
            Some(exit) => format!("the helper `{}` ended with {exit}", self.helper),
            None => format!("the helper `{}` is gone", self.helper),
        })
        .remedy("Look at the log of the container `helpers` of the run's pod.")
    }
}

#[async_trait]
impl Session for RemoteSession {
    async fn send(&mut self, line: &str) -> Result<()> {
        let written = match &mut self.input {
            Some(input) => input.write(line, SEND_DEADLINE).await,
            None => Err(io::Error::other("its standard input was closed")),
        };
        written.map_err(|cause| {
            Error::failed(format!("the helper `{}` cannot be told anything more", self.helper)).because(cause)
        })
    }

    async fn receive(&mut self, within: Duration) -> Result<String> {
        match self.next(within).await {
            Ok(line) => Ok(line),
            Err(NoLine::EndOfFile) => Err(self.ended()),
            Err(NoLine::TooLate) => Err(Error::failed(format!(
                "the helper `{}` did not answer within {}",
                self.helper,
                show_duration(within)
            ))),
        }
    }

    /// A helper that does not end cannot be killed from here: what it puts back would not be. It ends by itself.
    async fn close(&mut self, within: Duration) -> Result<Exit> {
        self.input = None;
        let ended = tokio::time::timeout(within, async { while self.next(within).await.is_ok() {} });
        match (ended.await, self.exit) {
            (_, Some(exit)) => Ok(exit),
            (Ok(()), None) => Err(self.ended()),
            (Err(_), None) => Err(Error::failed(format!(
                "the helper `{}` did not end within {}",
                self.helper,
                show_duration(within)
            ))),
        }
    }
}

/// A connection that is never waited for by whoever writes to it, and always by whoever reads it.
struct Awaited(File);

impl Read for Awaited {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(into) {
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                    match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(cause) => return Err(cause.into()),
                    }
                }
                read => return read,
            }
        }
    }
}
