//! The binary `standstill`, end to end, on real databases and with real kills.
//!
//! A normal run takes a sample that differs each time (its seed is printed; `STANDSTILL_SEED` repeats one);
//! `STANDSTILL_FULL=1` takes everything. What a machine lacks (root for file systems, PostgreSQL, restic) is said
//! and left out.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod support;

mod backup;
mod bad_input;
mod blueprint_tests;
mod consistency;
mod crash_matrix;
mod demo;
mod etcd;
mod frozen;
mod full_disks;
mod group;
mod hostile;
mod interrupt;
mod keeper;
mod lies;
mod mariadb;
mod mariadb_backup;
mod mongodb;
mod mongodb_dump;
mod mysql;
mod object_store;
mod recovery;
mod redis;
mod redis_aof;
mod restic;
mod rights;
mod secrets;
mod severed;
mod tools;
mod transfer;
mod traps;
mod truncation;
