//! Producers and consumers of streams: the data never passes through the guard.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::Arc,
};

use standstill_core::{
    Error, Result,
    runtime::{Consumer, Exit, Producer},
};
use tokio_util::sync::CancellationToken;

use super::{
    launcher::{Launcher, Pipe, Prepared, feed, no_streams, null},
    tail::{Tail, last_lines},
};
use crate::guard::client::Guarded;

/// The process at the other end of a stream.
struct Peer {
    program: String,
    guarded: Arc<Guarded>,
    tail: Tail,
    cancel: CancellationToken,
    bytes: u64,
}

impl Peer {
    fn new(program: &str, guarded: Guarded, tail: Tail, cancel: &CancellationToken) -> Self {
        let guarded = Arc::new(guarded);
        let (killed, cancelled) = (Arc::clone(&guarded), cancel.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = cancelled.cancelled() => killed.kill(),
                _ = killed.wait() => {}
            }
        });
        Self { program: program.to_owned(), guarded, tail, cancel: cancel.clone(), bytes: 0 }
    }

    /// Waits for the process to end by itself; an error if it did not end well. `complete` is what is known of the
    /// stream.
    fn finish(&self, complete: bool) -> Result<()> {
        let ended = self.guarded.wait_blocking();
        let Self { program, bytes, .. } = self;
        let said = last_lines(&self.tail.text_at_end());
        if self.cancel.is_cancelled() {
            return Err(Error::cancelled(format!(
                "{program} was ended after {bytes} bytes, because the run is ending"
            )));
        }
        if !ended.exit.is_success() {
            let how = match ended.exit {
                Exit::Signal(signal) => format!("was killed by signal {signal}"),
                Exit::Status(status) => format!("ended with exit status {status}"),
                Exit::Unknown => "ended in an unknown way, because its guard was lost".to_owned(),
            };
            return Err(Error::failed(format!("{program} {how} after {bytes} bytes{said}"))
                .remedy(format!("Run {program} by hand as the same user to see what is wrong.")));
        }
        if ended.left > 0 {
            return Err(Error::failed(format!(
                "{program} ended after {bytes} bytes but left {} processes behind, which may not have been done{said}",
                ended.left
            ))
            .remedy("Let the command wait for everything that it starts."));
        }
        if complete {
            Ok(())
        } else {
            Err(Error::failed(format!("the stream of {program} was given up after {bytes} bytes")))
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The task that watches for cancellation keeps the guarded process from being dropped with its stream.
        if self.guarded.ended().is_none() {
            self.guarded.kill();
        }
    }
}

/// A producer under a guard.
pub(crate) struct LocalProducer {
    peer: Peer,
    output: Option<File>,
    at_end: bool,
}

impl LocalProducer {
    /// Starts it.
    pub(crate) async fn start(
        launcher: &Arc<Launcher>,
        prepared: &Prepared,
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let program = prepared.program();
        let pipes = || Ok((Pipe::to_child()?, Pipe::from_child()?, Pipe::from_child()?, null()?));
        let (input, output, error, nothing) = pipes().map_err(no_streams(program))?;
        let theirs = if prepared.stdin.is_some() { input.theirs } else { nothing };
        let streams = [theirs, output.theirs, error.theirs];
        let guarded = launcher.start(prepared, streams, std::time::Duration::ZERO).await?;
        feed(input.ours, prepared.stdin.clone()).map_err(no_streams(program))?;
        let tail = Tail::follow(error.ours).map_err(no_streams(program))?;
        let peer = Peer::new(program, guarded, tail, cancel);
        Ok(Self { peer, output: Some(File::from(output.ours)), at_end: false })
    }
}

impl Read for LocalProducer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(output) = &mut self.output else { return Ok(0) };
        let count = output.read(buffer)?;
        self.peer.bytes += count as u64;
        if count == 0 && !buffer.is_empty() {
            self.at_end = true;
        }
        Ok(count)
    }
}

impl Producer for LocalProducer {
    fn finish(&mut self) -> Result<()> {
        if !self.at_end {
            // Whoever read it may have stopped exactly at the end, or may have given up.
            match self.read(&mut [0; 1]) {
                Ok(0) => {}
                Ok(_) | Err(_) => self.peer.guarded.kill(),
            }
        }
        self.output = None;
        self.peer.finish(self.at_end)
    }

    fn said(&self) -> String {
        self.peer.tail.text_at_end()
    }
}

/// A consumer under a guard.
pub(crate) struct LocalConsumer {
    peer: Peer,
    input: Option<File>,
}

impl LocalConsumer {
    /// Starts it. What it writes to its standard output is thrown away.
    pub(crate) async fn start(
        launcher: &Arc<Launcher>,
        prepared: &Prepared,
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let program = prepared.program();
        let pipes = || Ok((Pipe::to_child()?, null()?, Pipe::from_child()?));
        let (input, output, error) = pipes().map_err(no_streams(program))?;
        let streams = [input.theirs, output, error.theirs];
        let guarded = launcher.start(prepared, streams, std::time::Duration::ZERO).await?;
        let tail = Tail::follow(error.ours).map_err(no_streams(program))?;
        Ok(Self { peer: Peer::new(program, guarded, tail, cancel), input: Some(File::from(input.ours)) })
    }
}

impl Write for LocalConsumer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Some(input) = &mut self.input else {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the stream was closed"));
        };
        let count = input.write(buffer)?;
        self.peer.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Consumer for LocalConsumer {
    fn finish(&mut self) -> Result<()> {
        self.input = None;
        self.peer.finish(true)
    }
}
