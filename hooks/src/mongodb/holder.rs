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
use serde_json::Value;
use standstill_core::{Error, Result, secret::Secret, units::milliseconds};
use tokio::runtime::Runtime;

use super::{
    lock::{self, Mark},
    server::{Position, Server},
    session::Session,
    settings::{Settings, Target},
    undo,
};
use crate::{
    helper::{Orders, Wake, say, to_value},
    server::errors::lapsed,
};

/// For how long a holder tries to unlock where the server cannot be reached.
pub(super) const STUBBORN: Duration = Duration::from_mins(5);
/// The pause between two attempts.
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
}

impl Task {
    pub fn of(run: &str, lease: Duration, wait: Duration) -> Self {
        let (lease, wait) = (milliseconds(lease), milliseconds(wait));
        Self { run: run.to_owned(), lease_milliseconds: lease, wait_milliseconds: wait }
    }
}

/// The server, on its way to the holder: through its standard input, which nobody else reads.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Opening {
    settings: Settings,
    password: Option<String>,
    dialled: (String, u16),
}

impl Opening {
    pub fn of(target: &Target) -> Self {
        Self {
            settings: target.settings.clone(),
            password: target.password.as_ref().map(|password| password.expose().to_owned()),
            dialled: target.dialled.clone(),
        }
    }

    fn target(self) -> Target {
        let Self { settings, password, dialled } = self;
        Target { settings, password: password.map(Secret::new), dialled }
    }
}

/// An order to the holder. Every order prolongs the lease.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Order {
    /// Connects.
    Open(Box<Opening>),
    /// Locks; answers with what was seen then.
    Acquire,
    /// Prolongs the lease, and looks whether the lock is still there.
    Renew,
    /// Unlocks; answers with how often it is still locked.
    Release,
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

/// Runs the holder to its end: the rest of the command line after `agent hold mongodb`.
///
/// It answers orders on standard input with lines on standard output. The exit status is 0 when nothing is held any
/// more, 1 when that is not known or the lease ran out, 2 when the command line is wrong.
pub fn holder_main(arguments: &[String]) -> ExitCode {
    let task = match arguments {
        [argument] => serde_json::from_str::<Task>(argument),
        _ => serde_json::from_str(""),
    };
    let task = match task {
        Ok(task) => task,
        Err(cause) => {
            eprintln!("`agent hold mongodb` takes one argument, its task as JSON: {cause}");
            return ExitCode::from(2);
        }
    };
    match run(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.chain());
            // Whether anybody still listens changes nothing about the status.
            let _unheard = say(0, Err(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let mut orders = Orders::<Order>::in_own_session()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::failed("the holder cannot start").because(cause))?;
    let mut holder =
        Holder { task, runtime, target: None, session: None, mark: None, locked: None, settles: None };
    say(0, Ok(Value::Null))?;
    let served = holder.serve(&mut orders);
    // Whatever ended it.
    let let_go = holder.let_go();
    served.and(let_go)
}

struct Holder {
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
    fn serve(&mut self, orders: &mut Orders<Order>) -> Result<()> {
        let lease = Duration::from_millis(self.task.lease_milliseconds);
        orders.prolong(Some(lease))?;
        loop {
            let request = match orders.next()? {
                Wake::Order(request) => request,
                Wake::Closed => return Ok(()),
                Wake::Lapsed | Wake::Elapsed => {
                    return Err(Error::lapsed(
                        "MongoDB is not locked any more: no renewal came within the lease",
                    ));
                }
            };
            let locks = matches!(request.order, Order::Acquire);
            // While the server flushes, the lease does not count: nobody could let go of what is not there yet.
            orders.prolong(if locks { None } else { Some(lease) })?;
            let answer = match request.order {
                Order::Open(opening) => self.open(opening.target()),
                Order::Acquire => self.acquire().and_then(to_value),
                Order::Renew => self.renew().map(|()| Value::Null),
                Order::Release => self.release().and_then(to_value),
            };
            if locks {
                orders.prolong(Some(lease))?;
            }
            say(request.id, answer.as_ref().map(Clone::clone))?;
            if locks && answer.is_err() {
                // Whether it is locked may not be known.
                return Ok(());
            }
        }
    }

    fn open(&mut self, target: Target) -> Result<Value> {
        self.session = Some(self.runtime.block_on(Session::to(&target))?);
        self.target = Some(target);
        Ok(Value::Null)
    }

    fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(|| Error::failed("the holder has no session"))
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
        let locked = locked?;
        self.locked = Some(locked.clone());
        Ok(locked)
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
        // From here on nothing of ours is on; the mark is taken away in any case.
        let mark = self.mark.clone();
        if let Some(mark) = mark {
            match self.runtime.block_on(mark.take_away(session)) {
                Ok(()) => self.mark = None,
                Err(error) if left > 0 => {
                    // Somebody locked beside us, and the mark waits for them. The next run takes its place.
                    self.mark = None;
                    eprintln!("{}", error.chain());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }

    /// Takes off the lock that may be on, with a session that may be a new one.
    fn let_go(&mut self) -> Result<()> {
        let (Some(mark), Some(target)) = (self.mark.take(), self.target.take()) else { return Ok(()) };
        let mut session = self.session.take();
        let (deadline, settles) = (Instant::now() + STUBBORN, self.settles);
        self.runtime.block_on(async {
            loop {
                // The one from before the lock, as long as it answers.
                let tried = async {
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
                    undo::take_off(&session, &mark.run).await
                };
                match tried.await {
                    Ok(_) => return Ok(()),
                    Err(error) if Instant::now() > deadline => return Err(error),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        })
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
