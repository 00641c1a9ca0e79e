//! A hold of a client that is kept open.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use regex::Regex;
use standstill_core::{
    Error, ErrorKind, Result,
    runtime::{Exit, Session},
    units::show_duration,
};

use super::{
    protocol::{Said, SessionProgram},
    record::KeeperFiles,
};
use crate::process::{
    launcher::{Launcher, Prepared},
    session::LocalSession,
};

/// How long an answer to a keep-alive line may be under way when something else is asked.
const ANSWER_UNDER_WAY: Duration = Duration::from_millis(250);

/// The client, and how it is run.
pub(super) struct Client {
    program: SessionProgram,
    until: Regex,
    confirmed: Option<Regex>,
    launcher: Arc<Launcher>,
    files: KeeperFiles,
    timeout: Duration,
    session: Option<LocalSession>,
    /// When the client was sent a keep-alive line whose answer has not been seen.
    asked: Option<Instant>,
}

impl Client {
    /// A client that is not started yet.
    pub(super) fn new(
        program: SessionProgram,
        launcher: Arc<Launcher>,
        files: KeeperFiles,
        timeout: Duration,
    ) -> Result<Self> {
        let confirmed = program.confirm.as_ref().map(|(_, pattern)| regex(pattern)).transpose()?;
        let until = regex(&program.until)?;
        Ok(Self { program, until, confirmed, launcher, files, timeout, session: None, asked: None })
    }

    /// Starts the client and acquires.
    pub(super) async fn acquire(&mut self) -> Result<Said> {
        let session = LocalSession::start(&self.launcher, &self.program.client).await?;
        let session = self.session.insert(session);
        self.files.write_client(session.guarded().child()).map_err(|cause| {
            Error::failed("the keeper cannot note its client")
                .remedy("Free space for the state directory.")
                .because(cause)
        })?;
        for line in &self.program.send {
            session.send(line).await?;
        }
        wait_for(session, &self.until, self.timeout).await
    }

    /// Keeps the client's connection alive.
    pub(super) async fn keep_alive(&mut self) -> Result<()> {
        let session = living(&mut self.session)?;
        if let Some(line) = &self.program.keep_alive {
            while session.output().ready().is_some() {}
            session
                .send(line)
                .await
                .map_err(|error| error.of_kind(standstill_core::ErrorKind::HoldLapsed))?;
            self.asked = Some(Instant::now());
        }
        Ok(())
    }

    /// Asks the client whether it is still held.
    pub(super) async fn confirm(&mut self) -> Result<Said> {
        let session = living(&mut self.session)?;
        let (Some((question, _)), Some(pattern)) = (&self.program.confirm, &self.confirmed) else {
            return Ok(Said::default());
        };
        // An answer to an earlier line must not be taken for the answer to this one.
        let mut quiet = true;
        while session.output().ready().is_some() {
            quiet = false;
        }
        if let (Some(asked), true) = (self.asked.take(), quiet)
            && asked.elapsed() < ANSWER_UNDER_WAY
        {
            let _ = session.output().next(ANSWER_UNDER_WAY.saturating_sub(asked.elapsed())).await;
        }
        session.send(question).await?;
        wait_for(session, pattern, self.timeout).await
    }

    /// Lets go: tells the client so and ends it within `patience`. When the state outlives the client and this one
    /// did not end well, a new client is told. May be called again after an error.
    pub(super) async fn release(&mut self, patience: Duration) -> Result<Said> {
        if let Some(session) = &mut self.session {
            // What was said before says nothing of this.
            while session.output().ready().is_some() {}
            for line in &self.program.release {
                if session.send(line).await.is_err() {
                    break;
                }
            }
            let said = says(session, self.program.release_until.as_deref(), patience).await;
            let exit = session.close(patience).await?;
            self.session = None;
            match said {
                Ok(()) if exit.is_success() || !self.program.survives_client => {
                    return Ok(Said { exit_code: status(exit), ..Said::default() });
                }
                // It went with its client, but nothing shows that it had been on until then.
                Err(error) if !self.program.survives_client => {
                    return Err(error.of_kind(ErrorKind::HoldLapsed));
                }
                _ => {}
            }
        } else if !self.program.survives_client {
            return Ok(Said::default());
        }
        let SessionProgram { client, release, release_until, .. } = &self.program;
        release_by_new_client(&self.launcher, client, release, release_until.as_deref(), self.timeout).await
    }
}

/// Waits until the client says that it was let go, where that is to be waited for: several clients end with status 0
/// after any error.
async fn says(session: &mut LocalSession, pattern: Option<&str>, within: Duration) -> Result<()> {
    let Some(pattern) = pattern else { return Ok(()) };
    wait_for(session, &regex(pattern)?, within).await.map(drop)
}

/// Tells a new client to let go; it must say so, where it can, read everything and end with status 0.
pub(super) async fn release_by_new_client(
    launcher: &Arc<Launcher>,
    client: &Prepared,
    lines: &[String],
    until: Option<&str>,
    timeout: Duration,
) -> Result<Said> {
    let mut session = LocalSession::start(launcher, client).await?;
    for line in lines {
        session.send(line).await?;
    }
    says(&mut session, until, timeout).await?;
    let exit = session.close(timeout).await?;
    if exit.is_success() {
        return Ok(Said { exit_code: status(exit), ..Said::default() });
    }
    Err(Error::failed(format!(
        "a new {} that was told to let go ended with {exit}{}",
        client.program(),
        session.said()
    )))
}

/// The client, if it still lives.
fn living(session: &mut Option<LocalSession>) -> Result<&mut LocalSession> {
    let session = session.as_mut().ok_or_else(|| Error::lapsed("there is no client any more"))?;
    if session.is_over() {
        return Err(Error::lapsed(format!("the client ended while it was to hold on{}", session.said())));
    }
    Ok(session)
}

/// Waits for a line that matches.
async fn wait_for(session: &mut LocalSession, pattern: &Regex, within: Duration) -> Result<Said> {
    let deadline = Instant::now() + within;
    let mut last = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match session.receive(left).await {
            Ok(line) if pattern.is_match(&line) => return Ok(Said { stdout: line, ..Said::default() }),
            Ok(line) => last = Some(line),
            Err(error) => {
                let instead = last.map_or(String::new(), |line| format!(" (the last line was `{line}`)"));
                return Err(error.during(&format!(
                    "no line matched `{pattern}` within {}{instead}",
                    show_duration(within)
                )));
            }
        }
    }
}

const fn status(exit: Exit) -> Option<i32> {
    match exit {
        Exit::Status(status) => Some(status),
        Exit::Signal(_) | Exit::Unknown => None,
    }
}

fn regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|cause| {
        Error::input(format!("`{pattern}` is not a regular expression"))
            .remedy("Correct the expression of the session step.")
            .because(cause)
    })
}
