//! What MariaDB and MySQL have in common: the protocol, most of SQL, and how their files behave.
//!
//! ```text
//!   dialect ◀── mariadb, mysql            what they say differently, as data
//!   verbs ──▶ connect                     one session each, served by a thread of their own
//!     ├ server, lock                      probe, advisory lock
//!     ├ ready ─▶ grants, engines, busy, layout      preflight
//!     ├ opening ─▶ acquire, observed ─▶ facts, variables     what the holds of both are made of
//!     ├ observe ─▶ watch                  counts before and after what a program of the server's does
//!     ├ copy                              restored files
//!     ├ query, compare                    a restored server
//!     └ undo                              what a dead run left
//! ```

pub(crate) mod acquire;
pub(crate) mod busy;
mod compare;
pub(crate) mod connect;
pub(crate) mod copy;
pub(crate) mod dialect;
pub(crate) mod engines;
pub(crate) mod errors;
pub(crate) mod facts;
pub(crate) mod grants;
mod layout;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod names;
pub(crate) mod observe;
pub(crate) mod observed;
pub(crate) mod opening;
mod query;
pub(crate) mod ready;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod undo;
pub(crate) mod variables;
pub(crate) mod verbs;
mod watch;
