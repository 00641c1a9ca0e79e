//! restic's locks: what keeps a prune, of ours or of restic, away from a live writer (and from each other).
//!
//! The repository library takes none. A lock is a small encrypted JSON file under `locks/`: shared while somebody
//! reads or writes, exclusive while somebody prunes. It is written first and only then are the others looked at,
//! so of two that come at the same time at least one sees the other. A lock is refreshed every five minutes and
//! stale after thirty, as with restic.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use standstill_core::{Error, ErrorKind, Result};

use crate::{
    fault::Attempt,
    objects::Objects,
    seal::{Seal, digest},
};

/// restic's own figures.
const REFRESH: Duration = Duration::from_mins(5);
const STALE: SignedDuration = SignedDuration::from_mins(30);
/// A lock that could not be refreshed for so long is no longer trusted: others may soon think it stale.
const DOUBTFUL: SignedDuration = SignedDuration::from_mins(25);

/// The content of a lock file. restic ignores fields that it does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LockFile {
    time: Timestamp,
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    /// Where the process id counts: boot and process-id namespace. Host names alone are not unique among
    /// containers, and taking a live writer for a dead one loses data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    standstill_process_space: Option<String>,
}

impl LockFile {
    fn new(exclusive: bool) -> Self {
        Self {
            time: Timestamp::now(),
            exclusive,
            hostname: host_name(),
            username: "standstill".to_owned(),
            pid: std::process::id(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            standstill_process_space: process_space(),
        }
    }

    /// Whether the process that wrote it is known to be gone.
    fn is_dead(&self) -> bool {
        self.standstill_process_space.is_some()
            && self.standstill_process_space == process_space()
            && !Path::new(&format!("/proc/{}", self.pid)).exists()
    }

    fn is_stale(&self) -> bool {
        Timestamp::now().duration_since(self.time) > STALE || self.is_dead()
    }

    fn describe(&self) -> String {
        let kind = if self.exclusive { "exclusive" } else { "shared" };
        format!("{kind} lock of process {} on {}, from {}", self.pid, self.hostname, self.time)
    }
}

/// This machine's name, as restic records it.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn process_space() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// Takes locks in one repository.
pub(crate) struct Locks {
    files: Arc<LockFiles>,
    /// The shared lock that is held now: concurrent operations hold the same one.
    shared: Mutex<Weak<Lock>>,
}

struct LockFiles {
    objects: Arc<dyn Objects>,
    seal: Arc<Seal>,
}

impl Locks {
    pub(crate) fn new(objects: Arc<dyn Objects>, seal: Arc<Seal>) -> Self {
        Self { files: Arc::new(LockFiles { objects, seal }), shared: Mutex::new(Weak::new()) }
    }

    /// Takes (or joins) a shared lock: no prune runs while it is held.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] while somebody holds an exclusive one.
    pub(crate) fn shared(&self) -> Result<Arc<Lock>> {
        let mut current = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = current.upgrade().filter(|lock| lock.confirm().is_ok()) {
            return Ok(lock);
        }
        let lock = Arc::new(self.take(false)?);
        *current = Arc::downgrade(&lock);
        Ok(lock)
    }

    /// A shared lock for reading. Where locks cannot be written (a read-only medium), reading goes on without.
    pub(crate) fn reading(&self) -> Result<Option<Arc<Lock>>> {
        match self.shared() {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind() == ErrorKind::Locked => Err(error),
            Err(error) => {
                tracing::warn!(
                    error = error.chain(),
                    "reading without a lock; a prune at the same time may disturb it"
                );
                Ok(None)
            }
        }
    }

    /// Takes an exclusive lock, for pruning.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] while anybody holds any other.
    pub(crate) fn exclusive(&self) -> Result<Lock> {
        self.take(true)
    }

    fn take(&self, exclusive: bool) -> Result<Lock> {
        let path = self.files.write(exclusive)?;
        if let Err(error) = self.files.refuse_others(exclusive, &path) {
            if let Err(left) = self.files.objects.remove(&path) {
                tracing::warn!(%path, error = %left, "a lock of ours is left behind; it is stale in 30 minutes");
            }
            return Err(error);
        }
        Ok(Lock::keep(Arc::clone(&self.files), exclusive, path))
    }
}

impl LockFiles {
    fn write(&self, exclusive: bool) -> Result<String> {
        let json = serde_json::to_vec(&LockFile::new(exclusive))
            .map_err(|cause| Error::failed("a lock cannot be written down").because(cause))?;
        let sealed = self.seal.encrypt(&json)?;
        let path = format!("locks/{}", digest(&sealed).to_hex().as_str());
        self.objects.write(&path, vec![sealed.into()]).attempt("the repository's lock cannot be written")?;
        Ok(path)
    }

    /// Looks at all other locks; removes those of dead processes of this machine.
    fn refuse_others(&self, exclusive: bool, own: &str) -> Result<()> {
        let names = self.objects.list("locks").attempt("the repository's locks cannot be listed")?;
        for (name, _) in names.into_iter().filter(|(name, _)| name.parse::<rustic_core::Id>().is_ok()) {
            let path = format!("locks/{name}");
            if path == own {
                continue;
            }
            let sealed = match self.objects.read(&path) {
                Ok(sealed) => sealed,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).attempt("a lock of the repository cannot be read"),
            };
            let Some(lock) = self.open(&sealed) else {
                if exclusive {
                    return Err(locked(&format!("its lock file {path} cannot be understood")));
                }
                continue;
            };
            if lock.is_dead() {
                self.objects.remove(&path).attempt("the lock of a dead process cannot be removed")?;
            } else if !lock.is_stale() && (exclusive || lock.exclusive) {
                return Err(locked(&format!("there is a {}", lock.describe())));
            }
        }
        Ok(())
    }

    fn open(&self, sealed: &[u8]) -> Option<LockFile> {
        serde_json::from_slice(&self.seal.decrypt(sealed)?).ok()
    }
}

fn locked(why: &str) -> Error {
    Error::new(ErrorKind::Locked, format!("the repository is in use: {why}"))
        .remedy("Wait for it to end; if its process is gone, `restic unlock` removes what it left.")
}

/// A lock that is held, and refreshed by a thread of its own, until it is dropped.
pub(crate) struct Lock {
    files: Arc<LockFiles>,
    held: Arc<Mutex<HeldFile>>,
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

struct HeldFile {
    path: String,
    since: Timestamp,
}

impl Lock {
    fn keep(files: Arc<LockFiles>, exclusive: bool, path: String) -> Self {
        let held = Arc::new(Mutex::new(HeldFile { path, since: Timestamp::now() }));
        let (stop, stopped) = channel::<()>();
        let keeper = std::thread::Builder::new().name("repository-lock".to_owned()).spawn({
            let (files, held) = (Arc::clone(&files), Arc::clone(&held));
            move || {
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(REFRESH) {
                    refresh(&files, exclusive, &held);
                }
            }
        });
        // Without the thread the lock is good for as long as it is not doubtful; `confirm` tells.
        let keeper =
            keeper.inspect_err(|error| tracing::warn!(%error, "the repository's lock is not refreshed")).ok();
        Self { files, held, stop: Some(stop), keeper }
    }

    /// Whether it was held without a gap until now. What was written under a lost lock may already be pruned.
    pub(crate) fn confirm(&self) -> Result<()> {
        let (path, since) = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            (held.path.clone(), held.since)
        };
        let fresh = Timestamp::now().duration_since(since) < DOUBTFUL;
        let there =
            self.files.objects.size(&path).attempt("the repository's lock cannot be looked at")?.is_some();
        if fresh && there {
            Ok(())
        } else {
            Err(Error::failed("the repository's lock was lost while writing")
                .remedy("Run the backup again; do not run `restic unlock` while a backup is running."))
        }
    }
}

fn refresh(files: &LockFiles, exclusive: bool, held: &Mutex<HeldFile>) {
    match files.write(exclusive) {
        Ok(path) => {
            let old = {
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                held.since = Timestamp::now();
                std::mem::replace(&mut held.path, path)
            };
            if let Err(error) = files.objects.remove(&old) {
                tracing::warn!(%error, "the former lock is left behind; it is stale in 30 minutes");
            }
        }
        Err(error) => tracing::warn!(error = error.chain(), "the repository's lock could not be refreshed"),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
        let path = self.held.lock().unwrap_or_else(PoisonError::into_inner).path.clone();
        if let Err(error) = self.files.objects.remove(&path) {
            tracing::warn!(%path, %error, "the repository's lock is left behind; it is stale in 30 minutes");
        }
    }
}
