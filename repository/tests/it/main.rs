//! The repository, on real directories and with Debian's `restic` as the judge.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[cfg(feature = "cloud")]
mod cloud;
mod damage;
mod fixture;
mod interop;
mod locking;
mod opening;
mod records;
mod streams;
mod trees;
