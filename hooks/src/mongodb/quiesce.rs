//! The verb `quiesce`: the server before its files are copied.
//!
//! | by | what happens | which copy is right |
//! | --- | --- | --- |
//! | `flush` | everything acknowledged is brought to the disk (`fsync`); nothing is held | an atomic snapshot with the journal in it, which recovers as after a crash |
//! | `lock` | writes wait (`fsyncLock`) | any, also of several volumes |

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bson::doc;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use standstill_core::{
    Error, ErrorKind, Result,
    hook::{Acquired, Hold, HoldKind, HoldTraits, HookContext, Receipt, Tolerance},
    point::{Evidence, Outputs},
    units::parse_duration,
};

use super::{
    holder::{self, Locked, Opening, Order, Task, still_locked},
    server::{Server, version},
    session::{LOOKUP, Session},
    settings::Target,
    undo,
};
use crate::{
    helper::Link,
    server::errors::{lapse, lapsed},
};

/// The verb's name.
pub(super) const VERB: &str = "quiesce";
/// What the lock is called in messages.
const WHAT: &str = "the lock on writes (fsyncLock)";
/// How long a holder may take to end by itself.
const END: Duration = Duration::from_secs(2);

/// While it is locked, data files stand still; what is not data (logs, diagnostics) goes on.
pub(super) const LOCK: HoldTraits = HoldTraits {
    kind: HoldKind::Lease,
    blocks_writes: true,
    tolerates: Tolerance { not_atomic: true, changing_files: true, block_level: true },
};

/// Nothing is held: only files of one moment, with the journal among them, are a database. What was acknowledged before
/// is on the disk, so a snapshot below the file system is right, too.
pub(super) const FLUSH: HoldTraits = HoldTraits {
    kind: HoldKind::Moment,
    blocks_writes: false,
    tolerates: Tolerance { not_atomic: false, changing_files: false, block_level: true },
};

fn usual_wait() -> String {
    "10s".into()
}

/// How.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum By {
    /// Bring everything to the disk; nothing is held.
    #[default]
    Flush,
    /// Lock it.
    Lock,
}

/// What `quiesce` is told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// `flush` for an atomic snapshot, `lock` for any other copy.
    #[serde(default)]
    by: By,
    /// How long the server may take to lock or to flush.
    #[serde(default = "usual_wait")]
    wait: String,
}

/// What `undo` needs: for a lock, how long the server may still be about to lock.
pub(super) fn undo_record(context: &HookContext, arguments: &Value) -> Result<Value> {
    if !locks(arguments) {
        return undo::record(None, Duration::ZERO);
    }
    let wait = arguments.get("wait").and_then(Value::as_str).map_or_else(usual_wait, str::to_owned);
    undo::record(Some(context), parse_duration(&wait)?)
}

/// Whether these arguments ask for the lock.
pub(super) fn locks(arguments: &Value) -> bool {
    arguments.get("by").and_then(Value::as_str) == Some("lock")
}

/// Does the verb.
///
/// # Errors
/// `Temporary` when somebody else has the lock, or the server cannot be locked in time. When it fails or is cancelled
/// after the lock, the holder sees end of file and unlocks.
pub(super) async fn acquire(context: &HookContext, arguments: Arguments) -> Result<Acquired> {
    let target = Target::of(context).await?;
    let wait = parse_duration(&arguments.wait)?;
    let acquired = async {
        match arguments.by {
            By::Flush => flush(target.clone(), wait).await,
            By::Lock => lock(context, &target, wait).await,
        }
    };
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => {
            Err(Error::cancelled(format!("cancelled on quiescing MongoDB at {}", target.place())))
        }
        acquired = acquired => acquired,
    }
}

fn outputs(by: &str, version: &str, server: &Server) -> Outputs {
    Outputs::from([
        ("by".into(), json!(by)),
        ("version".into(), json!(version)),
        ("lastWrite".into(), json!(server.position.map(|position| position.to_string()))),
    ])
}

async fn lock(context: &HookContext, target: &Target, wait: Duration) -> Result<Acquired> {
    let session = Session::to(target).await?;
    let server = Server::read(&session.hello, session.place())?;
    let version = version(&session).await?.full;
    let task = serde_json::to_string(&Task::of(context.run.as_str(), context.lease, wait))
        .map_err(|cause| Error::failed("cannot write a task as JSON").because(cause))?;
    let mut command = context.runtime.agent(&["hold", "mongodb", &task]);
    // The lock stays when the holder goes: nobody ends it before it has unlocked, or has given up.
    command.may_outlive = context.lease + wait + holder::STUBBORN;
    let mut link = Link::start(context, &command).await?;
    link.request::<()>(Order::Open(Box::new(Opening::of(target))), LOOKUP * 2).await?;
    let since = Instant::now();
    let locked: Locked = link.request(Order::Acquire, wait + LOOKUP * 4).await?;
    let place = session.place();
    if locked.process != server.process {
        return Err(crate::server::errors::another_server(place));
    }
    if locked.count != 1 {
        link.request::<i64>(Order::Release, LOOKUP * 2).await?;
        undo::remember_off(context.run.as_str());
        return Err(Error::temporary(format!(
            "somebody else locked MongoDB at {place} at the same moment (fsyncLock)"
        ))
        .remedy("Wait until that backup is done, and run this one again."));
    }
    let server = Server { position: locked.position, ..server };
    let outputs = outputs("lock", &version, &server);
    let evidence = server.evidence().and("lockCount", locked.count);
    let held = Held {
        state: State::On(link),
        run: context.run.to_string(),
        target: target.clone(),
        session,
        locked,
        evidence,
        patience: context.lease / 4,
    };
    Ok(Acquired { hold: Box::new(held), outputs, since })
}

enum State {
    On(Link),
    /// The holder is gone; whether the lock is off must be seen.
    Unknown,
    Done(Box<Receipt>),
    Lapsed,
}

/// The lock, kept by its holder.
struct Held {
    state: State,
    run: String,
    target: Target,
    /// Opened before the lock, too.
    session: Session,
    locked: Locked,
    evidence: Evidence,
    patience: Duration,
}

impl Held {
    /// Nothing that was captured may be trusted any more. The holder sees end of file, and unlocks.
    fn lost(&mut self, error: Error) -> Error {
        let error = lapse(error, WHAT);
        self.state = State::Unknown;
        error
    }

    /// Sees to it that the lock is off.
    async fn see(&mut self) -> Result<()> {
        let seen = match undo::take_off(&self.session, &self.run).await {
            Ok(seen) => Ok(seen),
            Err(_) => undo::take_off(&Session::to(&self.target).await?, &self.run).await,
        };
        seen?;
        self.state = State::Lapsed;
        Ok(())
    }
}

#[async_trait]
impl Hold for Held {
    async fn renew(&mut self) -> Result<()> {
        let renewed = match &mut self.state {
            State::On(link) => link.request::<()>(Order::Renew, self.patience).await,
            State::Done(_) => return Ok(()),
            State::Unknown | State::Lapsed => return Err(lapsed(format!("{WHAT} lapsed"))),
        };
        renewed.map_err(|error| self.lost(error))
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        self.renew().await?;
        match &self.state {
            State::On(_) => match still_locked(&self.session, &self.locked).await {
                Ok(_) => Ok(self.evidence.clone()),
                Err(error) => Err(lapse(error, WHAT)),
            },
            _ => Err(lapsed(format!("{WHAT} was already let go"))),
        }
    }

    async fn release(&mut self) -> Result<Receipt> {
        if let State::On(link) = &mut self.state {
            let released = link.request::<i64>(Order::Release, self.patience.max(LOOKUP)).await;
            let at = Instant::now();
            let ended = link.close(END).await;
            match released {
                Ok(left) => {
                    if left > 0 {
                        tracing::warn!(left, "our lock is off, and somebody else locked MongoDB meanwhile");
                    }
                    if let Err(error) = ended {
                        tracing::warn!(error = error.chain(), "the holder of the lock did not end in order");
                    }
                    let receipt = Receipt {
                        evidence: Evidence::of("lockCountAfter", left),
                        outputs: Outputs::new(),
                        facts: Vec::new(),
                        released: at,
                        froze: None,
                    };
                    self.state = State::Done(Box::new(receipt));
                }
                Err(error) => {
                    self.lost(error);
                }
            }
        }
        if matches!(self.state, State::Unknown) {
            self.see().await.map_err(|error| error.of_kind(ErrorKind::Failed))?;
        }
        match &self.state {
            State::Done(receipt) => Ok(receipt.as_ref().clone()),
            _ => Err(lapsed(format!("{WHAT} lapsed"))),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if matches!(self.state, State::On(_)) {
            tracing::error!(
                server = self.target.place(),
                "{WHAT} was dropped without a release; its holder unlocks now"
            );
        }
    }
}

async fn flush(target: Target, wait: Duration) -> Result<Acquired> {
    let since = Instant::now();
    let session = Session::to(&target).await?;
    let version = version(&session).await?.full;
    session.run("admin", wait, "bring everything to the disk (fsync)", doc! {"fsync": 1}).await?;
    let server = Server::of(&session).await?;
    let outputs = outputs("flush", &version, &server);
    Ok(Acquired { hold: Box::new(Flushed { target, server, receipt: None }), outputs, since })
}

/// Everything that was acknowledged before is on the disk.
struct Flushed {
    target: Target,
    server: Server,
    receipt: Option<Receipt>,
}

impl Flushed {
    /// The same server again.
    async fn again(&self) -> Result<Server> {
        let session = Session::to(&self.target).await?;
        let now = Server::of(&session).await?;
        self.server.expect_same(&now, session.place())?;
        Ok(now)
    }
}

#[async_trait]
impl Hold for Flushed {
    async fn renew(&mut self) -> Result<()> {
        Ok(())
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        let now = self.again().await?;
        let after = now.position.map(|position| position.to_string());
        let evidence = self.server.evidence();
        Ok(match after {
            Some(after) => evidence.and("lastWriteAfter", after),
            None => evidence,
        })
    }

    async fn release(&mut self) -> Result<Receipt> {
        if let Some(receipt) = &self.receipt {
            return Ok(receipt.clone());
        }
        let now = self.again().await?;
        let receipt = Receipt {
            evidence: now.evidence(),
            outputs: Outputs::new(),
            facts: Vec::new(),
            released: Instant::now(),
            froze: None,
        };
        Ok(self.receipt.insert(receipt).clone())
    }
}
