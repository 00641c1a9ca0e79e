//! The guard: a small process that starts a child, and ends it with all its descendants when it must.
//!
//! ```text
//!   runner ──control socket (spec, renewals, orders)──▶ guard ──starts, kills──▶ child ──▶ descendants
//!          ◀──reports (started, ended)─────────────────
//!          ◀═══════════ the child's own standard streams, never through the guard ═══════▶
//! ```
//!
//! - [`protocol`]: what is said over the control socket
//! - [`server`]: the guard itself (`standstill agent guard`)
//! - [`descendants`]: finding and ending everything that the child started
//! - [`client`]: the runner's side
//! - [`renewal`]: the thread that tells all guards that the runner is alive

pub(crate) mod client;
pub(crate) mod descendants;
pub(crate) mod protocol;
pub(crate) mod renewal;
mod server;

pub use server::guard_main;
