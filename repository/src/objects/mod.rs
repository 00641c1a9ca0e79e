//! The plain files of a repository, listed strictly.
//!
//! The storage library's own listings log an error and go on, so a directory that cannot be read, or a listing
//! that breaks off half-way, looks like one with fewer files. A prune that trusts such a listing destroys data,
//! and a list of recovery points is short without a word. Here every error counts. The lock files, which the
//! library does not know, are written through this too.

#[cfg(feature = "cloud")]
mod cloud;
mod directory;

use std::{fmt, io};

#[cfg(feature = "cloud")]
pub(crate) use cloud::Cloud;
pub(crate) use directory::Directory;

/// Files by their path relative to the repository, with slashes.
pub(crate) trait Objects: Send + Sync + fmt::Debug {
    /// Names (the last part of the path only) and sizes of all files below a folder. An absent folder is empty.
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>>;
    /// The size of one file; `None` if there is none.
    fn size(&self, path: &str) -> io::Result<Option<u64>>;
    /// A whole file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// Writes a whole file; nobody ever sees a part of it.
    fn write(&self, path: &str, content: &[u8]) -> io::Result<()>;
    /// Removes a file; one that is not there is no error.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Whether there is nothing at all (or no such place yet).
    fn is_empty(&self) -> io::Result<bool>;
}
