//! MariaDB 10.5 and later.
//!
//! ```text
//!   Mariadb (Hook) ── connect ──▶ one session each, served by a thread of their own
//!      ├ server, lock               probe, advisory lock
//!      ├ ready ─▶ grants, engines, busy, layout             preflight
//!      ├ stage ─▶ hold ─▶ position, facts, variables        the backup stages
//!      ├ observe                    counts before and after a dump
//!      ├ copy                       restored files
//!      ├ query, compare             a restored server
//!      └ undo                       what a dead run left
//! ```
//!
//! # Least grants
//!
//! | for | the user needs on `*.*` |
//! | --- | --- |
//! | `probe`, `query`, the lock, undo | nothing (USAGE) |
//! | `ready`, `backup-stage` | RELOAD, PROCESS, BINLOG MONITOR, SELECT |
//! | `ready` with `for: dump` | SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT, PROCESS |
//! | `role`, also when replication is stopped | SLAVE MONITOR |
//!
//! ```sql
//! CREATE USER backup@localhost IDENTIFIED BY '…';
//! GRANT RELOAD, PROCESS, BINLOG MONITOR, SLAVE MONITOR, SELECT ON *.* TO backup@localhost;
//! ```
//!
//! # What a lease is made of
//! See [`lease`]: the server ends a hold's session when its client falls silent, and the stage with it.

mod busy;
mod compare;
mod connect;
mod copy;
mod description;
mod engines;
mod errors;
mod facts;
mod grants;
mod hold;
mod layout;
mod lease;
mod lock;
mod names;
mod observe;
mod position;
mod query;
mod ready;
mod server;
mod settings;
mod stage;
mod undo;
mod variables;

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Result,
    hook::{Acquired, Called, HoldTraits, Hook, HookContext, HookDescription, Probe, Undone},
    lock::LockGuard,
};

use crate::server::arguments::{NoArguments, on_files, read, unknown};

/// The hook's name.
const NAME: &str = "mariadb";

/// The hook.
pub struct Mariadb {
    description: HookDescription,
}

impl Mariadb {
    /// The hook, with its description.
    pub fn new() -> Self {
        Self { description: description::describe() }
    }
}

impl Default for Mariadb {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Hook for Mariadb {
    fn describe(&self) -> &HookDescription {
        &self.description
    }

    fn hold_traits(&self, verb: &str, arguments: &Value) -> Option<HoldTraits> {
        match verb {
            stage::VERB => Some(description::traits(arguments["stage"] != "block-ddl")),
            observe::VERB => Some(description::OBSERVE),
            _ => None,
        }
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
            "accepting" => {
                let NoArguments {} = read(NAME, verb, arguments)?;
                query::accepting(context).await
            }
            "query" => query::query(context, &read(NAME, verb, arguments)?).await,
            "check-tables" => query::check_tables(context, &read(NAME, verb, arguments)?).await,
            "compare-facts" => compare::compare(context, &read(NAME, verb, arguments)?).await,
            "place" => on_files(context, read(NAME, verb, arguments)?, copy::place).await,
            "scratch-config" => on_files(context, read(NAME, verb, arguments)?, copy::configure).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    fn undo_record(&self, verb: &str, context: &HookContext, _arguments: &Value) -> Result<Value> {
        undo::record(verb, context)
    }

    async fn acquire(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Acquired> {
        match verb {
            stage::VERB => stage::acquire(context, read(NAME, verb, arguments)?).await,
            observe::VERB => observe::acquire(context, read(NAME, verb, arguments)?).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    async fn undo(&self, record: &Value, context: &HookContext) -> Result<Undone> {
        undo::undo(record, context).await
    }
}
