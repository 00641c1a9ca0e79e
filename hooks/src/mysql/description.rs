//! The hook as data.

use std::sync::LazyLock;

use standstill_core::hook::{HookDescription, OutputType, Verb, VerbKind};

use super::backup_lock;
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
        summary: "MySQL 8.0 and later, physical and logical",
        connection: Some(with_password::<Settings>("The user's password.")),
        verbs: verbs::describe(backup_lock()),
    }
}

fn backup_lock() -> Verb {
    let summary = "Hold the lock for backups: definitions stand still, and writes too where other engines than InnoDB need it";
    Verb {
        outputs: vec![
            output("lock", OutputType::Text),
            output("engines", OutputType::Text),
            output("position", OutputType::Any),
            output("settings", OutputType::Any),
        ],
        // Unless the arguments say otherwise, writes may have to wait.
        ..verb::<backup_lock::Arguments>(backup_lock::VERB, summary, NETWORK, VerbKind::Hold(traits(true)))
    }
}
