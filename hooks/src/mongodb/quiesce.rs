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
    Error, Result,
    hook::{Acquired, Hold, HoldKind, HoldTraits, HookContext, Receipt, Tolerance},
    point::{Evidence, Fact, Outputs},
    units::parse_duration,
};

use super::{
    holder::{Holder, Locked, Task, still_locked},
    server::{Server, version},
    session::{LOOKUP, Session},
    settings::Target,
    undo::{self, Off},
};
use crate::{
    helper::{
        Kept, Known,
        holder::{Order, start},
    },
    server::settings::Opening,
};

/// The verb's name.
pub(super) const VERB: &str = "quiesce";

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
    let off = Off::of(context)?;
    let task = Task::of(context.run.as_str(), context.lease, wait, off.clone());
    let mut link = start::<Holder, _>(context, &task, Opening::of(target), (wait, LOOKUP * 2)).await?;
    let since = Instant::now();
    let locked: Locked = link.request(Order::<()>::Acquire, wait + LOOKUP * 4).await?;
    let place = session.place();
    if locked.process != server.process {
        return Err(crate::server::errors::another_server(place));
    }
    if locked.count != 1 {
        link.request::<i64>(Order::<()>::Release, LOOKUP * 2).await?;
        return Err(Error::temporary(format!(
            "somebody else locked MongoDB at {place} at the same moment (fsyncLock)"
        ))
        .remedy("Wait until that backup is done, and run this one again."));
    }
    let server = Server { position: locked.position, ..server };
    let outputs = outputs("lock", &version, &server);
    let evidence = server.evidence().and("lockCount", locked.count);
    let known = Held { run: context.run.to_string(), target: target.clone(), session, locked, off, evidence };
    let patience = context.lease / 4;
    let hold = Kept::on(link, known, patience, patience.max(LOOKUP));
    Ok(Acquired { hold: Box::new(hold), outputs, since })
}

/// The lock, kept by its holder.
struct Held {
    run: String,
    target: Target,
    /// Opened before the lock, too.
    session: Session,
    locked: Locked,
    off: Off,
    evidence: Evidence,
}

#[async_trait]
impl Known for Held {
    const WHAT: &'static str = "the lock on writes (fsyncLock)";
    /// How often it is still locked.
    type Released = i64;

    fn place(&self) -> String {
        self.target.place()
    }

    async fn prove(&mut self) -> Result<Evidence> {
        still_locked(&self.session, &self.locked).await?;
        Ok(self.evidence.clone())
    }

    fn released(&mut self, left: i64) -> Result<(Evidence, Vec<Fact>)> {
        if left > 0 {
            tracing::warn!(left, "our lock is off, and somebody else locked MongoDB meanwhile");
        }
        Ok((Evidence::of("lockCountAfter", left), Vec::new()))
    }

    async fn see(&mut self) -> Result<()> {
        if undo::take_off(&self.session, &self.run, &self.off).await.is_err() {
            undo::take_off(&Session::to(&self.target).await?, &self.run, &self.off).await?;
        }
        Ok(())
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
