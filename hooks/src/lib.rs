//! One module per database: how it is probed, quiesced, proven and let go.
//!
//! ```text
//!   core::hook::Hooks ◀── registry ──▶ sqlite, filesystem ──runtime──▶ helper processes beside the files
//!                             └──▶ postgresql, redis, etcd, mongodb ──dial──▶ the server
//!                             └──▶ mariadb, mysql ──▶ mysql_protocol: what they have in common ──dial──▶ the server
//!                                    └──▶ server, helper: what hooks of servers, and helper processes, share
//! ```
//!
//! A hook is data (its description) and code behind one seam, [`standstill_core::hook::Hook`]. It knows no other
//! hook and no runtime: it starts its helpers through the runtime that the context carries. A database is added by
//! a module here and one line in [`registry`].

pub mod etcd;
pub mod filesystem;
mod helper;
pub mod mariadb;
pub mod mongodb;
pub mod mysql;
mod mysql_protocol;
pub mod postgresql;
pub mod redis;
pub mod registry;
mod server;
pub mod sqlite;

pub use registry::Registry;
