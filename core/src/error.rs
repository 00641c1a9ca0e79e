//! The one error type of the framework: what kind it is, what happened, and what to do next.

use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error means for the run; it decides the exit status and whether a retry makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong: usage, blueprint, parameters, an unmet requirement, a wrong password.
    Input,
    /// Something that was attempted did not succeed.
    Failed,
    /// It did not succeed now, but the same attempt may succeed later.
    Temporary,
    /// Somebody asked for the run to end.
    Cancelled,
    /// Another run is working on the same target.
    Locked,
    /// Another run took over this run's journal; this one may only let go.
    Fenced,
    /// A hold lapsed, so nothing captured since it was acquired may be called consistent.
    HoldLapsed,
    /// A hold could not be released: the database may still be held.
    StillHeld,
    /// A verification failed, or a check found damage.
    Damaged,
}

impl ErrorKind {
    /// The process exit status that an error of this kind leads to (design, section 9).
    #[must_use]
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Input => 2,
            Self::StillHeld => 3,
            Self::Damaged => 4,
            Self::Failed
            | Self::Temporary
            | Self::Cancelled
            | Self::Locked
            | Self::Fenced
            | Self::HoldLapsed => 1,
        }
    }
}

/// What happened, to what, and what to do next; the lower cause is kept as [`StdError::source`].
///
/// The message is a lower-case fragment without a full stop, complete by itself
/// (`cannot connect to localhost:5432`); the remedy is a sentence in the imperative.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    remedy: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync + 'static>>,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: None, source: None }
    }

    /// The input is wrong ([`ErrorKind::Input`]).
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Input, message)
    }

    /// An attempt did not succeed ([`ErrorKind::Failed`]).
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// An attempt may succeed later ([`ErrorKind::Temporary`]).
    pub fn temporary(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Temporary, message)
    }

    /// Somebody asked for the run to end ([`ErrorKind::Cancelled`]).
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Cancelled, message)
    }

    /// A hold lapsed ([`ErrorKind::HoldLapsed`]).
    pub fn lapsed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::HoldLapsed, message)
    }

    /// A verification failed or damage was found ([`ErrorKind::Damaged`]).
    pub fn damaged(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the lower cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync + 'static>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts what was being done before the message: `store artifact data: …`.
    #[must_use]
    pub fn during(mut self, attempt: &str) -> Self {
        self.message = format!("{attempt}: {}", self.message);
        self
    }

    /// Turns the error into one of another kind, keeping everything else.
    #[must_use]
    pub fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The kind of the error.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do next, if that is known.
    pub fn remedy_text(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The message with all its causes, in one line, for journals and reports.
    ///
    /// A cause that the message already contains is not repeated.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let part = error.to_string();
            if !text.contains(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_every_cause_once() {
        let inner = Error::failed("no route to host");
        let error = Error::failed("cannot connect to db:5432").because(inner);
        assert_eq!(error.chain(), "cannot connect to db:5432: no route to host");
        let error = Error::failed("disk full: no space left").because(Error::failed("no space left"));
        assert_eq!(error.chain(), "disk full: no space left");
    }

    #[test]
    fn a_hold_that_could_not_be_released_has_its_own_exit_status() {
        assert_eq!(ErrorKind::StillHeld.exit_status(), 3);
        assert_eq!(ErrorKind::Input.exit_status(), 2);
        assert_eq!(ErrorKind::Damaged.exit_status(), 4);
        assert_eq!(ErrorKind::Fenced.exit_status(), 1);
    }
}
