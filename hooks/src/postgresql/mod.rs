//! PostgreSQL 14 and later.
//!
//! ```text
//!   Postgresql (Hook) ── connect ──▶ one session each, served by a thread of their own
//!      ├ server, lock             probe, advisory lock
//!      ├ ready, grants            preflight
//!      ├ backup_mode ─▶ hold ─▶ release ─▶ wal, facts, exact      physical
//!      ├ exported_snapshot                                        logical
//!      ├ place_label, scratch_config ─▶ directory                 restored files
//!      ├ compare, query           a restored server
//!      └ undo                     what a dead run left
//! ```
//!
//! # Least grants
//! No verb needs a superuser. In the database that the connection names:
//!
//! | for | the role needs |
//! | --- | --- |
//! | `probe`, `query`, the lock, undo | LOGIN and CONNECT |
//! | `ready` | `pg_monitor` (settings such as the data directory, other roles' transactions) |
//! | `ready` with `replicates: true` | REPLICATION besides |
//! | `exported-snapshot` | SELECT on every table and sequence: `pg_read_all_data` |
//! | `checkpoint` | `pg_checkpoint` (15 and later; a superuser before) |
//! | `backup-mode` | REPLICATION (its temporary slot); EXECUTE on `pg_backup_start(text, boolean)`, `pg_backup_stop(boolean)` and `pg_read_binary_file(text, bigint, bigint, boolean)` |
//! | counted facts | SELECT on the tables: `pg_read_all_data`; BYPASSRLS where row security is on |
//! | `facts: exact` with `backup-mode` | besides: EXECUTE on `pg_create_restore_point(text)` and the right to lock tables in SHARE mode: `pg_write_all_data`, or `pg_maintain` from 17 on |
//! | `canary: true` | CREATE on the database, or USAGE on the schema `standstill` and SELECT, INSERT, DELETE on `standstill.standstill_canary` |
//!
//! ```sql
//! CREATE ROLE backup LOGIN REPLICATION PASSWORD '…';
//! GRANT pg_monitor, pg_checkpoint, pg_read_all_data TO backup;
//! GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean),
//!     pg_read_binary_file(text, bigint, bigint, boolean) TO backup;
//! ```
//!
//! In 14 the functions are `pg_start_backup(text, boolean, boolean)` and `pg_stop_backup(boolean, boolean)`.
//! `pg_read_binary_file` lets the role read the server's data directory, which is what a physical backup is.
//!
//! # What a lease is made of
//! See [`lease`]: the server ends a hold's session when its client falls silent.

mod backup_mode;
mod canary;
mod compare;
mod connect;
mod description;
mod directory;
mod errors;
mod exact;
mod exported_snapshot;
mod facts;
mod grants;
mod hold;
mod lease;
mod lock;
mod place_label;
mod query;
mod ready;
mod release;
mod scratch_config;
mod server;
mod settings;
mod tls;
mod undo;
mod wal;

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Result,
    hook::{Acquired, Called, Hook, HookContext, HookDescription, Probe, Undone},
    lock::LockGuard,
};

use crate::server::arguments::{NoArguments, on_files, read, unknown};

/// The hook's name.
const NAME: &str = "postgresql";

/// The hook.
#[derive(Debug, Clone, Copy)]
pub struct Postgresql;

#[async_trait]
impl Hook for Postgresql {
    fn describe(&self) -> &HookDescription {
        &description::DESCRIPTION
    }

    fn asked_role(&self, verb: &str, arguments: &Value) -> Option<String> {
        crate::server::role::asked(verb, arguments, &["any"])
    }

    async fn probe(&self, context: &HookContext) -> Result<Probe> {
        server::probe(context).await
    }

    async fn server_lock(&self, context: &HookContext) -> Result<Option<Box<dyn LockGuard>>> {
        lock::take(context).await.map(Some)
    }

    async fn call(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Called> {
        match verb {
            "ready" => ready::ready(context, read(NAME, verb, arguments)?).await,
            "checkpoint" => {
                let NoArguments {} = read(NAME, verb, arguments)?;
                query::checkpoint(context).await
            }
            "accepting" => {
                let NoArguments {} = read(NAME, verb, arguments)?;
                query::accepting(context).await
            }
            "query" => query::query(context, &read(NAME, verb, arguments)?).await,
            "compare-facts" => compare::compare(context, &read(NAME, verb, arguments)?).await,
            "place-label" => on_files(context, read(NAME, verb, arguments)?, place_label::place).await,
            "scratch-config" => {
                on_files(context, read(NAME, verb, arguments)?, scratch_config::configure).await
            }
            _ => Err(unknown(NAME, verb)),
        }
    }

    fn undo_record(&self, verb: &str, context: &HookContext, _arguments: &Value) -> Result<Value> {
        undo::record(verb, context)
    }

    async fn acquire(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Acquired> {
        match verb {
            backup_mode::VERB => backup_mode::acquire(context, read(NAME, verb, arguments)?).await,
            exported_snapshot::VERB => {
                exported_snapshot::acquire(context, read(NAME, verb, arguments)?).await
            }
            _ => Err(unknown(NAME, verb)),
        }
    }

    async fn undo(&self, record: &Value, context: &HookContext) -> Result<Undone> {
        undo::undo(record, context).await
    }
}
