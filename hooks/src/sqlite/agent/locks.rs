//! Who has a database's write lock, as the kernel knows it.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};
use standstill_core::Result;

use super::{
    super::task::JournalMode,
    files::{beside, unreadable},
};

/// The byte of the database file whose lock is RESERVED (`os.h`: `PENDING_BYTE + 1`).
const RESERVED_BYTE: u64 = 0x4000_0001;
/// The bytes of the database file whose locks are SHARED and EXCLUSIVE (`os.h`).
const SHARED_FIRST: u64 = 0x4000_0002;
const SHARED_SIZE: u64 = 510;
/// The byte of the `-shm` file whose lock is `WAL_WRITE_LOCK` (WAL-mode file format, section 2.2).
const WAL_WRITE_BYTE: u64 = 120;

/// Looks at a write lock without touching it.
///
/// Its file stays open until this process ends: closing it would drop the locks of this process' own connections.
pub(super) struct WriteLock {
    file: File,
    byte: u64,
}

impl WriteLock {
    /// The lock of a database that is in use.
    pub(super) fn of(path: &Path, mode: JournalMode) -> Result<Self> {
        let (path, byte): (PathBuf, u64) = match mode {
            JournalMode::Wal => (beside(path, "-shm"), WAL_WRITE_BYTE),
            JournalMode::Rollback => (path.to_owned(), RESERVED_BYTE),
        };
        let file = File::open(&path).map_err(|cause| unreadable(&path).because(cause))?;
        Ok(Self { file, byte })
    }

    /// The process that has it; `None` if nobody has it, or if the kernel does not say who.
    pub(super) fn owner(&self) -> Option<i32> {
        owner(&self.file, self.byte, 1)
    }
}

/// The process that has a database file open through SQLite and keeps a lock on it; for a process that holds nothing.
pub(super) fn user(path: &Path) -> Result<Option<i32>> {
    let file = File::open(path).map_err(|cause| unreadable(path).because(cause))?;
    Ok(owner(&file, SHARED_FIRST, SHARED_SIZE))
}

fn owner(file: &File, start: u64, length: u64) -> Option<i32> {
    let wanted =
        Flock { start, length, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    let found = fcntl_getlk(file, &wanted).ok()??;
    found.pid.map(|pid| pid.as_raw_nonzero().get())
}
