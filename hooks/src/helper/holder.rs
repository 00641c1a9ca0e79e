//! Holders: processes that hold what does not go with a connection, and let go when their runner is gone or falls silent.
//!
//! What they hold outlives whoever made it, so nobody else makes it: the switch is armed before.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use standstill_core::{Error, Result, hook::HookContext};
use tokio::runtime::Runtime;

use super::{Link, Orders, Wake, say, to_value};

/// For how long a holder tries to let go where the server cannot be reached.
pub(crate) const STUBBORN: Duration = Duration::from_mins(5);

/// An order to a holder. Every order prolongs the lease.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Order<T> {
    /// Connects to this server.
    Open(Box<T>),
    /// Acquires the hold; answers with what was seen then.
    Acquire,
    /// Prolongs the lease, and looks whether the hold is still on.
    Renew,
    /// Lets go; answers with what was seen then.
    Release,
}

/// What the holder of a hook does.
pub(crate) trait Holder: Sized {
    /// The hook, as the command line `agent hold HOOK TASK` names it.
    const HOOK: &'static str;
    /// What is true when no renewal came within the lease: `rewrites are not held off any more`.
    const LAPSED: &'static str;
    /// Whether the lease stands still while the hold is being acquired, because nobody could let go of what is not there
    /// yet. Then it is not known after a failure what is held, and the holder ends.
    const PATIENT: bool = false;

    /// What it is started for: its only argument, so nothing secret is in it.
    type Task: DeserializeOwned;
    /// The server, on its way through standard input, which nobody else reads.
    type Opening: DeserializeOwned;
    /// What is seen when the hold is on.
    type Acquired: Serialize;
    /// What is seen when it was let go.
    type Released: Serialize;

    /// One that holds nothing yet.
    fn of(task: Self::Task, runtime: Runtime) -> Self;
    /// How long it holds on without a renewal.
    fn lease(&self) -> Duration;
    /// Does [`Order::Open`].
    fn open(&mut self, opening: Self::Opening) -> Result<()>;
    /// Does [`Order::Acquire`].
    fn acquire(&mut self) -> Result<Self::Acquired>;
    /// Does [`Order::Renew`].
    fn renew(&self) -> Result<()>;
    /// Does [`Order::Release`].
    fn release(&mut self) -> Result<Self::Released>;
    /// Lets go of what may be held, whatever ended the orders.
    fn let_go(&mut self) -> Result<()>;
}

/// Runs a holder to its end: the rest of the command line after `agent hold HOOK`.
///
/// It answers orders on standard input with lines on standard output. The exit status is 0 when nothing is held any
/// more, 1 when that is not known or the lease ran out, 2 when the command line is wrong.
pub(crate) fn main<H: Holder>(arguments: &[String]) -> ExitCode {
    let task = match arguments {
        [argument] => serde_json::from_str(argument),
        _ => serde_json::from_str(""),
    };
    let task = match task {
        Ok(task) => task,
        Err(cause) => {
            eprintln!("`agent hold {}` takes one argument, its task as JSON: {cause}", H::HOOK);
            return ExitCode::from(2);
        }
    };
    match run::<H>(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.chain());
            // Whether anybody still listens changes nothing about the status.
            let _unheard = say(0, Err(&error));
            ExitCode::FAILURE
        }
    }
}

fn run<H: Holder>(task: H::Task) -> Result<()> {
    let mut orders = Orders::in_own_session()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::failed("the holder cannot start").because(cause))?;
    let mut holder = H::of(task, runtime);
    say(0, Ok(Value::Null))?;
    let served = serve(&mut holder, &mut orders);
    // Whatever ended it.
    let let_go = holder.let_go();
    served.and(let_go)
}

fn serve<H: Holder>(holder: &mut H, orders: &mut Orders<Order<H::Opening>>) -> Result<()> {
    let lease = holder.lease();
    orders.prolong(Some(lease))?;
    loop {
        let request = match orders.next()? {
            Wake::Order(request) => request,
            Wake::Closed => return Ok(()),
            Wake::Lapsed | Wake::Elapsed => {
                return Err(Error::lapsed(format!("{}: no renewal came within the lease", H::LAPSED)));
            }
        };
        let patient = H::PATIENT && matches!(request.order, Order::Acquire);
        orders.prolong(if patient { None } else { Some(lease) })?;
        let answer = match request.order {
            Order::Open(opening) => holder.open(*opening).map(|()| Value::Null),
            Order::Acquire => holder.acquire().and_then(to_value),
            Order::Renew => holder.renew().map(|()| Value::Null),
            Order::Release => holder.release().and_then(to_value),
        };
        if patient {
            orders.prolong(Some(lease))?;
        }
        say(request.id, answer.as_ref().map(Clone::clone))?;
        if patient && answer.is_err() {
            return Ok(());
        }
    }
}

/// Tries to let go, again and again for as long as [`STUBBORN`], with this pause between two attempts.
///
/// # Errors
/// What the last attempt failed with.
pub(crate) async fn stubbornly<T>(
    pause: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<()> {
    let deadline = Instant::now() + STUBBORN;
    loop {
        match attempt().await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(pause).await,
        }
    }
}

/// Starts a holder and has it connect within this time. What it may take to acquire, beyond the lease, is `wait`: nobody
/// ends it before it has let go, or has given up.
pub(crate) async fn start<H: Holder<Opening = O>, O: Serialize + Send>(
    context: &HookContext,
    task: &(impl Serialize + Sync),
    opening: O,
    (wait, within): (Duration, Duration),
) -> Result<Link> {
    let task = serde_json::to_string(task)
        .map_err(|cause| Error::failed("cannot write a task as JSON").because(cause))?;
    let mut command = context.runtime.agent(&["hold", H::HOOK, &task]);
    command.may_outlive = context.lease + wait + STUBBORN;
    let mut link = Link::start(context, &command).await?;
    link.request::<()>(Order::Open(Box::new(opening)), within).await?;
    Ok(link)
}
