//! Helper processes of hooks: what a hook and a helper of its say to each other, and under which lease.
//!
//! ```text
//!   hook ── link ──runtime──▶ `agent hold HOOK TASK`
//!                ──lines──▶   orders   (prolong a lease; end of file and its end are noticed)
//!                ◀──lines──   say
//! ```
//!
//! What does not go with a connection is held by a [`holder`]; a hook's side of that hold is a [`Kept`].
//!
//! The lines are JSON documents of [`wire`]. Nothing here knows a database.

pub(crate) mod holder;
mod kept;
mod link;
mod orders;
pub(crate) mod wire;

pub(crate) use kept::{Kept, Known};
pub(crate) use link::{Link, answer};
pub(crate) use orders::{Orders, Wake};

use std::io::Write;

use serde::Serialize;
use serde_json::Value;
use standstill_core::{Error, Result};

use wire::{Outcome, Reply};

/// An answer as JSON.
pub(crate) fn to_value(found: impl Serialize) -> Result<Value> {
    serde_json::to_value(found)
        .map_err(|cause| Error::failed("cannot write an answer as JSON").because(cause))
}

/// Sends one line to the runner.
///
/// # Errors
/// When nobody reads any more.
pub(crate) fn say(id: u64, outcome: Result<Value, &Error>) -> Result<()> {
    let outcome = match outcome {
        Ok(value) => Outcome::Done(value),
        Err(error) => Outcome::Failed(error.into()),
    };
    let line = to_value(Reply { id, outcome })?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")
        .and_then(|()| output.flush())
        .map_err(|cause| Error::failed("the runner does not listen any more").because(cause))
}
