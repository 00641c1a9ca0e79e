//! What a tree's source counted: the archiver's own word for completeness is not enough.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rustic_core::repofile::SnapshotFile;
use standstill_core::{Error, Result};

/// Counts of one upload, and the first error.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Directories handed to the archiver.
    pub(crate) directories: AtomicU64,
    /// Everything else handed to the archiver.
    pub(crate) entries: AtomicU64,
    /// Regular files among them.
    pub(crate) files: AtomicU64,
    /// Bytes of content read.
    pub(crate) read: AtomicU64,
    /// Bytes of content that were known to be unchanged, and so not read.
    pub(crate) unchanged: AtomicU64,
    /// True sizes of files that shrank while they were read.
    shrunk: Mutex<Vec<(PathBuf, u64)>>,
    error: Mutex<Option<Error>>,
}

impl Tally {
    pub(crate) fn count(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Relaxed);
    }

    /// All bytes of content.
    pub(crate) fn bytes(&self) -> u64 {
        self.read.load(Relaxed) + self.unchanged.load(Relaxed)
    }

    /// Notes an error; the first one is kept, because the others are its consequences.
    pub(crate) fn fail(&self, error: Error) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Whether anything went wrong; then nothing more is read.
    pub(crate) fn has_failed(&self) -> bool {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn shrank(&self, path: &Path, size: u64) {
        self.shrunk.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), size));
    }

    pub(crate) fn take_shrunk(&self) -> Vec<(PathBuf, u64)> {
        std::mem::take(&mut self.shrunk.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether all that was handed over is in the snapshot. `implied` is the number of directories that the
    /// archiver adds itself: the root, and those above the tree.
    pub(crate) fn confirm(&self, archived: Result<SnapshotFile>, implied: u64) -> Result<SnapshotFile> {
        if let Some(error) = self.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let snapshot = archived?;
        let Some(summary) = &snapshot.summary else {
            return Err(Error::failed("the archiver did not say what it stored"));
        };
        let wanted = [
            ("directories", self.directories.load(Relaxed) + implied, summary.total_dirs_processed),
            ("files", self.entries.load(Relaxed), summary.total_files_processed),
            ("bytes", self.bytes(), summary.total_bytes_processed),
        ];
        for (what, read, stored) in wanted {
            if read != stored {
                return Err(Error::failed(format!("{read} {what} were read, but {stored} were stored"))
                    .remedy("Run the backup again."));
            }
        }
        Ok(snapshot)
    }
}
