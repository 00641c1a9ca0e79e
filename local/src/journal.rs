//! Journals as files: `runs/RUN/journal.jsonl`, one JSON document a line, and `runs/RUN/lock`, locked by its writer.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use standstill_core::{
    Error, ErrorKind, Result,
    journal::{Entry, Event, Journal, JournalStore, RunState, RunSummary},
    point::RunId,
};

use crate::{
    process::launcher::blocking,
    state::{StateDir, make_private, sync_directory},
};

/// How many journals of finished runs are kept.
const KEPT_RUNS: usize = 200;

/// Journals in the state directory.
#[derive(Debug, Clone)]
pub struct LocalJournals(StateDir);

impl LocalJournals {
    /// The journals of a state directory.
    pub fn new(state: &StateDir) -> Self {
        Self(state.clone())
    }

    fn names(&self) -> Result<Vec<RunId>> {
        let runs = self.0.runs();
        let entries = fs::read_dir(&runs).map_err(|cause| unreadable(&runs, cause))?;
        let mut names: Vec<RunId> =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    fn create_blocking(&self, run: &RunId) -> Result<FileJournal> {
        self.prune();
        let directory = self.0.run(run);
        let unwritable = |cause: io::Error| {
            Error::failed(format!("the journal of run {run} cannot be begun in {}", directory.display()))
                .remedy("Free space there, or set XDG_STATE_HOME to another place.")
                .because(cause)
        };
        make_private(&directory).map_err(unwritable)?;
        let lock = lock(&directory, run)?;
        let path = directory.join("journal.jsonl");
        let file =
            OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path).map_err(unwritable)?;
        sync_directory(&directory).and_then(|()| sync_directory(&self.0.runs())).map_err(unwritable)?;
        FileJournal::new(run, path, file, lock)
    }

    fn take_over_blocking(&self, run: &RunId) -> Result<FileJournal> {
        let directory = self.0.run(run);
        let path = directory.join("journal.jsonl");
        if !path.exists() {
            return Err(no_such_run(run));
        }
        let lock = lock(&directory, run)?;
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .open(&path)
            .map_err(|cause| unreadable(&path, cause))?;
        // What the dead process did not write to the end never happened: write-ahead.
        let whole = whole_lines(&fs::read(&path).map_err(|cause| unreadable(&path, cause))?);
        file.set_len(whole as u64).map_err(|cause| unreadable(&path, cause))?;
        let journal = FileJournal::new(run, path, file, lock)?;
        journal.append_blocking(&Event::TakenOver)?;
        Ok(journal)
    }

    fn read_blocking(&self, run: &RunId) -> Result<Vec<Entry>> {
        let path = self.0.run(run).join("journal.jsonl");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(no_such_run(run)),
            Err(cause) => return Err(unreadable(&path, cause)),
        };
        lines(&bytes)
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_slice(line).map_err(|cause| {
                    Error::failed(format!(
                        "line {} of the journal {} is not understood",
                        index + 1,
                        path.display()
                    ))
                    .remedy("Use the version of Standstill that wrote it.")
                    .because(cause)
                })
            })
            .collect()
    }

    fn summary(&self, run: &RunId) -> Option<RunSummary> {
        let directory = self.0.run(run);
        let bytes = fs::read(directory.join("journal.jsonl")).ok()?;
        let entries = lines(&bytes).filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
        RunSummary::of(entries, || is_locked(&directory))
    }

    /// Removes the oldest journals of finished runs. What cannot be removed now is removed another time.
    fn prune(&self) {
        let Ok(names) = self.names() else { return };
        let Some(excess) = names.len().checked_sub(KEPT_RUNS).filter(|excess| *excess > 0) else { return };
        let finished = names.iter().filter(|run| {
            let state = self.summary(run).map(|summary| summary.state);
            matches!(state, Some(RunState::Succeeded | RunState::Failed)) && !is_locked(&self.0.run(run))
        });
        for run in finished.take(excess) {
            if let Err(cause) = fs::remove_dir_all(self.0.run(run)) {
                tracing::warn!(%run, ?cause, "an old journal cannot be removed");
            }
        }
    }
}

#[async_trait]
impl JournalStore for LocalJournals {
    async fn create(&self, run: &RunId) -> Result<Box<dyn Journal>> {
        let (store, run) = (self.clone(), run.clone());
        Ok(Box::new(blocking(move || store.create_blocking(&run)).await?))
    }

    async fn runs(&self) -> Result<Vec<RunSummary>> {
        let store = self.clone();
        blocking(move || Ok(store.names()?.iter().filter_map(|run| store.summary(run)).collect())).await
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>> {
        let (store, run) = (self.clone(), run.clone());
        blocking(move || store.read_blocking(&run)).await
    }

    async fn take_over(&self, run: &RunId) -> Result<Box<dyn Journal>> {
        let (store, run) = (self.clone(), run.clone());
        Ok(Box::new(blocking(move || store.take_over_blocking(&run)).await?))
    }
}

/// A journal that this process writes, for as long as the value lives.
struct FileJournal(Arc<Writer>);

struct Writer {
    run: RunId,
    path: PathBuf,
    file: File,
    /// Locked: the kernel unlocks it when this process ends, however it ends.
    _lock: File,
    state: Mutex<Written>,
}

/// How much of the file is known to be whole lines of ours.
struct Written {
    length: u64,
    /// Whether the last append may have left part of a line behind.
    torn: bool,
}

impl FileJournal {
    fn new(run: &RunId, path: PathBuf, file: File, lock: File) -> Result<Self> {
        let length = file.metadata().map_err(|cause| unreadable(&path, cause))?.len();
        let state = Mutex::new(Written { length, torn: false });
        Ok(Self(Arc::new(Writer { run: run.clone(), path, file, _lock: lock, state })))
    }

    fn append_blocking(&self, event: &Event) -> Result<()> {
        self.0.append(&line_of(event)?)
    }
}

impl Writer {
    fn append(&self, line: &[u8]) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let unwritable = |cause: io::Error| {
            Error::failed(format!("the journal {} cannot be written", self.path.display()))
                .remedy("Free space there, or set XDG_STATE_HOME to another place.")
                .because(cause)
        };
        self.check_that_it_is_ours(&state)?;
        if state.torn {
            self.file.set_len(state.length).map_err(unwritable)?;
            state.torn = false;
        }
        if let Err(cause) = (&self.file).write_all(line).and_then(|()| self.file.sync_data()) {
            state.torn = true;
            return Err(unwritable(cause));
        }
        state.length += line.len() as u64;
        Ok(())
    }

    /// A process that lives keeps its lock, so nobody can have written here; unless somebody replaced the files.
    fn check_that_it_is_ours(&self, state: &Written) -> Result<()> {
        let file = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        let ours = match (self.file.metadata(), fs::metadata(&self.path)) {
            (Ok(ours), Ok(present)) => {
                file(&ours) == file(&present) && (state.torn || ours.len() == state.length)
            }
            _ => false,
        };
        if ours {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Fenced,
            format!("the journal of run {} was taken over or removed", self.run),
        )
        .remedy("Look at what the other process did with `standstill runs`."))
    }
}

#[async_trait]
impl Journal for FileJournal {
    async fn append(&self, event: &Event) -> Result<()> {
        let (writer, line) = (Arc::clone(&self.0), line_of(event)?);
        blocking(move || writer.append(&line)).await
    }
}

fn line_of(event: &Event) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Entry { at: Timestamp::now(), event: event.clone() })
        .map_err(|cause| Error::failed("an event cannot be written").because(cause))?;
    line.push(b'\n');
    Ok(line)
}

/// How many bytes are whole lines that are understood or followed by others: the rest was torn.
fn whole_lines(bytes: &[u8]) -> usize {
    lines(bytes).map(|line| line.len() + 1).sum()
}

/// All whole lines. The last one is left out when it has no line break or is not JSON: a crash of the machine may
/// leave a file that is longer than what was written to it.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
    let mut lines: Vec<&[u8]> =
        bytes.get(..end).unwrap_or_default().split_inclusive(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err()) {
        lines.pop();
    }
    lines.into_iter().map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// Locks a run's directory for its writer.
fn lock(directory: &Path, run: &RunId) -> Result<File> {
    let path = directory.join("lock");
    let failed = |cause: io::Error| {
        Error::failed(format!("the run {run} cannot be locked"))
            .remedy(format!("Check that {} can be written.", path.display()))
            .because(cause)
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    for last in [false, false, true] {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // Somebody who lists the runs looks at the lock for an instant.
            Err(TryLockError::WouldBlock) if !last => std::thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
    }
    Err(Error::new(ErrorKind::Locked, format!("the process of run {run} lives"))
        .remedy(format!("Wait for it to end; `standstill logs {run}` shows what it does.")))
}

/// Whether the process that writes a run's journal lives.
fn is_locked(directory: &Path) -> bool {
    let Ok(file) = File::open(directory.join("lock")) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn no_such_run(run: &RunId) -> Error {
    Error::input(format!("there is no run {run} on this machine")).remedy("`standstill runs` lists them.")
}

fn unreadable(path: &Path, cause: io::Error) -> Error {
    Error::failed(format!("{} cannot be read", path.display()))
        .remedy("Check its owner and permissions.")
        .because(cause)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
