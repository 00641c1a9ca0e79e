//! A file system: any application's files, while nobody can write to them.
//!
//! ```text
//!   Filesystem (Hook) ── place      the volume is a whole file system, and nothing of ours is on it
//!      └ freeze (Hold) ──runtime──▶ keeper ──▶ `agent hold filesystem freeze|check|thaw` ──▶ fsfreeze(8)
//! ```
//!
//! # What a frozen file system means
//! `FIFREEZE` (`ioctl_fsfreeze(2)`) writes back what is dirty and makes every writer wait, in a state in which not even
//! SIGKILL reaches it. It has no owner and survives whoever asked for it. So
//! - it is kept by the keeper, a process of its own that was started before and thaws when the runner falls silent;
//! - nothing that the keeper or the runner writes to or runs from may be on the file system: [`place`] looks;
//! - one that was frozen before is refused, never joined, and never thawed: [`agent`] remembers whose freeze it is.
//!
//! # What it proves
//! All files are of one moment. Whether the application had written all that belongs together it does not tell: the
//! copy is what a power failure would have left, so the recovery point says `crash`, unless another hold proves more.

mod agent;
mod freeze;
mod place;

use std::sync::LazyLock;

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{
        Acquired, Called, HoldKind, HoldTraits, Hook, HookContext, HookDescription, OutputType, Place, Probe,
        Tolerance, Undone, Verb, VerbKind,
    },
    point::Consistency,
};

pub use agent::holder_main;

use crate::server::{
    arguments::{NoArguments, read, unknown},
    describe::{output, verb},
};

const NAME: &str = "filesystem";
const FREEZE: &str = "freeze";

/// A freeze stays on whatever dies; what is dirty is on the device, so a snapshot of that sees all of it.
const FROZEN: HoldTraits = HoldTraits {
    kind: HoldKind::Lease,
    blocks_writes: true,
    tolerates: Tolerance { not_atomic: true, changing_files: false, block_level: true },
};

/// The hook.
#[derive(Debug, Clone, Copy)]
pub struct Filesystem;

/// The hook's description.
static DESCRIPTION: LazyLock<HookDescription> = LazyLock::new(describe);

fn describe() -> HookDescription {
    let on_files = &[Place::Volume];
    let ready = Verb {
        outputs: vec![output("type", OutputType::Text), output("device", OutputType::Text)],
        ..verb::<NoArguments>(
            "ready",
            "Check that the volume is a whole file system that can be frozen, and that nothing of a run is on it",
            on_files,
            VerbKind::Read,
        )
    };
    HookDescription {
        name: NAME,
        summary: "A file system, frozen: any application's files",
        connection: None,
        verbs: vec![
            ready,
            verb::<NoArguments>(
                "sync",
                "Write back what is dirty, so that the freeze has less to write",
                on_files,
                VerbKind::Act,
            ),
            verb::<NoArguments>(
                FREEZE,
                "Freeze the file system: every write waits until it is thawed",
                on_files,
                VerbKind::Hold(FROZEN),
            ),
        ],
    }
}

#[async_trait]
impl Hook for Filesystem {
    fn describe(&self) -> &HookDescription {
        &DESCRIPTION
    }

    fn runs_program(&self, _verb: &str) -> bool {
        true
    }

    fn proves(&self, _verb: &str) -> Consistency {
        Consistency::Crash
    }

    async fn probe(&self, context: &HookContext) -> Result<Probe> {
        place::probe(context)
    }

    async fn call(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Called> {
        let NoArguments {} = read(NAME, verb, arguments)?;
        match verb {
            "ready" => place::ready(context).await,
            "sync" => place::sync(context).await,
            _ => Err(unknown(NAME, verb)),
        }
    }

    fn undo_record(&self, verb: &str, context: &HookContext, _arguments: &Value) -> Result<Value> {
        if verb != FREEZE {
            return Err(unknown(NAME, verb));
        }
        context.runtime.keeper_record(&freeze::spec(context)?, &context.run)
    }

    async fn acquire(&self, verb: &str, context: &HookContext, arguments: &Value) -> Result<Acquired> {
        let NoArguments {} = read(NAME, verb, arguments)?;
        if verb != FREEZE {
            return Err(unknown(NAME, verb));
        }
        freeze::acquire(context).await
    }

    async fn undo(&self, record: &Value, context: &HookContext) -> Result<Undone> {
        context.runtime.dispose(record, &std::collections::BTreeMap::new()).await.map_err(|error| {
            let volume = context.volume.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            Error::new(error.kind(), format!("the file system at {volume} may still be frozen"))
                .remedy(format!("Run: fsfreeze --unfreeze {volume}"))
                .because(error)
        })
    }
}
