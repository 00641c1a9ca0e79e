//! An interactive process that is talked to in lines.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use standstill_core::{
    Error, Result,
    runtime::{Exit, Session},
    units::show_duration,
};

use super::{
    launcher::{Launcher, Pipe, Prepared, no_streams},
    lines::{LineWriter, Lines, NoLine},
    tail::{Tail, last_lines},
};
use crate::guard::client::Guarded;

/// How long a process may take to let go by itself when its runner is gone.
const GRACE: Duration = Duration::from_secs(1);

/// How long a process may take to read a line.
const SEND_DEADLINE: Duration = Duration::from_secs(5);

/// An interactive process under a guard.
pub(crate) struct LocalSession {
    program: String,
    guarded: Guarded,
    input: Option<LineWriter>,
    output: Lines,
    tail: Tail,
}

impl LocalSession {
    /// Starts it.
    pub(crate) async fn start(launcher: &Arc<Launcher>, prepared: &Prepared) -> Result<Self> {
        let program = prepared.program().to_owned();
        let pipes = || Ok((Pipe::to_child()?, Pipe::from_child()?, Pipe::from_child()?));
        let (input, output, error) = pipes().map_err(no_streams(&program))?;
        let guarded = launcher.start(prepared, [input.theirs, output.theirs, error.theirs], GRACE).await?;
        let mut session = Self {
            input: Some(LineWriter::new(input.ours).map_err(no_streams(&program))?),
            output: Lines::follow(output.ours).map_err(no_streams(&program))?,
            tail: Tail::follow(error.ours).map_err(no_streams(&program))?,
            program,
            guarded,
        };
        for line in prepared.stdin.iter().flat_map(|text| text.lines()) {
            session.send(line).await?;
        }
        Ok(session)
    }

    /// The guarded process.
    pub(crate) const fn guarded(&self) -> &Guarded {
        &self.guarded
    }

    /// The lines that it said.
    pub(crate) const fn output(&mut self) -> &mut Lines {
        &mut self.output
    }

    /// Whether it can say nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.guarded.ended().is_some() || self.output.is_over()
    }

    /// Closes its standard input without waiting.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// The last lines of its standard error, as an ending of a message.
    pub(crate) fn said(&self) -> String {
        last_lines(&self.tail.text())
    }
}

#[async_trait]
impl Session for LocalSession {
    async fn send(&mut self, line: &str) -> Result<()> {
        let written = match &mut self.input {
            Some(input) => input.write(line, SEND_DEADLINE).await,
            None => Err(std::io::Error::other("its standard input was closed")),
        };
        written.map_err(|cause| {
            Error::failed(format!("{} cannot be told anything more{}", self.program, self.said()))
                .because(cause)
        })
    }

    async fn receive(&mut self, within: Duration) -> Result<String> {
        match self.output.next(within).await {
            Ok(line) => Ok(line),
            Err(NoLine::EndOfFile) => {
                // Its last words and its exit status come just after the end of its output.
                let (how, said) = match self.guarded.wait_at_most(Duration::from_secs(1)).await {
                    Some(ended) => (format!("ended with {}", ended.exit), self.tail.read_to_end().await),
                    None => ("closed its output".to_owned(), self.tail.text()),
                };
                Err(Error::failed(format!("{} {how}{}", self.program, last_lines(&said))))
            }
            Err(NoLine::TooLate) => Err(Error::failed(format!(
                "{} did not answer within {}{}",
                self.program,
                show_duration(within),
                self.said()
            ))),
        }
    }

    async fn close(&mut self, within: Duration) -> Result<Exit> {
        self.close_input();
        let deadline = tokio::time::Instant::now() + within;
        // Its output is read and thrown away, so that a full pipe does not keep it from ending.
        let ended = tokio::time::timeout_at(deadline, async {
            while self.output.next(within).await.is_ok() {}
            self.guarded.wait().await
        });
        if let Ok(ended) = ended.await {
            return Ok(ended.exit);
        }
        self.guarded.kill();
        match self.guarded.wait_at_most(Duration::from_secs(15)).await {
            Some(ended) => Ok(ended.exit),
            None => Err(Error::failed(format!("{} was killed but is not gone", self.program))
                .remedy(format!("Find out what process {} waits for.", self.guarded.child().pid))),
        }
    }
}
