//! The hook as data.

use std::sync::LazyLock;

use standstill_core::hook::{HookDescription, OutputType, Verb, VerbKind};

use super::stage;
use crate::{
    mysql_protocol::{
        settings::Settings,
        verbs::{self, traits},
    },
    server::{
        describe::{NETWORK, output, verb},
        ssl::with_password,
    },
};

/// The hook's description.
pub(super) static DESCRIPTION: LazyLock<HookDescription> = LazyLock::new(describe);

fn describe() -> HookDescription {
    HookDescription {
        name: super::NAME,
        summary: "MariaDB 10.5 and later, physical and logical",
        connection: Some(with_password::<Settings>("The user's password.")),
        verbs: verbs::describe(backup_stage()),
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
