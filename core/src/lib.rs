//! The core of Standstill: the blueprint language, the plan, the runner, and the seams that the rest plugs into.
//!
//! ```text
//!   blueprint ──language──▶ lint ──plan──▶ steps ──runner──▶ recovery point
//!                                            │
//!       hook · runtime · cluster · transfer · repository · journal · lock · secret     (the seams)
//! ```
//!
//! It knows no database, no Kubernetes client and no storage library.

pub mod cluster;
pub mod error;
pub mod filter;
pub mod hook;
pub mod journal;
pub mod keeper;
pub mod language;
pub mod lock;
pub mod plan;
pub mod point;
pub mod repository;
pub mod runner;
pub mod runtime;
pub mod secret;
pub mod transfer;
pub mod units;

pub use error::{Error, ErrorKind, Result};
