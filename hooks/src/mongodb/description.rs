//! The hook as data.

use std::sync::LazyLock;

use standstill_core::hook::{HookDescription, OutputType, Verb, VerbKind};

use super::{quiesce, ready, settings::Settings};
use crate::server::{
    arguments::NoArguments,
    describe::{ASKED, NETWORK, output, verb},
};

/// The hook's description.
pub(super) static DESCRIPTION: LazyLock<HookDescription> = LazyLock::new(describe);

fn describe() -> HookDescription {
    HookDescription {
        name: "mongodb",
        summary: "MongoDB 5.0 and later: files, flushed or locked",
        connection: Some(Settings::schema()),
        verbs: vec![
            ready(),
            quiesce(),
            verb::<NoArguments>("accepting", "Wait until the server answers", ASKED, VerbKind::Read),
            verb::<NoArguments>(
                "check-collections",
                "Have a restored server check every collection and its indexes",
                ASKED,
                VerbKind::Read,
            ),
        ],
    }
}

fn ready() -> Verb {
    let summary =
        "Check that a backup can be taken: role, engine, files, privileges, and that nobody has the lock";
    Verb {
        outputs: vec![
            output("version", OutputType::Text),
            output("compatibility", OutputType::Text),
            output("role", OutputType::Text),
            output("replicaSet", OutputType::Text),
        ],
        ..verb::<ready::Arguments>("ready", summary, NETWORK, VerbKind::Read)
    }
}

fn quiesce() -> Verb {
    let summary = "Bring everything to the disk for an atomic snapshot, or lock writes for any other copy";
    Verb {
        outputs: vec![
            output("by", OutputType::Text),
            output("version", OutputType::Text),
            output("lastWrite", OutputType::Text),
        ],
        // What it is without arguments; with them, see `hold_traits`.
        ..verb::<quiesce::Arguments>(quiesce::VERB, summary, NETWORK, VerbKind::Hold(quiesce::FLUSH))
    }
}
