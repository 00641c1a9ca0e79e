//! Helpers that run beside this process' container instead of in it: in one of the same pod that nothing ends when the
//! runner's is ended, which has its own share of memory and is not counted on the runner's.
//!
//! ```text
//!   runner ── life ──────▶ socket ──▶ `agent helpers SOCKET`     ends when nobody is connected any more
//!     └──── a session ───▶           └──▶ `agent hold …`         its standard input and output are the connection
//!                                         `agent keep`
//! ```
//!
//! When the runner is gone, so are its connections, and each helper sees end of file: it lets go.

mod client;
mod server;

use serde::{Deserialize, Serialize};

pub use client::Life;
pub(crate) use client::{RemoteSession, start_keeper};
pub use server::helpers_main;

/// The helper that keeps a hold of an author's own.
const KEEP: &str = "keep";
/// The helper that keeps a hold of a hook's.
const HOLD: &str = "hold";

/// The first line of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Wanted {
    /// Nothing but that the server stays for as long as this connection does.
    Life,
    /// A helper: the arguments after `agent`.
    Helper(Vec<String>),
}

/// The last line of a helper's connection, of the server itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Ended {
    /// The helper's exit status; none when a signal ended it.
    exit_status: Option<i32>,
}
