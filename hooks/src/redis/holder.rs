//! The process that holds rewrites off: it sets the mark, and puts the earlier setting back when the runner is gone or
//! falls silent. The setting outlives whoever made it, so nobody else sets it: the switch is armed before.

use std::{process::ExitCode, time::Duration};

use serde::{Deserialize, Serialize};
use standstill_core::{Error, Result, units::milliseconds};
use tokio::runtime::Runtime;

use super::{
    connect::Session,
    mark::{self, Mark},
    settings::{Settings, Target},
};
use crate::{
    helper::holder::{self, stubbornly},
    server::settings::Opening,
};

/// The pause between two attempts to put the setting back.
const PAUSE: Duration = Duration::from_millis(500);

/// What a holder is started for; it is its only argument, so nothing secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Task {
    /// The run.
    pub run: String,
    pub lease_milliseconds: u64,
}

impl Task {
    pub fn of(run: &str, lease: Duration) -> Self {
        Self { run: run.to_owned(), lease_milliseconds: milliseconds(lease) }
    }
}

/// Runs the holder to its end: the rest of the command line after `agent hold redis`. See [`holder::main`].
pub fn holder_main(arguments: &[String]) -> ExitCode {
    holder::main::<Holder>(arguments)
}

pub(super) struct Holder {
    task: Task,
    runtime: Runtime,
    target: Option<Target>,
    session: Option<Session>,
    /// Whether the mark may be there.
    marked: bool,
}

impl Holder {
    fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(|| Error::failed("the holder has no session"))
    }
}

impl holder::Holder for Holder {
    const HOOK: &'static str = super::NAME;
    const LAPSED: &'static str = "rewrites are not held off any more";

    type Task = Task;
    type Opening = Opening<Settings, Option<(String, u16)>>;
    /// The earlier setting.
    type Acquired = u64;
    /// The setting that was put back.
    type Released = u64;

    fn of(task: Task, runtime: Runtime) -> Self {
        Self { task, runtime, target: None, session: None, marked: false }
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.task.lease_milliseconds)
    }

    fn open(&mut self, opening: Self::Opening) -> Result<()> {
        let target = opening.target();
        self.session = Some(self.runtime.block_on(Session::to(&target))?);
        self.target = Some(target);
        Ok(())
    }

    fn acquire(&mut self) -> Result<u64> {
        let session = self.session()?;
        let before = self.runtime.block_on(mark::current(session))?;
        if let Some(mark) = Mark::read(before) {
            return Err(mark::foreign(mark, session.place()));
        }
        let mark = Mark::of(&self.task.run, before)?;
        self.marked = true;
        self.runtime.block_on(mark::set(self.session()?, mark.value()))?;
        Ok(before)
    }

    fn renew(&self) -> Result<()> {
        let session = self.session()?;
        let ours = Mark::of(&self.task.run, 0)?;
        match Mark::read(self.runtime.block_on(mark::current(session))?) {
            Some(mark) if mark.is_of(ours) => Ok(()),
            _ => Err(Error::lapsed(format!(
                "rewrites at {} are not held off any more: somebody changed {}, or the server was restarted",
                session.place(),
                mark::SETTING
            ))),
        }
    }

    /// Only if the mark was there all the time, as far as can be seen, was anything held.
    fn release(&mut self) -> Result<u64> {
        let session = self.session()?;
        self.renew()?;
        let mark = self.runtime.block_on(mark::current(session)).map(Mark::read)?;
        self.runtime.block_on(mark::lift(session, &self.task.run))?;
        self.marked = false;
        Ok(mark.map_or(0, |mark| mark.before))
    }

    /// Puts the setting back, with a session that may be a new one.
    fn let_go(&mut self) -> Result<()> {
        let (true, Some(target)) = (self.marked, self.target.take()) else { return Ok(()) };
        let (mut session, run) = (self.session.take(), &self.task.run);
        self.runtime.block_on(stubbornly(PAUSE, async || {
            let session = match session.take() {
                Some(session) if !session.is_closed() => session,
                _ => Session::to(&target).await?,
            };
            mark::lift(&session, run).await
        }))
    }
}
