//! From the library's errors to ours: one line, the cause that matters, and a remedy where one is known.

use std::{error::Error as StdError, fmt, io};

use rustic_core::RusticError;
use standstill_core::{Error, ErrorKind, Result};

/// The library's error in one line; its own display is a page with report links.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl StdError for Cause {}

/// Adds what was attempted to an error of the library.
pub(crate) trait Attempt<T> {
    /// `message` is complete by itself: `the index of the repository cannot be read`.
    fn attempt(self, message: impl Into<String>) -> Result<T>;
}

impl<T> Attempt<T> for Result<T, Box<RusticError>> {
    fn attempt(self, message: impl Into<String>) -> Result<T> {
        self.map_err(|error| {
            let remedy = io_kind(&error).and_then(remedy_for);
            with_remedy(Error::failed(message).because(Cause(one_line(&error))), remedy)
        })
    }
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, message: impl Into<String>) -> Result<T> {
        self.map_err(|error| {
            let remedy = remedy_for(error.kind());
            with_remedy(Error::failed(message).because(error), remedy)
        })
    }
}

impl<T> Attempt<T> for rustix::io::Result<T> {
    fn attempt(self, message: impl Into<String>) -> Result<T> {
        self.map_err(io::Error::from).attempt(message)
    }
}

fn with_remedy(error: Error, remedy: Option<&str>) -> Error {
    match remedy {
        Some(remedy) => error.remedy(remedy),
        None => error,
    }
}

/// Whether what was read of the repository is broken, rather than unreachable.
pub(crate) fn is_damage(error: &RusticError) -> bool {
    // C001 is the library's code for a failed authentication of encrypted data.
    let code = chain(error).any(|cause| library_error(cause).is_some_and(|error| error.is_code("C001")));
    let missing = matches!(io_kind(error), Some(io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof));
    let text = one_line(error);
    code || missing
        || ["not found in index", "decode", "deserialize", "uncompressed"]
            .iter()
            .any(|part| text.contains(part))
}

/// An error about reading content: damage where it is damage.
pub(crate) fn reading(error: &RusticError, what: impl fmt::Display) -> Error {
    if is_damage(error) {
        Error::damaged(format!("{what} is damaged in the repository"))
            .remedy("Run `standstill check --read-data`, and restore from another recovery point or a copy of the repository.")
            .because(Cause(one_line(error)))
    } else {
        let remedy = io_kind(error).and_then(remedy_for);
        with_remedy(
            Error::failed(format!("{what} cannot be read from the repository"))
                .because(Cause(one_line(error))),
            remedy,
        )
    }
}

/// The error of an operation that somebody cancelled.
pub(crate) fn cancelled(what: impl fmt::Display) -> Error {
    Error::cancelled(format!("{what} was cancelled"))
}

/// Text of the library's error without its headings and links.
pub(crate) fn one_line(error: &RusticError) -> String {
    let text = error.display_log();
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn remedy_for(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("Free some space where it is to be written, then try again.")
        }
        io::ErrorKind::PermissionDenied => Some("Check that this user may read and write there."),
        io::ErrorKind::ReadOnlyFilesystem => Some("Mount the file system writable."),
        io::ErrorKind::HostUnreachable => Some("Check the network and the object store, then try again."),
        io::ErrorKind::NotFound => Some("Check that the place is still there and mounted."),
        _ => None,
    }
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| StdError::source(*error))
}

fn library_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a RusticError> {
    error
        .downcast_ref::<RusticError>()
        .or_else(|| error.downcast_ref::<Box<RusticError>>().map(|boxed| &**boxed))
}

fn io_kind(error: &RusticError) -> Option<io::ErrorKind> {
    chain(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

/// Runs synchronous work on a thread where it may block; a panic in it becomes an error.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(cause) => Err(Error::new(ErrorKind::Failed, format!("{what} ended unexpectedly"))
            .remedy("Run it again; if it happens again, `standstill check` tells whether the repository is damaged.")
            .because(cause)),
    }
}
