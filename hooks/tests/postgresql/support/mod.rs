//! Servers, writers, copies, and a runtime that dials.

mod copy;
mod runtime;
mod server;
mod writer;

pub use copy::{Copy, label};
pub use runtime::DialOnly;
pub use server::{Binaries, Server, free_port, user, value};
pub use writer::{TABLE, Writer};
