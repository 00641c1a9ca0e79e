//! The hook as data.

use standstill_core::hook::{
    HoldKind, HoldTraits, HookDescription, OutputType, Place, Tolerance, Verb, VerbKind,
};

use super::{copy, observe, query::CheckArguments, ready, settings::Settings, stage};
use crate::server::{
    arguments::NoArguments,
    compare,
    describe::{ASKED, NETWORK, output, query, verb},
};

/// What a backup stage is, when writes wait and when they do not.
///
/// Nothing but an atomic capture is tolerated: even while nothing is committed the server writes its pages and its
/// redo log in the background, so a copy of one file after the other has pieces of different times. Nor is a
/// snapshot of the block device: what the binary log was told may still be in the page cache.
pub(super) const fn traits(blocks_writes: bool) -> HoldTraits {
    HoldTraits {
        kind: HoldKind::Session,
        blocks_writes,
        tolerates: Tolerance { not_atomic: false, changing_files: false, block_level: false },
    }
}

/// Nothing is held, so no kind of copy is made right by it.
pub(super) const OBSERVE: HoldTraits = HoldTraits {
    kind: HoldKind::Moment,
    blocks_writes: false,
    tolerates: Tolerance { not_atomic: false, changing_files: false, block_level: false },
};

/// The hook's description.
pub(super) fn describe() -> HookDescription {
    HookDescription {
        name: super::NAME,
        summary: "MariaDB 10.5 and later, physical and logical",
        connection: Some(Settings::schema()),
        verbs: vec![
            ready(),
            backup_stage(),
            observe(),
            verb::<copy::PlaceArguments>(
                "place",
                "Make a restored data directory one that leads nowhere out of it",
                &[Place::Volume],
                VerbKind::Act,
            ),
            verb::<copy::ScratchArguments>(
                "scratch-config",
                "Give a restored copy a configuration that reaches out to nothing",
                &[Place::Volume],
                VerbKind::Act,
            ),
            verb::<NoArguments>("accepting", "Wait until the server takes statements", ASKED, VerbKind::Read),
            verb::<CheckArguments>(
                "check-tables",
                "Have the engines check every table, and read what they say",
                ASKED,
                VerbKind::Read,
            ),
            verb::<compare::Arguments>(
                "compare-facts",
                "Count in a restored server and compare with the facts of the cut",
                ASKED,
                VerbKind::Read,
            ),
            query(),
        ],
    }
}

fn ready() -> Verb {
    let summary = "Check that a backup can be taken: flavour, role, grants, engines, long statements, and that the volumes hold everything";
    Verb {
        outputs: vec![
            output("dataDirectory", OutputType::Text),
            output("version", OutputType::Text),
            output("role", OutputType::Text),
            output("readOnly", OutputType::Boolean),
            output("onlyInnodb", OutputType::Boolean),
            output("engines", OutputType::Text),
        ],
        ..verb::<ready::Arguments>("ready", summary, NETWORK, VerbKind::Read)
    }
}

fn backup_stage() -> Verb {
    let summary =
        "Hold the server in a backup stage: definitions stand still, and commits too where that is needed";
    Verb {
        outputs: vec![
            output("stage", OutputType::Text),
            output("engines", OutputType::Text),
            output("position", OutputType::Any),
            output("settings", OutputType::Any),
        ],
        // Unless the arguments say otherwise, commits may have to wait.
        ..verb::<stage::Arguments>(stage::VERB, summary, NETWORK, VerbKind::Hold(traits(true)))
    }
}

fn observe() -> Verb {
    let summary = "Count rows before and after what others do; nothing is held";
    Verb {
        outputs: vec![output("databases", OutputType::Any), output("settings", OutputType::Any)],
        ..verb::<observe::Arguments>(observe::VERB, summary, NETWORK, VerbKind::Hold(OBSERVE))
    }
}
