//! The process that holds rewrites off: it sets the mark, and puts the earlier setting back when the runner is gone or
//! falls silent. The setting outlives whoever made it, so nobody else sets it: the switch is armed before.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standstill_core::{Error, Result, secret::Secret, units::milliseconds};
use tokio::runtime::Runtime;

use super::{
    connect::Session,
    mark::{self, Mark},
    settings::{Settings, Target},
};
use crate::helper::{Orders, Wake, say, to_value};

/// For how long a holder tries to put the setting back where the server cannot be reached.
pub(super) const STUBBORN: Duration = Duration::from_mins(5);
/// The pause between two attempts.
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

/// The server, on its way to the holder: through its standard input, which nobody else reads.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Opening {
    settings: Settings,
    password: Option<String>,
    dialled: Option<(String, u16)>,
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
    /// Sets the mark; answers with the earlier setting.
    Acquire,
    /// Prolongs the lease, and looks whether the mark is still there.
    Renew,
    /// Puts the earlier setting back; answers with it.
    Release,
}

/// Runs the holder to its end: the rest of the command line after `agent hold redis`.
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
            eprintln!("`agent hold redis` takes one argument, its task as JSON: {cause}");
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
    let lease = Duration::from_millis(task.lease_milliseconds);
    let mut holder = Holder { task, runtime, target: None, session: None, marked: false };
    say(0, Ok(Value::Null))?;
    let served = holder.serve(&mut orders, lease);
    // Whatever ended it.
    let lifted = holder.lift();
    served.and(lifted)
}

struct Holder {
    task: Task,
    runtime: Runtime,
    target: Option<Target>,
    session: Option<Session>,
    /// Whether the mark may be there.
    marked: bool,
}

impl Holder {
    fn serve(&mut self, orders: &mut Orders<Order>, lease: Duration) -> Result<()> {
        orders.prolong(Some(lease))?;
        loop {
            let request = match orders.next()? {
                Wake::Order(request) => request,
                Wake::Closed => return Ok(()),
                Wake::Lapsed | Wake::Elapsed => {
                    return Err(Error::lapsed(
                        "rewrites are not held off any more: no renewal came within the lease",
                    ));
                }
            };
            orders.prolong(Some(lease))?;
            let answer = match request.order {
                Order::Open(opening) => self.open(opening.target()),
                Order::Acquire => self.acquire().and_then(to_value),
                Order::Renew => self.renew().map(|()| Value::Null),
                Order::Release => self.release().and_then(to_value),
            };
            say(request.id, answer.as_ref().map(Clone::clone))?;
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
    fn lift(&mut self) -> Result<()> {
        let (true, Some(target)) = (self.marked, self.target.take()) else { return Ok(()) };
        let mut session = self.session.take();
        let (run, deadline) = (self.task.run.clone(), Instant::now() + STUBBORN);
        self.runtime.block_on(async {
            loop {
                let lifted = async {
                    let session = match session.take() {
                        Some(session) if !session.is_closed() => session,
                        _ => Session::to(&target).await?,
                    };
                    mark::lift(&session, &run).await
                };
                match lifted.await {
                    Ok(_) => return Ok(()),
                    Err(error) if Instant::now() > deadline => return Err(error),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        })
    }
}
