//! The hook as data.

use std::sync::LazyLock;

use standstill_core::hook::{
    HoldKind, HoldTraits, HookDescription, OutputType, Place, Tolerance, Verb, VerbKind,
};

use super::{append_only, dump, files, query::QueryArguments, ready, save, settings::Settings};
use crate::server::{
    arguments::NoArguments,
    compare,
    describe::{ASKED, NETWORK, NOTHING_HELD, output, verb},
    ssl::with_password,
};

/// What is left of a save: nothing is held. Its file is whole and on the disk from the moment on in which it takes the
/// name of the one before, and stays so until that of a later save does: any copy is right, whatever else changes.
pub(super) const SAVE: HoldTraits = HoldTraits {
    kind: HoldKind::Moment,
    blocks_writes: false,
    tolerates: Tolerance { not_atomic: true, changing_files: true, block_level: true },
};

/// Parts of the file stay, and those that grow may be read while they do. A snapshot of the block device does not see
/// what is still in the page cache, which is up to a second with `appendfsync everysec`; so it is tolerated only where it
/// was asked that nothing acknowledged is there.
pub(super) const fn rewrites(durable: bool) -> HoldTraits {
    HoldTraits {
        kind: HoldKind::Lease,
        blocks_writes: false,
        tolerates: Tolerance { not_atomic: true, changing_files: true, block_level: durable },
    }
}

/// The hook's description.
pub(super) static DESCRIPTION: LazyLock<HookDescription> = LazyLock::new(describe);

fn describe() -> HookDescription {
    HookDescription {
        name: "redis",
        summary: "Redis 7.0 and later, and Valkey: saves, append-only files and dumps",
        connection: Some(with_password::<Settings>("The user's password.")),
        verbs: vec![
            ready(),
            save(),
            hold_rewrites(),
            dump(),
            verb::<files::CheckAppendOnly>(
                "check-append-only",
                "Look at every part of a restored append-only file",
                &[Place::Volume],
                VerbKind::Read,
            ),
            Verb {
                outputs: vec![output("cutBytes", OutputType::Integer)],
                ..verb::<files::CutUnfinished>(
                    "cut-unfinished",
                    "Cut off what was being written when an append-only file was captured",
                    &[Place::Volume],
                    VerbKind::Act,
                )
            },
            verb::<files::CheckSave>(
                "check-save",
                "Check every byte of a restored RDB file by its own checksum",
                &[Place::Volume],
                VerbKind::Read,
            ),
            verb::<NoArguments>(
                "accepting",
                "Wait until the server has loaded its data",
                ASKED,
                VerbKind::Read,
            ),
            verb::<compare::Arguments>(
                "compare-facts",
                "Count in a restored server and compare with the facts of the save",
                ASKED,
                VerbKind::Read,
            ),
            query(),
        ],
    }
}

fn ready() -> Verb {
    let summary =
        "Check that a backup can be taken: version, role, permissions, the server's directory, and room";
    Verb {
        outputs: vec![
            output("version", OutputType::Text),
            output("role", OutputType::Text),
            output("usedMemory", OutputType::Any),
        ],
        ..verb::<ready::Arguments>("ready", summary, NETWORK, VerbKind::Read)
    }
}

fn save() -> Verb {
    let summary = "Save in the background, and prove that it is done, ours, and of which instant";
    Verb {
        outputs: vec![
            output("file", OutputType::Text),
            output("version", OutputType::Text),
            output("savedAt", OutputType::Integer),
        ],
        ..verb::<save::Arguments>(save::VERB, summary, NETWORK, VerbKind::Hold(SAVE))
    }
}

fn hold_rewrites() -> Verb {
    let summary = "Keep the server from rewriting its append-only file, so that its parts can be copied";
    Verb {
        outputs: vec![
            output("directory", OutputType::Text),
            output("file", OutputType::Text),
            output("version", OutputType::Text),
            output("completeBytes", OutputType::Integer),
        ],
        ..verb::<append_only::Arguments>(append_only::VERB, summary, NETWORK, VerbKind::Hold(rewrites(false)))
    }
}

fn dump() -> Verb {
    let summary = "Receive all keys as of one instant over the connection, as a replica does";
    Verb {
        outputs: vec![
            output("files", OutputType::Files),
            output("file", OutputType::Text),
            output("version", OutputType::Text),
        ],
        ..verb::<dump::Arguments>(dump::VERB, summary, NETWORK, VerbKind::Hold(NOTHING_HELD))
    }
}

fn query() -> Verb {
    Verb {
        outputs: vec![output("rows", OutputType::Any), output("value", OutputType::Any)],
        ..verb::<QueryArguments>("query", "Run one command that only reads", ASKED, VerbKind::Read)
    }
}
