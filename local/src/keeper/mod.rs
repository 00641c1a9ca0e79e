//! The keeper: the process that keeps the hold of a `pair` or `session` step and does not depend on the runner.
//!
//! ```text
//!   runner ──start, then renew, confirm, release (JSON lines)──▶ keeper ──guard──▶ the author's commands or client
//!          ◀──replies (JSON lines)──────────────────────────────
//! ```
//!
//! At end of file, or when renewals stop for the lease, it lets go by itself.
//!
//! - [`protocol`]: what is said
//! - [`record`]: what the journal and the run's directory know about a keeper
//! - [`server`]: the keeper itself (`standstill agent keep`), with [`pair`] and [`client`] for the two programs
//! - [`lease`]: its dead-man's switch
//! - [`hold`]: the runner's side
//! - [`dispose`]: letting go after a crash

mod client;
pub(crate) mod dispose;
pub(crate) mod hold;
mod lease;
mod pair;
mod protocol;
pub(crate) mod record;
mod server;

pub use server::keep_main;
