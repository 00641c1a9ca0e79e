//! Talking to a process in lines, with deadlines.
//!
//! A thread reads and a descriptor that never blocks is written to, so it works from every thread and every
//! executor alike: a hold's renewals run on their own.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::sync::mpsc;

/// The longest line that is read; a longer one is cut into several.
const LONGEST: u64 = 1024 * 1024;

/// How many lines may wait to be received before the process has to wait.
const WAITING: usize = 1024;

/// The lines that a process says.
pub(crate) struct Lines(mpsc::Receiver<String>);

/// Why there is no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLine {
    /// The process closed the stream.
    EndOfFile,
    /// There was none in time.
    TooLate,
}

impl Lines {
    /// Reads a stream until its end.
    pub(crate) fn follow(stream: OwnedFd) -> io::Result<Self> {
        Self::of(File::from(stream))
    }

    /// Reads anything that waits for its bytes until its end.
    pub(crate) fn of(stream: impl io::Read + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        std::thread::Builder::new().name("lines".to_owned()).spawn(move || {
            let mut reader = BufReader::new(stream);
            loop {
                let mut line = Vec::new();
                match io::Read::take(&mut reader, LONGEST).read_until(b'\n', &mut line) {
                    Ok(count) if count > 0 => {}
                    Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(_) | Err(_) => break,
                }
                let text = String::from_utf8_lossy(&line);
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                if sender.blocking_send(text.to_owned()).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self(receiver))
    }

    /// The next line. Cancel safe: a line that was not returned is returned by the next call.
    pub(crate) async fn next(&mut self, within: Duration) -> Result<String, NoLine> {
        match tokio::time::timeout(within, self.0.recv()).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Err(NoLine::EndOfFile),
            Err(_) => Err(NoLine::TooLate),
        }
    }

    /// The next line, if it is there already.
    pub(crate) fn ready(&mut self) -> Option<String> {
        self.0.try_recv().ok()
    }

    /// Whether the stream has ended and every line was received.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

/// Where lines for a process are written; the process sees end of file when it is dropped.
pub(crate) struct LineWriter(OwnedFd);

impl Drop for LineWriter {
    fn drop(&mut self) {
        // A connection stays open for as long as it is read from here; a pipe has no other direction, and says so.
        let _closed = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write);
    }
}

impl LineWriter {
    /// Takes over the writing end of a pipe, or of a connection.
    pub(crate) fn new(stream: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&stream, fcntl_getfl(&stream)? | OFlags::NONBLOCK)?;
        Ok(Self(stream))
    }

    /// Writes a line and a line break.
    ///
    /// When it is cancelled or too late, part of the line may have been written.
    pub(crate) async fn write(&mut self, line: &str, within: Duration) -> io::Result<()> {
        let deadline = Instant::now() + within;
        let text = format!("{line}\n");
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match rustix::io::write(&self.0, rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {
                    // The pipe is full, which is rare; no executor's reactor is needed to wait for that.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(rustix::io::Errno::AGAIN) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read"));
                }
                Err(cause) => return Err(cause.into()),
            }
        }
        Ok(())
    }
}
