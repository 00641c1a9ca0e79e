//! The hook as data.

use std::sync::LazyLock;

use standstill_core::hook::{HookDescription, OutputType, Place, Verb, VerbKind};

use super::{observe, restore, server, settings::Settings, snapshot};
use crate::server::{
    arguments::NoArguments,
    compare,
    describe::{ASKED, NETWORK, NOTHING_HELD, output, released, verb},
    ssl::with_password,
};

/// The hook's description.
pub(super) static DESCRIPTION: LazyLock<HookDescription> = LazyLock::new(describe);

fn describe() -> HookDescription {
    HookDescription {
        name: "etcd",
        summary: "etcd 3.4 and later, by its own snapshots",
        connection: Some(with_password::<Settings>("The user's password.")),
        verbs: vec![
            ready(),
            observe(),
            verb::<NoArguments>(
                snapshot::VERB,
                "Take a snapshot, proven by the digest at its end",
                NETWORK,
                VerbKind::Stream,
            ),
            verb::<restore::Arguments>(
                "restore",
                "Make a member's data directory of a snapshot",
                &[Place::Volume],
                VerbKind::Act,
            ),
            verb::<NoArguments>("accepting", "Wait until the member answers", ASKED, VerbKind::Read),
            verb::<compare::Arguments>(
                "compare-facts",
                "Ask a restored member for what was observed, and compare",
                ASKED,
                VerbKind::Read,
            ),
        ],
    }
}

fn ready() -> Verb {
    let summary = "Check that a backup can be taken: role, alarms, leader and permissions";
    Verb {
        outputs: vec![
            output("version", OutputType::Text),
            output("role", OutputType::Text),
            output("members", OutputType::Integer),
            output("revision", OutputType::Integer),
            output("dbSize", OutputType::Integer),
            output("dbSizeInUse", OutputType::Integer),
        ],
        ..verb::<server::Arguments>("ready", summary, NETWORK, VerbKind::Read)
    }
}

fn observe() -> Verb {
    let summary = "Observe revision, number of keys and their hash around a snapshot; nothing is held";
    Verb {
        outputs: vec![
            output("revision", OutputType::Integer),
            output("cluster", OutputType::Text),
            output("member", OutputType::Text),
            released("lastRevision", OutputType::Integer),
        ],
        ..verb::<observe::Arguments>(observe::VERB, summary, NETWORK, VerbKind::Hold(NOTHING_HELD))
    }
}
