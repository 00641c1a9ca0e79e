//! MariaDB 10.5 and later.
//!
//! ```text
//!   Mariadb (Hook) ──▶ mysql_protocol      everything that it has in common with MySQL
//!      ├ dialect                           what it says in words of its own
//!      └ stage ─▶ hold ─▶ position         the backup stages
//! ```
//!
//! # Least grants
//!
//! | for | the user needs on `*.*` |
//! | --- | --- |
//! | `probe`, `query`, the lock, undo | nothing (USAGE) |
//! | `ready`, `backup-stage` | RELOAD, PROCESS, BINLOG MONITOR, SELECT |
//! | `mariadb-backup` itself | RELOAD, PROCESS, BINLOG MONITOR |
//! | `ready` with `for: dump` | SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT, PROCESS |
//! | `role`, also when replication is stopped | SLAVE MONITOR |
//!
//! ```sql
//! CREATE USER backup@localhost IDENTIFIED BY '…';
//! GRANT RELOAD, PROCESS, BINLOG MONITOR, SLAVE MONITOR, SELECT ON *.* TO backup@localhost;
//! ```
//!
//! # What a lease is made of
//! See `mysql_protocol::lease`: the server ends a hold's session when its client falls silent, and the stage with it.

mod description;
pub(crate) mod dialect;
mod hold;
mod position;
mod stage;

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Result,
    hook::{Acquired, Called, HoldTraits, Hook, HookContext, HookDescription, Probe, Undone},
    lock::LockGuard,
};

use self::dialect::MARIADB;
use crate::{
    mysql_protocol::{lock, observe, server, undo, verbs},
    server::{
        arguments::{read, unknown},
        describe::NOTHING_HELD,
    },
};

/// The hook's name.
const NAME: &str = "mariadb";

/// The hook.
#[derive(Debug, Clone, Copy)]
pub struct Mariadb;

#[async_trait]
impl Hook for Mariadb {
    fn describe(&self) -> &HookDescription {
        &description::DESCRIPTION
    }

    fn hold_traits(&self, verb: &str, arguments: &Value) -> Option<HoldTraits> {
        match verb {
            stage::VERB => Some(verbs::traits(arguments["stage"] != "block-ddl")),
            observe::VERB => Some(NOTHING_HELD),
            _ => None,
        }
    }

    fn asked_role(&self, verb: &str, arguments: &Value) -> Option<String> {
        crate::server::role::asked(verb, arguments, &["any"])
    }

    async fn probe(&self, context: &HookContext) -> Result<Probe> {
        server::probe(&MARIADB, context).await
    }

    async fn server_lock(&self, context: &HookContext) -> Result<Option<Box<dyn LockGuard>>> {
        lock::take(&MARIADB, context).await.map(Some)
    }

    async fn call(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Called> {
        verbs::call(&MARIADB, verb, context, arguments).await
    }

    fn undo_record(&self, verb: &str, context: &HookContext, _arguments: &Value) -> Result<Value> {
        undo::record(verb, context)
    }

    async fn acquire(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Acquired> {
        match verb {
            stage::VERB => stage::acquire(context, read(NAME, verb, arguments)?).await,
            observe::VERB => observe::acquire(&MARIADB, context, read(NAME, verb, arguments)?).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    async fn undo(&self, record: &Value, context: &HookContext) -> Result<Undone> {
        undo::undo(&MARIADB, record, context).await
    }
}
