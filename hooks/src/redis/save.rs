//! The verb `save`: a background save, and the proof that it is ours, whole, and of which instant.
//!
//! # Why the counts are of the same instant
//! `INFO`, `BGSAVE` and `INFO` are sent in one write. The server runs what one client sent one after the other, and
//! the child process that writes the file is forked inside `BGSAVE`. Should anything have come between, the number of
//! commands that the server has done (`total_commands_processed`) has grown by more than our own two, and the counts
//! are not called exact. (Inside `MULTI` the server only schedules the save, and the counts would be of another
//! instant than the file: measured with 7.0.)

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redis::Value;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Hold, HookContext, Receipt},
    point::{Evidence, Fact, Outputs},
    units::{parse_duration, show_duration},
};

use super::{
    config::Config,
    connect::{LOOKUP, Session},
    errors,
    info::{Info, Keys},
    keys, rdb,
    server::Server,
    settings::Target,
};

/// The verb's name.
pub(super) const VERB: &str = "save";
/// The pause between two looks at a save that runs.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a save may be begun anew because somebody came between.
const ATTEMPTS: u32 = 3;

fn usual_wait() -> String {
    "10m".into()
}

/// What `save` is told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// How long saves and rewrites of others that run already may be waited for.
    #[serde(default = "usual_wait")]
    wait_for: String,
    /// The volume that is captured: it must be the server's own directory.
    #[serde(default)]
    covers: Vec<String>,
}

/// What was true when a save began.
struct Begun {
    /// The server's count of saves, ours included.
    number: u64,
    /// When the last save before it was done, in the server's seconds.
    last: u64,
    /// The server's clock, in seconds.
    clock: u64,
    keyspace: BTreeMap<u32, Keys>,
    /// Whether nothing came between the two counts.
    exact: bool,
    /// How far the replication had got.
    offset: u64,
    at: Instant,
}

/// Saves, and waits until it is done.
///
/// # Errors
/// `Temporary` when others' saves do not end, `Failed` when the server could not save. Nothing stays held; a save that
/// is cancelled here goes on in the server.
pub(super) async fn acquire(context: &HookContext, arguments: Arguments) -> Result<Acquired> {
    let target = Target::of(context).await?;
    let saving = save(context, &target, &arguments);
    tokio::select! {
        saved = saving => saved,
        () = context.cancel.cancelled() => {
            Err(Error::cancelled(format!("cancelled on saving at {}", target.place())))
        }
    }
}

async fn save(context: &HookContext, target: &Target, arguments: &Arguments) -> Result<Acquired> {
    let wait = parse_duration(&arguments.wait_for)?;
    let session = Session::to(target).await?;
    let place = session.place();
    let config = Config::of(&session, &["dir", "dbfilename"]).await?;
    let directory = config.directory(context, &arguments.covers, place)?;
    let file = config.name("dbfilename", place)?.to_owned();
    let server = Server::of(&session, LOOKUP).await?;
    let begun = begin(&session, &server, wait).await?;
    let done = finished(&session, &server, &begun).await?;
    // Where the file can be seen from here, it must be the one that was just written.
    let path = directory.join(&file);
    let last = done.needed("rdb_last_save_time", place)?;
    if !arguments.covers.is_empty() && directory.exists() {
        rdb::Header::of(&path)?.expect_made_between(begun.clock, last, &path, place)?;
    }
    let alone = done.needed("rdb_saves", place)? == begun.number;
    let fork = done.number("latest_fork_usec").unwrap_or_default();
    let evidence = server
        .evidence()
        .and("save", begun.number)
        .and("lastSave", last)
        .and("status", "ok")
        .and("forkMicroseconds", fork)
        .and("offsetOfSave", begun.offset);
    let facts = keys::of_save(&begun.keyspace);
    let facts = if begun.exact { facts } else { keys::unbound(facts) };
    let outputs = Outputs::from([
        ("file".into(), json!(file)),
        ("version".into(), json!(server.version.full)),
        ("savedAt".into(), json!(begun.clock)),
    ]);
    let hold = Saved {
        target: target.clone(),
        server,
        number: begun.number,
        alone,
        evidence,
        facts,
        released: Instant::now(),
    };
    Ok(Acquired { hold: Box::new(hold), outputs, since: begun.at })
}

/// Waits until nobody else saves, and begins.
async fn begin(session: &Session, server: &Server, wait: Duration) -> Result<Begun> {
    let deadline = Instant::now() + wait;
    let mut attempts = 0;
    loop {
        let info = Info::of(session, LOOKUP).await?;
        server.expect_same(&Server::read(&info, session.place())?, session.place())?;
        let busy = busy(&info);
        if let Some(what) = busy {
            if Instant::now() > deadline {
                return Err(too_long(what, wait, session.place()));
            }
        } else if clock(&info, session.place())? > info.needed("rdb_last_save_time", session.place())? {
            // Saves are told apart by the second in which they ended.
            attempts += 1;
            match attempt(session).await? {
                Some(begun) if begun.exact || attempts >= ATTEMPTS => return Ok(begun),
                // It is not wasted: the next one follows when it is done.
                _ => {}
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a server does that keeps a save from beginning.
///
/// `BGSAVE SCHEDULE` would queue one behind it, but then nobody can count at the instant at which it begins.
fn busy(info: &Info) -> Option<&'static str> {
    let running = [
        ("rdb_bgsave_in_progress", "a save of somebody else"),
        ("aof_rewrite_in_progress", "a rewrite of the append-only file"),
        ("aof_rewrite_scheduled", "a rewrite of the append-only file"),
        ("module_fork_in_progress", "a module's child process"),
    ];
    running.into_iter().find_map(|(field, what)| info.is_on(field).then_some(what))
}

/// One attempt to begin; `None` if somebody else was faster.
async fn attempt(session: &Session) -> Result<Option<Begun>> {
    const ATTEMPT: &str = "save (BGSAVE)";
    let at = Instant::now();
    let answers = session.together(LOOKUP, ATTEMPT, &[&["INFO"], &["BGSAVE"], &["INFO"]]).await?;
    let place = session.place();
    let [before, saved, after] = <[_; 3]>::try_from(answers).map_err(|_| errors::strange(ATTEMPT, place))?;
    match saved {
        Ok(Value::SimpleString(said)) if said.contains("started") => {}
        // "scheduled": a child process of another kind was there.
        Ok(_) => return Ok(None),
        Err(cause) if is_in_the_way(&cause.to_string()) => return Ok(None),
        Err(cause) => return Err(refused(cause, place)),
    }
    let read = |answer: Result<Value, redis::RedisError>| -> Result<Info> {
        let text: String = answer
            .map_err(|cause| errors::answer(cause, ATTEMPT, place))
            .and_then(|value| redis::from_redis_value(value).map_err(|_| errors::strange(ATTEMPT, place)))?;
        Ok(Info::read(&text))
    };
    let (before, after) = (read(before)?, read(after)?);
    let commands = |info: &Info| info.needed("total_commands_processed", place);
    let between = commands(&after)?.saturating_sub(commands(&before)?);
    let exact = between == 2 && before.keyspace() == after.keyspace();
    Ok(Some(Begun {
        number: after.needed("rdb_saves", place)?,
        last: before.needed("rdb_last_save_time", place)?,
        clock: clock(&before, place)?,
        keyspace: before.keyspace(),
        exact,
        offset: before.number("master_repl_offset").unwrap_or_default(),
        at,
    }))
}

fn is_in_the_way(said: &str) -> bool {
    said.contains("already in progress") || said.contains("child process is active")
}

/// The server's own clock, in seconds.
fn clock(info: &Info, place: &str) -> Result<u64> {
    Ok(info.needed("server_time_usec", place)? / 1_000_000)
}

fn refused(cause: redis::RedisError, place: &str) -> Error {
    let said = cause.to_string();
    if said.contains("fork") || said.contains("memory") {
        return Error::failed(format!("the server at {place} cannot start a process that saves"))
            .remedy("Free memory, or let the system overcommit it: sysctl vm.overcommit_memory=1.")
            .because(cause);
    }
    errors::answer(cause, "save (BGSAVE)", place)
}

fn too_long(what: &str, wait: Duration, place: &str) -> Error {
    Error::temporary(format!("{what} at {place} did not end within {}", show_duration(wait)))
        .remedy("Try again when it has ended, or raise `waitFor`.")
}

/// Waits until a save is done, and proves that it was this one. That none runs any more proves nothing: it is so, too,
/// where none was begun, or where it failed.
async fn finished(session: &Session, server: &Server, begun: &Begun) -> Result<Info> {
    let place = session.place();
    loop {
        let info = Info::of(session, LOOKUP).await?;
        server.expect_same(&Server::read(&info, place)?, place)?;
        let others = info.needed("rdb_saves", place)? > begun.number;
        if !info.is_on("rdb_bgsave_in_progress") || others {
            let moved = info.needed("rdb_last_save_time", place)? > begun.last;
            return if moved && info.get("rdb_last_bgsave_status") == Some("ok") {
                Ok(info)
            } else {
                Err(unsaved(place))
            };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn unsaved(place: &str) -> Error {
    Error::failed(format!("the server at {place} could not save")).remedy(
        "Look into its log: most often its disk is full. Make room and run BGSAVE: until a save succeeds, the server refuses writes if it has `save` and `stop-writes-on-bgsave-error`.",
    )
}

/// What is left of a moment: its proof.
struct Saved {
    target: Target,
    server: Server,
    number: u64,
    /// Whether the save was still the last one when it was done.
    alone: bool,
    evidence: Evidence,
    facts: Vec<Fact>,
    released: Instant,
}

#[async_trait]
impl Hold for Saved {
    async fn renew(&mut self) -> Result<()> {
        Ok(())
    }

    /// The file was there during the whole capture: it is only ever replaced, in one step, by that of a later save.
    async fn confirm(&mut self) -> Result<Evidence> {
        let session = Session::to(&self.target).await?;
        let info = Info::of(&session, LOOKUP).await?;
        self.server.expect_same(&Server::read(&info, session.place())?, session.place())?;
        let now = info.needed("rdb_saves", session.place())?;
        self.alone &= now == self.number;
        Ok(self.evidence.clone().and("savesMeanwhile", now.saturating_sub(self.number)))
    }

    async fn release(&mut self) -> Result<Receipt> {
        let facts = self.facts.clone();
        let facts = if self.alone { facts } else { keys::unbound(facts) };
        let evidence = Evidence::of("capturedTheSave", self.alone);
        Ok(Receipt { evidence, outputs: Outputs::new(), facts, released: self.released, froze: None })
    }
}
