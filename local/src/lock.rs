//! One run per target at a time, among the runs of one user on this machine.
//!
//! Runs of other users and other hosts do not see these locks; the lock in the database's own server does that.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use standstill_core::{
    Error, ErrorKind, Result,
    lock::{LockGuard, TargetLock},
    point::RunId,
};

use crate::{process::launcher::blocking, state::StateDir};

/// Locks on database identities, as locked files in the state directory. The kernel ends them with their process.
#[derive(Debug, Clone)]
pub struct LocalLocks(PathBuf);

impl LocalLocks {
    /// The locks of a state directory.
    pub fn new(state: &StateDir) -> Self {
        Self(state.locks())
    }
}

/// Who holds a lock, for messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Holder {
    run: RunId,
    pid: u32,
}

#[async_trait]
impl TargetLock for LocalLocks {
    async fn acquire(&self, identity: &str, run: &RunId) -> Result<Box<dyn LockGuard>> {
        // The identity may hold anything, so its digest names the file.
        let path = self.0.join(blake3::hash(identity.as_bytes()).to_hex().as_str());
        let (identity, run) = (identity.to_owned(), run.clone());
        let held = blocking(move || acquire(&path, &identity, &run)).await?;
        Ok(Box::new(held))
    }
}

fn acquire(path: &Path, identity: &str, run: &RunId) -> Result<HeldLock> {
    let failed = |cause: io::Error| {
        Error::failed(format!("the lock on {identity} cannot be taken"))
            .remedy(format!("Check that {} can be written.", path.display()))
            .because(cause)
    };
    // It is never removed: a lock on a file that is removed excludes nobody.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked(path, identity)),
        Err(TryLockError::Error(cause)) => return Err(failed(cause)),
    }
    let holder = serde_json::to_vec(&Holder { run: run.clone(), pid: std::process::id() });
    let written = holder.map_err(io::Error::from).and_then(|text| {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&text)
    });
    if let Err(cause) = written {
        // It only serves a message; a full disk is told by the journal.
        tracing::debug!(?cause, "who holds a lock cannot be noted");
    }
    Ok(HeldLock { file, path: path.to_owned() })
}

fn locked(path: &Path, identity: &str) -> Error {
    let holder = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Holder>(&text).ok());
    match holder {
        Some(Holder { run, pid }) => {
            Error::new(ErrorKind::Locked, format!("run {run} (process {pid}) is working on {identity}"))
                .remedy(format!("Wait for it to end; `standstill logs {run}` shows what it does."))
        }
        None => Error::new(ErrorKind::Locked, format!("another run is working on {identity}"))
            .remedy("Wait for it to end; `standstill runs` lists all runs."),
    }
}

/// A lock that is held for as long as the value lives.
struct HeldLock {
    file: File,
    path: PathBuf,
}

#[async_trait]
impl LockGuard for HeldLock {
    async fn is_held(&self) -> bool {
        // Somebody who removes the file lets others lock a new one.
        let file = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match (self.file.metadata().map(file), fs::metadata(&self.path).map(file)) {
            (Ok(ours), Ok(present)) => ours == present,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks() -> (tempfile::TempDir, LocalLocks) {
        let place = tempfile::tempdir().unwrap();
        let locks = LocalLocks::new(&StateDir::at(&place.path().join("state")).unwrap());
        (place, locks)
    }

    #[tokio::test]
    async fn a_second_run_on_the_same_target_is_told_who_is_working_on_it() {
        let (_place, locks) = locks();
        let (first, second) = (RunId::generate(), RunId::generate());
        let held = locks.acquire("pg/7", &first).await.unwrap();
        let error = locks.acquire("pg/7", &second).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert_eq!(
            error.to_string(),
            format!("run {first} (process {}) is working on pg/7", std::process::id())
        );
        assert!(locks.acquire("pg/8", &second).await.unwrap().is_held().await);
        drop(held);
        assert!(locks.acquire("pg/7", &second).await.unwrap().is_held().await);
    }

    #[tokio::test]
    async fn a_lock_whose_file_was_removed_is_not_held_any_more() {
        let (_place, locks) = locks();
        let held = locks.acquire("pg/7", &RunId::generate()).await.unwrap();
        for entry in fs::read_dir(&locks.0).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert!(!held.is_held().await);
    }
}
