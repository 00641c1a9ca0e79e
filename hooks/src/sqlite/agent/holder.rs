//! The process that keeps a database's write lock. It opens the files through one SQLite connection and no other
//! way: closing any other descriptor of them would drop the lock without a word.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use serde_json::Value;
use standstill_core::{Error, Result, units::milliseconds};

use super::{
    super::task::{Held, HoldOrder, HoldTask, JournalMode, StillHeld, microseconds},
    files, open,
};
use crate::helper::{Orders, Wake, say, to_value};

/// The pause between two attempts to get the lock. Short, because a busy writer leaves it for moments only.
const PAUSE: Duration = Duration::from_micros(200);

/// Keeps the lock as ordered, until it is released, the runner is gone, or the lease runs out.
pub(super) fn run(task: &HoldTask) -> Result<()> {
    let mut orders = Orders::in_own_session()?;
    let mut holder = Holder::open(task)?;
    say(0, Ok(Value::Null))?;
    orders.prolong(Some(holder.lease))?;
    loop {
        let request = match orders.next()? {
            Wake::Order(request) => request,
            Wake::Closed => return Ok(()),
            Wake::Lapsed | Wake::Elapsed => {
                return Err(Error::lapsed(format!(
                    "the write lock on {} was let go: no renewal came within the lease",
                    holder.path.display()
                )));
            }
        };
        orders.prolong(Some(holder.lease))?;
        let answer = match request.order {
            HoldOrder::Acquire => holder.acquire(&mut orders).and_then(to_value),
            HoldOrder::Renew => holder.still_held().map(|_| Value::Null),
            HoldOrder::Confirm => holder.still_held().and_then(to_value),
            HoldOrder::Release => holder.release().and_then(to_value),
        };
        say(request.id, answer.as_ref().map(Clone::clone))?;
    }
}

struct Holder {
    path: PathBuf,
    connection: Connection,
    journal_mode: JournalMode,
    lease: Duration,
    wait: Duration,
    since: Option<Instant>,
}

impl Holder {
    fn open(task: &HoldTask) -> Result<Self> {
        let path = files::resolve(&task.owner.database)?;
        if files::size(&path)? == 0 {
            // Beginning a write transaction would write its first page.
            return Err(Error::input(format!("{} is empty", path.display()))
                .remedy("Let the application make its tables first."));
        }
        let connection = open::shared(&path)?;
        let journal_mode = open::journal_mode(&connection, &path)?;
        // Reads the schema and the log's index now, not while writers wait.
        open::page_count(&connection, &path)?;
        connection.busy_timeout(Duration::ZERO).map_err(|cause| open::fault("open", &path, cause))?;
        Ok(Self {
            path,
            connection,
            journal_mode,
            lease: Duration::from_millis(task.lease_milliseconds),
            wait: Duration::from_millis(task.wait_milliseconds),
            since: None,
        })
    }

    /// Begins the write transaction, in attempts of its own, so that the runner's end is noticed between them.
    fn acquire(&mut self, orders: &mut Orders<HoldOrder>) -> Result<Held> {
        if self.since.is_some() {
            return Err(Error::failed("the write lock was already taken once"));
        }
        let asked = Instant::now();
        loop {
            let attempt = asked.elapsed();
            // The lease covers the lock from its first moment.
            orders.prolong(Some(self.lease))?;
            match self.connection.execute_batch("BEGIN IMMEDIATE") {
                Ok(()) => return self.held(asked + attempt, attempt),
                Err(cause) if !open::is_busy(&cause) => return Err(open::fault("lock", &self.path, cause)),
                Err(cause) if attempt >= self.wait => {
                    return Err(Error::temporary(format!(
                        "{} was locked by a writer for the whole of {} ms",
                        self.path.display(),
                        milliseconds(self.wait)
                    ))
                    .remedy("Find the transaction that stays open, or raise `waitFor`.")
                    .because(cause));
                }
                Err(_) => {}
            }
            if matches!(orders.pause(PAUSE)?, Wake::Closed | Wake::Lapsed) {
                return Err(Error::cancelled("the runner went away while the write lock was awaited"));
            }
        }
    }

    fn held(&mut self, since: Instant, waited: Duration) -> Result<Held> {
        self.since = Some(since);
        Ok(Held {
            pid: rustix::process::getpid().as_raw_pid(),
            journal_mode: self.journal_mode,
            page_count: open::page_count(&self.connection, &self.path)?,
            waited_microseconds: microseconds(waited),
        })
    }

    /// What is known from inside: the transaction that was begun is still open. Whether the lock really is there is
    /// for the witness to say.
    fn still_held(&self) -> Result<StillHeld> {
        let lapsed = || Error::lapsed(format!("no write lock on {} is held", self.path.display()));
        let since = self.since.ok_or_else(lapsed)?;
        if self.connection.is_autocommit() {
            return Err(lapsed());
        }
        Ok(StillHeld {
            held_milliseconds: milliseconds(since.elapsed()),
            page_count: open::page_count(&self.connection, &self.path)?,
        })
    }

    fn release(&mut self) -> Result<StillHeld> {
        let held = self.still_held()?;
        self.connection
            .execute_batch("ROLLBACK")
            .map_err(|cause| open::fault("let go of the write lock on", &self.path, cause))?;
        Ok(held)
    }
}
