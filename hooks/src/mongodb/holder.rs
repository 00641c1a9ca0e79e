//! The process that holds the lock: it locks, and unlocks when the runner is gone or falls silent. The lock outlives
//! whoever made it, so nobody else makes it: the switch is armed before.
//!
//! Its connection is opened before the lock and used to unlock: while a server is locked, a new one may not be able to
//! log in (manual: `db.fsyncLock()`).

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use standstill_core::{Error, Result, units::milliseconds};
use tokio::runtime::Runtime;

use super::{
    lock::{self, Mark},
    server::{Position, Server},
    session::Session,
    settings::{Settings, Target},
    undo::{self, Off},
};
use crate::{
    helper::holder::{self, stubbornly},
    server::{errors::lapsed, settings::Opening},
};

/// The pause between two attempts to unlock.
const PAUSE: Duration = Duration::from_millis(250);

/// What a holder is started for; it is its only argument, so nothing secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Task {
    /// The run.
    pub run: String,
    pub lease_milliseconds: u64,
    /// How long the server may be waited for.
    pub wait_milliseconds: u64,
    /// Where it is noted that the lock is off although its mark is there.
    pub off: Off,
}

impl Task {
    pub fn of(run: &str, lease: Duration, wait: Duration, off: Off) -> Self {
        let (lease, wait) = (milliseconds(lease), milliseconds(wait));
        Self { run: run.to_owned(), lease_milliseconds: lease, wait_milliseconds: wait, off }
    }
}

/// What was seen when the lock was on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Locked {
    /// How often it is locked: once, unless somebody else locked it at the same moment.
    pub count: i64,
    /// The last write, which stays the last one.
    pub position: Option<Position>,
    pub process: String,
}

/// Runs the holder to its end: the rest of the command line after `agent hold mongodb`. See [`holder::main`].
pub fn holder_main(arguments: &[String]) -> ExitCode {
    holder::main::<Holder>(arguments)
}

pub(super) struct Holder {
    task: Task,
    runtime: Runtime,
    target: Option<Target>,
    session: Option<Session>,
    /// There while the lock may be on.
    mark: Option<Mark>,
    locked: Option<Locked>,
    /// Until when the server may still lock although nobody waits for its answer any more.
    settles: Option<Instant>,
}

impl Holder {
    fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(|| Error::failed("the holder has no session"))
    }

    /// Nothing of ours is on: the mark goes. Where somebody else's lock keeps it there, that is noted, and the next run
    /// takes the mark's place.
    fn forget(&mut self) -> Result<()> {
        let Some(mark) = self.mark.take() else { return Ok(()) };
        let session = self.session()?;
        if let Err(error) = self.runtime.block_on(mark.take_away(session)) {
            self.task.off.note();
            eprintln!("{}", error.chain());
        }
        Ok(())
    }
}

impl holder::Holder for Holder {
    const HOOK: &'static str = super::NAME;
    const LAPSED: &'static str = "MongoDB is not locked any more";
    // The server flushes before it locks.
    const PATIENT: bool = true;

    type Task = Task;
    type Opening = Opening<Settings>;
    type Acquired = Locked;
    /// How often it is still locked.
    type Released = i64;

    fn of(task: Task, runtime: Runtime) -> Self {
        Self { task, runtime, target: None, session: None, mark: None, locked: None, settles: None }
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

    fn acquire(&mut self) -> Result<Locked> {
        let session = self.session()?;
        let wait = Duration::from_millis(self.task.wait_milliseconds);
        let server = self.runtime.block_on(async {
            if lock::is_locked(session).await? {
                return Err(lock::foreign(session).await);
            }
            Server::of(session).await
        })?;
        let mark = Mark { run: self.task.run.clone(), process: server.process.clone() };
        self.mark = Some(mark.clone());
        self.settles = Some(Instant::now() + wait);
        let session = self.session()?;
        let locked = self.runtime.block_on(async {
            mark.leave(session).await?;
            let locked = lock::lock(session, &self.task.run, wait).await?;
            // From here on it is known what there is to undo.
            let count = match locked {
                Ok(count) => count,
                Err(refusal) => return Ok::<Result<Locked>, Error>(Err(refusal)),
            };
            let now = Server::of(session).await?;
            server.expect_same(&now, session.place())?;
            Ok(Ok(Locked { count, position: now.position, process: now.process }))
        })?;
        self.settles = None;
        match locked {
            Ok(locked) => {
                self.locked = Some(locked.clone());
                Ok(locked)
            }
            // Whoever locks it from here on is not us.
            Err(refusal) => self.forget().and(Err(refusal)),
        }
    }

    /// The lock is there, in the same process, and nothing was written since: nobody took it off in between.
    fn renew(&self) -> Result<()> {
        let (session, Some(locked)) = (self.session()?, &self.locked) else {
            return Err(Error::failed("the holder holds nothing"));
        };
        self.runtime.block_on(still_locked(session, locked)).map(drop)
    }

    fn release(&mut self) -> Result<i64> {
        self.renew()?;
        let session = self.session()?;
        let left = self.runtime.block_on(lock::unlock(session))?;
        let left =
            left.ok_or_else(|| lapsed(format!("somebody else unlocked MongoDB at {}", session.place())))?;
        self.forget()?;
        Ok(left)
    }

    /// Takes off the lock that may be on, with a session that may be a new one.
    fn let_go(&mut self) -> Result<()> {
        let (Some(mark), Some(target)) = (self.mark.take(), self.target.take()) else { return Ok(()) };
        let (mut session, settles, off) = (self.session.take(), self.settles, self.task.off.clone());
        self.runtime.block_on(stubbornly(PAUSE, async || {
            // The one from before the lock, as long as it answers.
            let session = match session.take() {
                Some(session) => session,
                None => Session::to(&target).await?,
            };
            while settles.is_some_and(|settles| Instant::now() < settles) {
                if lock::is_locked(&session).await? {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
            undo::take_off(&session, &mark.run, &off).await
        }))
    }
}

/// Proves that a lock was on without a gap: it is on, the process is the same, and the last write is the same.
pub(super) async fn still_locked(session: &Session, locked: &Locked) -> Result<Server> {
    let place = session.place();
    let now = Server::of(session).await?;
    if now.process != locked.process {
        return Err(lapsed(format!("MongoDB at {place} was restarted, which clears its lock")));
    }
    if !lock::is_locked(session).await? {
        return Err(lapsed(format!("somebody else unlocked MongoDB at {place}")));
    }
    if now.position != locked.position {
        return Err(lapsed(format!("MongoDB at {place} was written to although it was locked")));
    }
    Ok(now)
}
