//! `fsyncLock`, and the mark that says whose it is.
//!
//! The lock has no owner: the server counts how often it was locked, and anybody's `fsyncUnlock` takes one off; it
//! survives its client, and a restart clears it (manual: "fsync", "fsyncUnlock"). So before it locks, a run leaves a
//! mark in the server itself, in a database that is never replicated:
//!
//! ```text
//!   local.standstill  {_id: "lock", run: …, process: …}
//! ```
//!
//! Whoever finds the server locked and the mark of a dead run of the same process takes *one* lock off, then the mark.
//! Without the mark, a lock is somebody else's, and stays.

use std::time::Duration;

use bson::{Document, RawDocument, doc};
use standstill_core::{
    Error, Result,
    units::{milliseconds, show_duration},
};

use super::{
    errors::{self, code},
    session::{LOOKUP, Session},
};

/// Where the mark is.
pub(super) const DATABASE: &str = "local";
/// The collection of the mark.
pub(super) const COLLECTION: &str = "standstill";
/// The mark's own name.
const ID: &str = "lock";
/// How long the mark may take: where somebody else has the lock, it would wait for ever.
const MARKING: Duration = Duration::from_secs(5);

/// Whose lock may be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub run: String,
    /// The server's process that it was locked in.
    pub process: String,
}

impl Mark {
    fn read(found: &RawDocument) -> Option<Self> {
        let text = |field: &str| found.get_str(field).ok().map(str::to_owned);
        Some(Self { run: text("run")?, process: text("process")? })
    }

    /// The mark that is there.
    pub async fn find(session: &Session) -> Result<Option<Self>> {
        let command = doc! {"find": COLLECTION, "filter": {"_id": ID}, "limit": 1, "singleBatch": true};
        let found = session.ask(DATABASE, LOOKUP, "look for a run's mark", command).await?;
        let batch = found.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let batch = batch
            .map_err(|cause| errors::strange("look for a run's mark", session.place()).because(cause))?;
        Ok(batch.into_iter().next().and_then(|first| Self::read(first.ok()?.as_document()?)))
    }

    /// Leaves it, in the place of an older one.
    pub async fn leave(&self, session: &Session) -> Result<()> {
        remove(session, doc! {"_id": ID}).await?;
        let command = doc! {
            "insert": COLLECTION,
            "documents": [{"_id": ID, "run": &self.run, "process": &self.process}],
            "maxTimeMS": in_milliseconds(MARKING),
        };
        session.run(DATABASE, MARKING * 2, "leave a mark before locking", command).await.map(drop)
    }

    /// Takes it away, if it is still this one.
    pub async fn take_away(&self, session: &Session) -> Result<()> {
        remove(session, doc! {"_id": ID, "run": &self.run}).await
    }
}

async fn remove(session: &Session, filter: Document) -> Result<()> {
    let command = doc! {
        "delete": COLLECTION,
        "deletes": [{"q": filter, "limit": 1}],
        "maxTimeMS": in_milliseconds(MARKING),
    };
    session.run(DATABASE, MARKING * 2, "take a mark away", command).await.map(drop)
}

fn in_milliseconds(duration: Duration) -> i64 {
    i64::try_from(milliseconds(duration)).unwrap_or(i64::MAX)
}

/// Whether the server is locked, by whomever.
pub(super) async fn is_locked(session: &Session) -> Result<bool> {
    // What others do is none of our business; the lock is told all the same.
    let command = doc! {"currentOp": 1, "$ownOps": true};
    let said = session.run("admin", LOOKUP, "look whether it is locked (currentOp)", command).await?;
    Ok(said.get_bool("fsyncLock").unwrap_or(false))
}

/// Somebody else's lock was there before.
pub(super) async fn foreign(session: &Session) -> Error {
    let place = session.place();
    match Mark::find(session).await {
        Ok(Some(mark)) => {
            Error::temporary(format!("run {} has locked MongoDB at {place} (fsyncLock)", mark.run))
                .remedy("Wait until it is done; if it is dead, finish it with `standstill recover`.")
        }
        _ => Error::temporary(format!("somebody else has locked MongoDB at {place} (fsyncLock)"))
            .remedy("Wait until that backup is done; if nobody needs the lock any more: db.fsyncUnlock()."),
    }
}

/// Locks once; how often it is locked now. The server gives up by itself after `wait`. The inner error is the server's
/// own: then this did not lock it.
///
/// # Errors
/// When it is not known whether it is locked.
pub(super) async fn lock(session: &Session, run: &str, wait: Duration) -> Result<Result<i64>> {
    let attempt = "lock it (fsync)";
    let command = doc! {
        "fsync": 1,
        "lock": true,
        "comment": format!("standstill run {run}"),
        "maxTimeMS": in_milliseconds(wait),
    };
    Ok(match session.command("admin", wait + LOOKUP, attempt, command).await? {
        Ok(said) => Ok(count(&said).ok_or_else(|| errors::strange(attempt, session.place()))?),
        Err(refusal) if refusal.code == code::MAX_TIME_EXPIRED => Err(Error::temporary(format!(
            "MongoDB at {} could not be locked within {}",
            session.place(),
            show_duration(wait)
        ))
        .remedy("See db.currentOp() for the operations in its way, try again, or raise `lockWait`.")
        .because(refusal)),
        Err(refusal) => Err(errors::refused(refusal, attempt, session.place(), session.user())),
    })
}

/// Takes one lock off; how often it is still locked. `None` if it was not locked at all.
pub(super) async fn unlock(session: &Session) -> Result<Option<i64>> {
    let attempt = "unlock it (fsyncUnlock)";
    match session.command("admin", LOOKUP, attempt, doc! {"fsyncUnlock": 1}).await? {
        Ok(said) => count(&said).map(Some).ok_or_else(|| errors::strange(attempt, session.place())),
        Err(refusal) if refusal.code == code::ILLEGAL_OPERATION => Ok(None),
        Err(refusal) => Err(errors::refused(refusal, attempt, session.place(), session.user())),
    }
}

/// The server counts in whole numbers of either size.
fn count(said: &RawDocument) -> Option<i64> {
    let long = said.get_i64("lockCount").ok();
    long.or_else(|| said.get_i32("lockCount").ok().map(i64::from))
}
