//! MongoDB 5.0 and later: replica sets and single servers.
//!
//! ```text
//!   Mongodb (Hook) ── session ─▶ wire, scram ──▶ one connection each, never made anew
//!      ├ server              probe: who it is, its role, its place in the oplog
//!      ├ ready ─▶ privileges preflight
//!      ├ quiesce ──▶ holder  flushed, or locked by a process of its own
//!      │    └ lock           fsyncLock, and the mark that says whose it is
//!      ├ observe             the cluster time of a dump, and counts around it
//!      ├ dump ─▶ archive     every collection as of then
//!      ├ restore ─▶ archive  and back
//!      ├ collections         a restored server's own check
//!      └ undo                what a dead run left
//! ```
//!
//! # Why not the driver
//! It keeps a pool and makes connections anew behind one's back, which would hide a hold that was lost; and a locked
//! server must be unlocked on the connection that was there before the lock. What is needed is one kind of message over
//! one connection.
//!
//! # Least privileges
//! | for | on | actions |
//! | --- | --- | --- |
//! | every backup of files | `{cluster: true}` | `fsync`, `serverStatus`, `getCmdLineOpts`, `getParameter` |
//! | one that locks, also | `{cluster: true}` | `unlock`, `inprog` |
//! | | `{db: "local", collection: "standstill"}` | `find`, `insert`, `remove` |
//! | a dump | `{cluster: true}` | `listDatabases` |
//! | | `{db: "", collection: ""}` | `find`, `listCollections`, `listIndexes` |

mod archive;
mod collections;
mod description;
mod dump;
mod errors;
mod holder;
mod lock;
mod observe;
mod privileges;
mod quiesce;
mod ready;
mod restore;
mod scram;
mod server;
mod session;
mod settings;
mod undo;
mod wire;

pub use holder::holder_main;

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Result,
    hook::{Acquired, Called, HoldTraits, Hook, HookContext, HookDescription, Probe, Undone},
    runtime::Producer,
};

use crate::server::{
    arguments::{NoArguments, read, unknown},
    describe::NOTHING_HELD,
};

/// The hook's name.
const NAME: &str = "mongodb";

/// The hook.
#[derive(Debug, Clone, Copy)]
pub struct Mongodb;

#[async_trait]
impl Hook for Mongodb {
    fn describe(&self) -> &HookDescription {
        &description::DESCRIPTION
    }

    fn hold_traits(&self, verb: &str, arguments: &Value) -> Option<HoldTraits> {
        match verb {
            quiesce::VERB if quiesce::locks(arguments) => Some(quiesce::LOCK),
            quiesce::VERB => Some(quiesce::FLUSH),
            observe::VERB => Some(NOTHING_HELD),
            _ => None,
        }
    }

    fn asked_role(&self, verb: &str, arguments: &Value) -> Option<String> {
        crate::server::role::asked(verb, arguments, &["any", "preferSecondary"])
    }

    async fn probe(&self, context: &HookContext) -> Result<Probe> {
        server::probe(context).await
    }

    async fn call(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Called> {
        match verb {
            "ready" => ready::ready(context, read(NAME, verb, arguments)?).await,
            "accepting" => {
                let NoArguments {} = read(NAME, verb, arguments)?;
                ready::accepting(context).await
            }
            "check-collections" => {
                let NoArguments {} = read(NAME, verb, arguments)?;
                collections::check(context).await
            }
            "compare-facts" => observe::compare(context, &read(NAME, verb, arguments)?).await,
            "restore" => restore::restore(context, read(NAME, verb, arguments)?).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    async fn stream(
        &self,
        verb: &str,
        context: &HookContext,
        arguments: &Value,
    ) -> Result<Box<dyn Producer>> {
        match verb {
            dump::VERB => dump::begin(context, read(NAME, verb, arguments)?).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    fn undo_record(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Value> {
        match verb {
            quiesce::VERB => quiesce::undo_record(context, arguments),
            observe::VERB => undo::record(None, std::time::Duration::ZERO),
            _ => Err(unknown(NAME, verb)),
        }
    }

    async fn acquire(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Acquired> {
        match verb {
            quiesce::VERB => quiesce::acquire(context, read(NAME, verb, arguments)?).await,
            observe::VERB => observe::acquire(context, read(NAME, verb, arguments)?).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    async fn undo(&self, record: &Value, context: &HookContext) -> Result<Undone> {
        undo::undo(record, context).await
    }
}
