//! End-to-end tests of the binary `standstill` on real databases.
//!
//! ```text
//!   tests/e2e ──runs──▶ standstill ──▶ SQLite · PostgreSQL · kv (a database of this crate's own)
//!       └──▶ support: places · servers · writers · file systems · leftovers
//!   bench/    figures, measured side by side
//! ```
//!
//! Nothing is in the library; `src/bin/kv.rs` is the application that no hook knows, `src/bin/fake-mongod.rs` a fake of
//! MongoDB's lock.
