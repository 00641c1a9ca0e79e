//! Processes of a run, each under a guard.
//!
//! - [`launcher`]: from a command to a guarded child
//! - [`tail`]: the last part of what a process says on its standard error
//! - [`lines`]: talking to a process in lines, with deadlines
//! - [`listener`]: who takes the connections to a port
//! - [`exec`], [`session`], [`stream`], [`service`]: the four ways in which the runner uses a process

pub(crate) mod exec;
pub(crate) mod launcher;
pub(crate) mod lines;
mod listener;
pub(crate) mod service;
pub(crate) mod session;
pub(crate) mod stream;
pub(crate) mod tail;
