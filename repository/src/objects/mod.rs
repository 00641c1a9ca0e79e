//! The plain files of a repository: where its bytes are kept.
//!
//! `rustic_backend`, which would do the same, is not used. Its listings log an error and go on, so a directory
//! that cannot be read, or a listing that breaks off half-way, looks like one with fewer files: a prune that
//! trusts such a listing destroys data, and a list of recovery points is short without a word. It sets no
//! deadlines for the network, and it cannot reach lock files. Here every error counts.

#[cfg(feature = "cloud")]
mod cloud;
mod directory;
#[cfg(feature = "cloud")]
mod transport;

use std::{fmt, io};

use bytes::Bytes;

#[cfg(feature = "cloud")]
pub(crate) use cloud::Cloud;
pub(crate) use directory::Directory;

/// Files by their path relative to the repository, with slashes.
pub(crate) trait Objects: Send + Sync + fmt::Debug + 'static {
    /// Makes the place ready for a new repository.
    fn prepare(&self) -> io::Result<()>;
    /// Names (the last part of the path only) and sizes of all files below a folder. An absent folder is empty.
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>>;
    /// The size of one file; `None` if there is none.
    fn size(&self, path: &str) -> io::Result<Option<u64>>;
    /// A whole file.
    fn read(&self, path: &str) -> io::Result<Bytes>;
    /// A part of a file; all of it, or an error.
    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Bytes>;
    /// Writes a whole file, durably; nobody ever sees a part of it.
    fn write(&self, path: &str, content: Vec<Bytes>) -> io::Result<()>;
    /// Removes a file; one that is not there is no error.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Whether there is nothing at all (or no such place yet).
    fn is_empty(&self) -> io::Result<bool>;
}
