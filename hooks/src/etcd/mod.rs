//! etcd 3.4 and later.
//!
//! ```text
//!   Etcd (Hook) ── api ── rpc ── connect ──▶ one member, by gRPC
//!      ├ server      probe; ready: role, leader, alarms, permissions
//!      ├ observe     revision, keys and hash around the snapshot (Hold)
//!      ├ snapshot    the snapshot as a stream, proven by its digest
//!      ├ restore     a data directory of a snapshot
//!      └ compare     a restored member
//! ```
//!
//! # Why not etcdctl
//! It writes snapshots to files only (`-` makes a file of that name), its `snapshot status` does not notice a flipped
//! byte, and its image has no shell to run it from. The member's own stream ends with a digest of everything before
//! it, so a snapshot that was cut or changed on its way is told from a whole one before it is stored.
//!
//! # Least permissions
//! Where authentication is on, etcd gives snapshots and hashes to users with the role `root` only; there is no smaller
//! one.

mod api;
mod compare;
mod connect;
mod description;
mod errors;
mod observe;
mod proto;
mod restore;
mod rpc;
mod server;
mod settings;
mod snapshot;

use async_trait::async_trait;
use serde_json::{Value, json};
use standstill_core::{
    Result,
    hook::{Acquired, Called, Hook, HookContext, HookDescription, Probe, Undone},
    runtime::Producer,
};

use crate::server::arguments::{NoArguments, read, unknown};

const NAME: &str = "etcd";

/// The hook.
#[derive(Debug, Clone, Copy)]
pub struct Etcd;

#[async_trait]
impl Hook for Etcd {
    fn describe(&self) -> &HookDescription {
        &description::DESCRIPTION
    }

    fn runs_program(&self, verb: &str) -> bool {
        verb == "restore"
    }

    fn asked_role(&self, verb: &str, arguments: &Value) -> Option<String> {
        crate::server::role::asked(verb, arguments, &["any"])
    }

    async fn probe(&self, context: &HookContext) -> Result<Probe> {
        server::probe(context).await
    }

    async fn call(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Called> {
        match verb {
            "ready" => server::ready(context, read(NAME, verb, arguments)?).await,
            "accepting" => {
                let NoArguments {} = read(NAME, verb, arguments)?;
                server::accepting(context).await
            }
            "compare-facts" => compare::compare(context, &read(NAME, verb, arguments)?).await,
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
            snapshot::VERB => {
                let NoArguments {} = read(NAME, verb, arguments)?;
                snapshot::begin(context).await
            }
            _ => Err(unknown(NAME, verb)),
        }
    }

    fn undo_record(&self, _verb: &str, _context: &HookContext, _arguments: &Value) -> Result<Value> {
        Ok(json!({}))
    }

    async fn acquire(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Acquired> {
        match verb {
            observe::VERB => observe::acquire(context, read(NAME, verb, arguments)?).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    async fn undo(&self, _record: &Value, _context: &HookContext) -> Result<Undone> {
        // Nothing was held.
        Ok(Undone::AlreadyGone)
    }
}
