//! The verb `hold-rewrites`: the append-only file keeps its parts while it is copied.
//!
//! The file is a base, parts that only grow, and a list of them; only a rewrite removes parts and changes the list.
//! While none happens, files that are copied one after the other are what the server had at one time, plus a
//! beginning of what it wrote later: the same as after a crash.
//!
//! # What is in the copy
//! Every write that was acknowledged before the hold was acquired. The server answers a writer after it has handed the
//! bytes to the kernel, except that with `appendfsync everysec` it keeps them to itself for up to two seconds while
//! the disk is slow. So the hold waits until the file has grown by all that was pending when it began: `INFO` says how
//! much that is. What `appendfsync` is, the evidence says: it is about what a power failure leaves, and about snapshots of
//! a block device ([`durable`]), not about other copies.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Acquired, HookContext},
    point::{Evidence, Fact, Outputs},
    units::{parse_duration, show_duration},
};

use super::{
    config::Config,
    connect::{LOOKUP, Session},
    durable,
    holder::{Holder, Task},
    info::Info,
    keys, mark,
    server::Server,
    settings::Target,
};
use crate::{
    helper::{
        Kept, Known, Link,
        holder::{Order, start},
    },
    server::{errors::lapsed, settings::Opening},
};

/// The verb's name.
pub(super) const VERB: &str = "hold-rewrites";
/// The pause between two looks at the server.
const PAUSE: Duration = Duration::from_millis(50);

fn usual_wait() -> String {
    "10m".into()
}

/// What `hold-rewrites` is told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// How long a rewrite that runs already may be waited for.
    #[serde(default = "usual_wait")]
    wait_for: String,
    /// The volume that is captured: it must be the server's own directory.
    #[serde(default)]
    covers: Vec<String>,
    /// Whether everything acknowledged must be on the disk itself (`appendfsync always`), so that a snapshot of the block
    /// device has it.
    #[serde(default)]
    durable: bool,
}

/// Refuses a server whose append-only file is off, or could not be written to.
pub(super) fn is_on(info: &Info, place: &str) -> Result<()> {
    if !info.is_on("aof_enabled") {
        return Err(Error::input(format!("the server at {place} has no append-only file"))
            .remedy("Use the blueprint redis, or switch it on: CONFIG SET appendonly yes."));
    }
    if info.get("aof_last_write_status") != Some("ok") {
        return Err(Error::failed(format!("the server at {place} could not write to its append-only file"))
            .remedy("Look into its log: most often its disk is full."));
    }
    Ok(())
}

/// Whether a rewrite runs, or is about to.
fn is_rewriting(info: &Info) -> bool {
    info.is_on("aof_rewrite_in_progress")
        || info.is_on("aof_rewrite_scheduled")
        || info.is_on("aof_pending_rewrite")
}

/// What a rewrite would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    rewrites: u64,
    base: u64,
}

impl Parts {
    fn of(info: &Info, place: &str) -> Result<Self> {
        Ok(Self { rewrites: info.needed("aof_rewrites", place)?, base: info.needed("aof_base_size", place)? })
    }
}

/// Starts the holder, has it set the mark, and waits until the file is what it must be.
///
/// # Errors
/// `Input` when the append-only file is off, `Temporary` when a rewrite does not end. When it fails or is cancelled the
/// holder sees end of file, and puts the setting back.
pub(super) async fn acquire(context: &HookContext, arguments: Arguments) -> Result<Acquired> {
    let target = Target::of(context).await?;
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => {
            Err(Error::cancelled(format!("cancelled on holding off rewrites at {}", target.place())))
        }
        held = hold(context, &target, &arguments) => held,
    }
}

async fn hold(context: &HookContext, target: &Target, arguments: &Arguments) -> Result<Acquired> {
    let session = Session::to(target).await?;
    let place = session.place();
    let mut names = vec!["dir", "appenddirname", "appendfilename"];
    names.extend(durable::SETTINGS);
    let config = Config::of(&session, &names).await?;
    if arguments.durable {
        durable::expect(&config, place)?;
    }
    config.directory(context, &arguments.covers, place)?;
    let (directory, file) = (config.name("appenddirname", place)?, config.name("appendfilename", place)?);
    let server = Server::of(&session, LOOKUP).await?;
    no_rewrite(&session, parse_duration(&arguments.wait_for)?).await?;

    let task = Task::of(context.run.as_str(), context.lease);
    let within = (Duration::ZERO, LOOKUP * 2);
    let mut link = start::<Holder, _>(context, &task, Opening::of(target), within).await?;
    let since = Instant::now();
    let before: u64 = link.request(Order::<()>::Acquire, LOOKUP * 3).await?;
    let info = settled(&session, &mut link, context.lease, parse_duration(&arguments.wait_for)?).await?;
    let parts = Parts::of(&info, place)?;
    let complete = flushed(&session, &mut link, context.lease, &info).await?;
    let outputs = Outputs::from([
        ("directory".into(), json!(directory)),
        ("file".into(), json!(file)),
        ("version".into(), json!(server.version.full)),
        ("completeBytes".into(), json!(complete)),
    ]);
    let evidence = server
        .evidence()
        .and("rewrites", parts.rewrites)
        .and("completeBytes", complete)
        .and("appendfsync", config.needed("appendfsync", place)?);
    let held = Held {
        run: context.run.to_string(),
        target: target.clone(),
        server,
        parts,
        before,
        durable: arguments.durable,
        begun: info,
        evidence,
        facts: Vec::new(),
    };
    let patience = context.lease / 4;
    Ok(Acquired { hold: Box::new(Kept::on(link, held, patience, patience)), outputs, since })
}

/// Waits until no rewrite runs, before anything is held.
async fn no_rewrite(session: &Session, wait: Duration) -> Result<()> {
    let deadline = Instant::now() + wait;
    loop {
        let info = Info::of(session, LOOKUP).await?;
        is_on(&info, session.place())?;
        if !is_rewriting(&info) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(too_long(wait, session.place()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits, with the mark set, until no rewrite runs that began in between.
async fn settled(session: &Session, link: &mut Link, lease: Duration, wait: Duration) -> Result<Info> {
    let (deadline, mut renewed) = (Instant::now() + wait, Instant::now());
    loop {
        let info = Info::of(session, LOOKUP).await?;
        is_on(&info, session.place())?;
        if !is_rewriting(&info) {
            return Ok(info);
        }
        if Instant::now() > deadline {
            return Err(too_long(wait, session.place()));
        }
        pause(link, lease, &mut renewed).await?;
    }
}

/// Waits until everything that the server had taken in at the time of `info` is in the file; how long the file is
/// then, at least.
async fn flushed(session: &Session, link: &mut Link, lease: Duration, info: &Info) -> Result<u64> {
    let place = session.place();
    let size = |info: &Info| info.needed("aof_current_size", place);
    let complete = size(info)? + info.needed("aof_buffer_length", place)?;
    let (deadline, mut renewed) = (Instant::now() + LOOKUP, Instant::now());
    loop {
        let now = Info::of(session, LOOKUP).await?;
        is_on(&now, place)?;
        if size(&now)? >= complete {
            return Ok(complete);
        }
        if Instant::now() > deadline {
            return Err(Error::temporary(format!(
                "the server at {place} did not write what it had acknowledged within {}",
                show_duration(LOOKUP)
            ))
            .remedy("Its disk is slow; look at `aof_delayed_fsync` of INFO, and try again."));
        }
        pause(link, lease, &mut renewed).await?;
    }
}

/// Waits a moment, and keeps the holder from letting go.
async fn pause(link: &mut Link, lease: Duration, renewed: &mut Instant) -> Result<()> {
    tokio::time::sleep(PAUSE).await;
    if renewed.elapsed() >= lease / 3 {
        *renewed = Instant::now();
        link.request::<()>(Order::<()>::Renew, lease / 4).await?;
    }
    Ok(())
}

fn too_long(wait: Duration, place: &str) -> Error {
    Error::temporary(format!(
        "a rewrite of the append-only file at {place} did not end within {}",
        show_duration(wait)
    ))
    .remedy("Try again when it has ended, or raise `waitFor`.")
}

/// The hold.
struct Held {
    run: String,
    target: Target,
    server: Server,
    parts: Parts,
    /// The setting as it was before.
    before: u64,
    /// Whether a snapshot of the block device must have everything.
    durable: bool,
    /// The server when the hold began.
    begun: Info,
    evidence: Evidence,
    facts: Vec<Fact>,
}

#[async_trait]
impl Known for Held {
    const WHAT: &'static str = "the hold on rewrites";
    /// The setting that was put back.
    type Released = u64;

    fn place(&self) -> String {
        self.target.place()
    }

    /// No rewrite happened, and none is about to; the server is the same, and could write all the time.
    async fn prove(&mut self) -> Result<Evidence> {
        let session = Session::to(&self.target).await?;
        let info = Info::of(&session, LOOKUP).await?;
        let place = session.place();
        self.server.expect_same(&Server::read(&info, place)?, place)?;
        is_on(&info, place)?;
        if self.durable {
            durable::expect(&Config::of(&session, &durable::SETTINGS).await?, place)?;
        }
        if Parts::of(&info, place)? != self.parts || is_rewriting(&info) {
            return Err(lapsed(format!("somebody had the server at {place} rewrite its append-only file")));
        }
        self.facts = keys::around(&self.begun, &info);
        Ok(self.evidence.clone().and("size", info.needed("aof_current_size", place)?))
    }

    fn released(&mut self, restored: u64) -> Result<(Evidence, Vec<Fact>)> {
        if restored != self.before {
            return Err(lapsed(format!("{} was {} and is {restored} now", mark::SETTING, self.before)));
        }
        Ok((Evidence::of("restoredMinSize", restored), std::mem::take(&mut self.facts)))
    }

    async fn see(&mut self) -> Result<()> {
        let session = Session::to(&self.target).await?;
        mark::lift(&session, &self.run).await.map(drop)
    }
}
