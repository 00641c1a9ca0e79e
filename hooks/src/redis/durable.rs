//! What is on the disk itself when a writer is answered: a snapshot of the block device does not see what is still in the
//! page cache.
//!
//! With `appendfsync always` the server answers a writer only after it had the disk write, except with
//! `no-appendfsync-on-rewrite yes` while a child of its saves or rewrites (redis.conf, "appendfsync").

use serde_json::Value;
use standstill_core::{Error, Result};

use super::config::Config;

/// The settings that decide it.
pub(super) const SETTINGS: [&str; 2] = ["appendfsync", "no-appendfsync-on-rewrite"];
/// What they must be.
const WANTED: [&str; 2] = ["always", "no"];

/// Whether a verb's arguments ask for it.
pub(super) fn is_asked(arguments: &Value) -> bool {
    arguments.get("durable").and_then(Value::as_bool) == Some(true)
}

/// Refuses a server that answers before what was written is on the disk.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`].
pub(super) fn expect(config: &Config, place: &str) -> Result<()> {
    for (name, wanted) in SETTINGS.into_iter().zip(WANTED) {
        let found = config.needed(name, place)?;
        if found != wanted {
            return Err(Error::input(format!(
                "the server at {place} has `{name} {found}`, so its disk may lack what it has acknowledged"
            ))
            .remedy(format!(
                "Run CONFIG SET {name} {wanted}, or set `durable` to false, which needs another capture than a snapshot of the block device."
            )));
        }
    }
    Ok(())
}
