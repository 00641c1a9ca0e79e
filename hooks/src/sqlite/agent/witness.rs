//! The process that looks at a write lock from outside: it tries to write, which must be refused, watches whether
//! anybody commits, and counts rows as of the quiesced moment on a connection of its own.
//!
//! In WAL mode its reader keeps nobody waiting, so it counts after the release. In rollback-journal mode an open
//! reader keeps commits waiting, so it counts while the lock is on and is interrupted at the release: a table that
//! was not done by then has no count.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::Connection;
use serde_json::Value;
use standstill_core::{Error, Result};

use super::{
    super::task::{JournalMode, Watched, WitnessOrder, WitnessTask, Witnessed},
    files,
    locks::WriteLock,
    open,
    read::Counting,
};
use crate::helper::{Orders, Wake, say, to_value};

/// Watches as ordered, until the runner is gone or its lease runs out.
pub(super) fn run(task: &WitnessTask) -> Result<()> {
    let mut orders = Orders::in_own_session()?;
    let lease = Duration::from_millis(task.lease_milliseconds);
    let mut witness = Witness::new(task)?;
    say(0, Ok(Value::Null))?;
    orders.prolong(Some(lease))?;
    loop {
        let request = match orders.next()? {
            Wake::Order(request) => request,
            Wake::Closed => return Ok(()),
            // Its reader may keep writers waiting, and dies with it.
            Wake::Lapsed | Wake::Elapsed => return Err(Error::lapsed("the witness ended: no renewal came")),
        };
        orders.prolong(Some(lease))?;
        let answer = match request.order {
            WitnessOrder::Watch => witness.watch().and_then(to_value),
            WitnessOrder::Renew => Ok(Value::Null),
            WitnessOrder::Confirm => witness.confirm().and_then(to_value),
            WitnessOrder::Yield => witness.make_way().map(|()| Value::Null),
            WitnessOrder::Count => witness.counts().and_then(to_value),
        };
        say(request.id, answer.as_ref().map(Clone::clone))?;
    }
}

struct Witness<'a> {
    task: &'a WitnessTask,
    path: PathBuf,
    watching: Option<Watching>,
    counting: Option<Counting>,
}

/// What is open while the lock is on.
struct Watching {
    mode: JournalMode,
    /// Never inside a transaction, where it would not see a change.
    outside: Connection,
    lock: WriteLock,
}

impl<'a> Witness<'a> {
    fn new(task: &'a WitnessTask) -> Result<Self> {
        let path = files::resolve(&task.owner.database)?;
        Ok(Self { task, path, watching: None, counting: None })
    }

    fn watch(&mut self) -> Result<Watched> {
        if self.watching.is_some() {
            return Err(Error::failed("the write lock is already being watched"));
        }
        if self.task.sync {
            // Before any connection is open: closing these files drops this process' locks on them.
            sync(&self.path)?;
        }
        let outside = open::shared(&self.path)?;
        outside.busy_timeout(Duration::ZERO).map_err(|cause| open::fault("open", &self.path, cause))?;
        let mode = open::journal_mode(&outside, &self.path)?;
        let data_version = open::number(&outside, &self.path, "data_version")?;
        let lock = WriteLock::of(&self.path, mode)?;
        if let Some(tables) = self.task.tables {
            let counting = Counting::begin(&self.path, tables)?;
            if mode == JournalMode::Rollback {
                counting.start();
            }
            self.counting = Some(counting);
        }
        self.watching = Some(Watching { mode, outside, lock });
        Ok(Watched { data_version })
    }

    fn confirm(&mut self) -> Result<Witnessed> {
        let watching = self.watching()?;
        let refused = match watching.outside.execute_batch("BEGIN IMMEDIATE") {
            Err(cause) if open::is_busy(&cause) => true,
            Err(cause) => return Err(open::fault("test the write lock of", &self.path, cause)),
            Ok(()) => {
                watching
                    .outside
                    .execute_batch("ROLLBACK")
                    .map_err(|cause| open::fault("let go of", &self.path, cause))?;
                false
            }
        };
        let owner = watching.lock.owner();
        // Last, so that a commit up to here is seen.
        let data_version = open::number(&watching.outside, &self.path, "data_version")?;
        Ok(Witnessed { data_version, refused, owner })
    }

    /// Ends what keeps commits waiting.
    fn make_way(&mut self) -> Result<()> {
        if self.watching()?.mode == JournalMode::Rollback
            && let Some(counting) = &mut self.counting
        {
            counting.stop();
        }
        Ok(())
    }

    /// Counts what is not counted yet, where that keeps nobody waiting.
    fn counts(&mut self) -> Result<Vec<super::super::task::Count>> {
        let mode = self.watching()?.mode;
        let Some(counting) = &mut self.counting else { return Ok(Vec::new()) };
        if mode == JournalMode::Wal {
            counting.start();
            counting.finish(Duration::from_millis(self.task.count_milliseconds));
        }
        Ok(counting.stop())
    }

    fn watching(&self) -> Result<&Watching> {
        self.watching.as_ref().ok_or_else(|| Error::failed("the write lock is not being watched"))
    }
}

/// Writes what the page cache has of a database to the disk, for a snapshot of the block device.
fn sync(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    for file in [path, &files::beside(path, "-wal"), directory] {
        match File::open(file).and_then(|file| file.sync_all()) {
            Ok(()) => {}
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
            Err(cause) => {
                return Err(
                    Error::failed(format!("cannot write {} to the disk", file.display())).because(cause)
                );
            }
        }
    }
    Ok(())
}
