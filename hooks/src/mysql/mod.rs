//! MySQL 8.0 and later.
//!
//! ```text
//!   Mysql (Hook) ──▶ mysql_protocol          everything that it has in common with MariaDB
//!      ├ dialect                             what it says in words of its own
//!      └ backup_lock ─▶ hold ─▶ position     the lock for backups, and the global read lock where it must be
//! ```
//!
//! # Least grants
//!
//! | for | the user needs on `*.*` |
//! | --- | --- |
//! | `probe`, `query`, the lock, undo | nothing (USAGE) |
//! | `ready`, `backup-lock` | `BACKUP_ADMIN`, PROCESS, SELECT |
//! | `backup-lock` where it takes the global read lock | RELOAD besides |
//! | `ready` with `for: dump` | SELECT, SHOW VIEW, TRIGGER, EVENT |
//! | `role`, also when replication is stopped | REPLICATION CLIENT |
//!
//! ```sql
//! CREATE USER backup@localhost IDENTIFIED BY '…';
//! GRANT BACKUP_ADMIN, PROCESS, SELECT, RELOAD, REPLICATION CLIENT ON *.* TO backup@localhost;
//! ```
//!
//! # What a lease is made of
//! See `mysql_protocol::lease`: the server ends a hold's session when its client falls silent, and its locks with it.

mod backup_lock;
mod description;
mod dialect;
mod hold;
mod position;

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Result,
    hook::{Acquired, Called, HoldTraits, Hook, HookContext, HookDescription, Probe, Undone},
    lock::LockGuard,
};

use self::dialect::MYSQL;
use crate::{
    mysql_protocol::{lock, observe, server, undo, verbs},
    server::{
        arguments::{read, unknown},
        describe::NOTHING_HELD,
    },
};

/// The hook's name.
const NAME: &str = "mysql";

/// The hook.
#[derive(Debug, Clone, Copy)]
pub struct Mysql;

#[async_trait]
impl Hook for Mysql {
    fn describe(&self) -> &HookDescription {
        &description::DESCRIPTION
    }

    fn hold_traits(&self, verb: &str, arguments: &Value) -> Option<HoldTraits> {
        match verb {
            backup_lock::VERB => Some(verbs::traits(arguments["lock"] != "instance")),
            observe::VERB => Some(NOTHING_HELD),
            _ => None,
        }
    }

    fn asked_role(&self, verb: &str, arguments: &Value) -> Option<String> {
        crate::server::role::asked(verb, arguments, &["any"])
    }

    async fn probe(&self, context: &HookContext) -> Result<Probe> {
        server::probe(&MYSQL, context).await
    }

    async fn server_lock(&self, context: &HookContext) -> Result<Option<Box<dyn LockGuard>>> {
        lock::take(&MYSQL, context).await.map(Some)
    }

    async fn call(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Called> {
        verbs::call(&MYSQL, verb, context, arguments).await
    }

    fn undo_record(&self, verb: &str, context: &HookContext, _arguments: &Value) -> Result<Value> {
        undo::record(verb, context)
    }

    async fn acquire(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Acquired> {
        match verb {
            backup_lock::VERB => backup_lock::acquire(context, read(NAME, verb, arguments)?).await,
            observe::VERB => observe::acquire(&MYSQL, context, read(NAME, verb, arguments)?).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    async fn undo(&self, record: &Value, context: &HookContext) -> Result<Undone> {
        undo::undo(&MYSQL, record, context).await
    }
}
