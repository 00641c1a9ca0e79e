//! The runtime of this machine: processes, snapshots, journal files and locks.
//!
//! ```text
//!   LocalRuntime ──▶ process ──▶ guard ──▶ every child        (ends when the runner dies or stops)
//!        │      └──▶ keeper ──▶ `pair` and `session` holds    (let go when the runner dies or stops)
//!        ├──▶ snapshot: btrfs · reflink · copy · live
//!        ├──▶ helpers: of hooks, in another container of the same pod where there is one
//!        └──▶ scratch
//!   LocalJournals, LocalLocks ──▶ StateDir
//! ```
//!
//! It implements the seams of `standstill-core` and knows no database and no repository. The guard and the keeper are
//! processes of their own; their entry points are [`guard_main`] and [`keep_main`], for `standstill agent`.

mod clock;
mod destination;
mod guard;
mod helpers;
mod identity;
mod journal;
mod keeper;
mod lock;
mod process;
mod record;
mod runtime;
mod scratch;
mod snapshot;
mod state;

use std::sync::Arc;

use serde_json::Value;
use standstill_core::Result;

pub use guard::guard_main;
pub use helpers::{Life, helpers_main};
pub use journal::LocalJournals;
pub use keeper::keep_main;
pub use lock::LocalLocks;
pub use runtime::LocalRuntime;
pub use state::StateDir;

/// Evaluates an expression of a blueprint over `result`; whether it is true.
pub type Expectation = Arc<dyn Fn(&str, &Value) -> Result<bool> + Send + Sync>;
