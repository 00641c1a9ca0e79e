//! Redis 7.0 and later, and Valkey.
//!
//! ```text
//!   Redis (Hook) ── dial ─▶ connect ──▶ one connection each, never made anew
//!      ├ server, lock                 probe, and a lock by the name of a connection
//!      ├ ready ─▶ config              preflight
//!      ├ save ─▶ info, keys           a background save, proven
//!      ├ append_only ──▶ holder       rewrites are held off by a process of its own
//!      │    └ mark                    and the setting by which they are
//!      ├ dump ─▶ replication          all keys over the connection
//!      ├ files ─▶ rdb, aof          restored files
//!      ├ query, keys                  a restored server
//!      └ undo                         what a dead run left
//! ```
//!
//! # Least permissions
//!
//! | for | the user needs |
//! | --- | --- |
//! | `probe`, the lock | `+ping +info +client\|setname +client\|list` |
//! | `ready` and `save` | `+bgsave +config\|get` |
//! | `ready` and `hold-rewrites` | `+config\|get +config\|set` |
//! | `dump` | `+psync +replconf` |
//! | `query` | `+command\|info +select` and what is asked |
//!
//! ```text
//! ACL SETUSER backup on >PASSWORD +ping +info +client|setname +client|list +bgsave +config|get
//! ```

mod aof;
mod append_only;
mod config;
mod connect;
mod description;
mod dial;
mod dump;
mod durable;
mod errors;
mod files;
mod holder;
mod info;
mod keys;
mod lock;
mod mark;
mod query;
mod rdb;
mod ready;
mod replication;
mod save;
mod server;
mod settings;
mod undo;

pub use holder::holder_main;

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Result,
    hook::{Acquired, Called, HoldTraits, Hook, HookContext, HookDescription, Probe, Undone},
    lock::LockGuard,
};

use crate::server::{
    arguments::{NoArguments, on_files, read, unknown},
    describe::NOTHING_HELD,
};

/// The hook's name.
const NAME: &str = "redis";

/// The hook.
#[derive(Debug, Clone, Copy)]
pub struct Redis;

#[async_trait]
impl Hook for Redis {
    fn describe(&self) -> &HookDescription {
        &description::DESCRIPTION
    }

    fn hold_traits(&self, verb: &str, arguments: &Value) -> Option<HoldTraits> {
        match verb {
            append_only::VERB => Some(description::rewrites(durable::is_asked(arguments))),
            save::VERB => Some(description::SAVE),
            dump::VERB => Some(NOTHING_HELD),
            _ => None,
        }
    }

    fn runs_program(&self, verb: &str) -> bool {
        matches!(verb, "check-save" | "check-append-only")
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
            "accepting" => {
                let NoArguments {} = read(NAME, verb, arguments)?;
                query::accepting(context).await
            }
            "query" => query::query(context, &read(NAME, verb, arguments)?).await,
            "compare-facts" => keys::compare(context, &read(NAME, verb, arguments)?).await,
            "check-append-only" => files::check_append_only(context, read(NAME, verb, arguments)?).await,
            "cut-unfinished" => on_files(context, read(NAME, verb, arguments)?, files::cut_unfinished).await,
            "check-save" => files::check_save(context, read(NAME, verb, arguments)?).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    fn undo_record(&self, verb: &str, context: &HookContext, _arguments: &Value) -> Result<Value> {
        match verb {
            append_only::VERB => undo::record(Some(context)),
            // Nothing stays held.
            save::VERB | dump::VERB => undo::record(None),
            _ => Err(unknown(NAME, verb)),
        }
    }

    async fn acquire(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Acquired> {
        match verb {
            append_only::VERB => append_only::acquire(context, read(NAME, verb, arguments)?).await,
            dump::VERB => {
                let dump::Arguments {} = read(NAME, verb, arguments)?;
                dump::acquire(context).await
            }
            save::VERB => save::acquire(context, read(NAME, verb, arguments)?).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    async fn undo(&self, record: &Value, context: &HookContext) -> Result<Undone> {
        undo::undo(record, context).await
    }
}
