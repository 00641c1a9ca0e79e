//! What the hook is, as data.

use std::sync::LazyLock;

use standstill_core::hook::{
    Available, HoldKind, HoldTraits, HookDescription, OutputDescription, OutputType, Place, Tolerance, Verb,
    VerbKind,
};

use super::arguments::{self, schema};
use crate::server::describe::NOTHING_HELD;

/// The only place: there is no server.
const VOLUME: &[Place] = &[Place::Volume];

/// What the hold of `write-lock` is; see the module's proof. A snapshot of the block device is right only if the
/// files were written to the disk inside the hold.
pub(super) const fn write_lock(sync: bool) -> HoldTraits {
    HoldTraits {
        kind: HoldKind::Session,
        blocks_writes: true,
        tolerates: Tolerance { not_atomic: true, changing_files: false, block_level: sync },
    }
}

/// The description; made once.
pub(super) static DESCRIPTION: LazyLock<HookDescription> = LazyLock::new(|| HookDescription {
    name: "sqlite",
    summary: "SQLite 3 databases, by their files",
    connection: None,
    verbs: vec![ready(), checkpoint(), write_lock_verb(), online_backup(), check(), compare_facts(), query()],
});

fn now(name: &'static str, ty: OutputType) -> OutputDescription {
    OutputDescription { name, ty, available: Available::Acquired }
}

fn ready() -> Verb {
    Verb {
        name: "ready",
        summary: "Look whether the file is a SQLite database on this machine's disk that can be backed up",
        places: VOLUME,
        kind: VerbKind::Read,
        arguments: schema::<arguments::Ready>(),
        outputs: vec![
            now("pageSize", OutputType::Integer),
            now("journalMode", OutputType::Text),
            now("pageCount", OutputType::Integer),
            now("bytes", OutputType::Integer),
            now("walBytes", OutputType::Integer),
        ],
    }
}

fn checkpoint() -> Verb {
    Verb {
        name: "checkpoint",
        summary: "Move the log into the database file as far as that keeps nobody waiting",
        places: VOLUME,
        kind: VerbKind::Act,
        arguments: schema::<arguments::File>(),
        outputs: vec![
            now("journalMode", OutputType::Text),
            now("logFrames", OutputType::Integer),
            now("checkpointedFrames", OutputType::Integer),
        ],
    }
}

fn write_lock_verb() -> Verb {
    Verb {
        name: "write-lock",
        summary: "Keep writers out by an open write transaction while the files are captured",
        places: VOLUME,
        kind: VerbKind::Hold(write_lock(false)),
        arguments: schema::<arguments::WriteLock>(),
        outputs: vec![now("journalMode", OutputType::Text), now("pageCount", OutputType::Integer)],
    }
}

fn online_backup() -> Verb {
    Verb {
        name: "online-backup",
        summary: "Copy the database into the scratch directory while it goes on being written to",
        places: VOLUME,
        kind: VerbKind::Hold(NOTHING_HELD),
        arguments: schema::<arguments::OnlineBackup>(),
        outputs: vec![
            now("files", OutputType::Files),
            now("journalMode", OutputType::Text),
            now("pageCount", OutputType::Integer),
            now("bytes", OutputType::Integer),
        ],
    }
}

fn check() -> Verb {
    Verb {
        name: "check",
        summary: "Run SQLite's full integrity check on a copy",
        places: VOLUME,
        kind: VerbKind::Read,
        arguments: schema::<arguments::File>(),
        outputs: Vec::new(),
    }
}

fn compare_facts() -> Verb {
    Verb {
        name: "compare-facts",
        summary: "Compare the rows of each table with the recovery point's facts",
        places: VOLUME,
        kind: VerbKind::Read,
        arguments: schema::<arguments::CompareFacts>(),
        outputs: Vec::new(),
    }
}

fn query() -> Verb {
    Verb {
        name: "query",
        summary: "Run a query that only reads",
        places: VOLUME,
        kind: VerbKind::Read,
        arguments: schema::<arguments::Query>(),
        outputs: vec![now("rows", OutputType::Any), now("value", OutputType::Any)],
    }
}
