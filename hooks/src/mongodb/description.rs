//! The hook as data.

use std::sync::LazyLock;

use standstill_core::hook::{HookDescription, OutputType, Verb, VerbKind};

use super::{dump, observe, quiesce, ready, restore, settings::Settings};
use crate::server::{
    arguments::NoArguments,
    compare,
    describe::{ASKED, NETWORK, NOTHING_HELD, output, verb},
    ssl::with_password,
};

/// The hook's description.
pub(super) static DESCRIPTION: LazyLock<HookDescription> = LazyLock::new(describe);

fn describe() -> HookDescription {
    HookDescription {
        name: "mongodb",
        summary: "MongoDB 5.0 and later: files, flushed or locked, and dumps",
        connection: Some(with_password::<Settings>("The user's password.")),
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
            observe(),
            verb::<dump::Arguments>(
                dump::VERB,
                "Read every collection as of one cluster time, as an archive",
                NETWORK,
                VerbKind::Stream,
            ),
            Verb {
                outputs: vec![output("documents", OutputType::Integer)],
                ..verb::<restore::Arguments>(
                    "restore",
                    "Put what a dump has into a server that has nothing of it",
                    ASKED,
                    VerbKind::Act,
                )
            },
            verb::<compare::Arguments>(
                "compare-facts",
                "Count again in a restored server, and compare",
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

fn observe() -> Verb {
    let summary = "Observe the cluster time of a dump, and count documents around it; nothing is held";
    Verb {
        outputs: vec![output("clusterTime", OutputType::Text), output("version", OutputType::Text)],
        ..verb::<observe::Arguments>(observe::VERB, summary, NETWORK, VerbKind::Hold(NOTHING_HELD))
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
