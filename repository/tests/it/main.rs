//! The repository, on real directories and with Debian's `restic` as the judge.
#![allow(missing_docs, reason = "tests")]

mod damage;
mod fixture;
mod interop;
mod locking;
mod opening;
mod records;
mod streams;
mod trees;
