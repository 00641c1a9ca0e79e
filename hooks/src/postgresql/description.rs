//! The hook as data.

use std::sync::LazyLock;

use standstill_core::hook::{
    HoldKind, HoldTraits, HookDescription, OutputType, Place, Tolerance, Verb, VerbKind,
};

use super::{backup_mode, exported_snapshot, place_label, ready, scratch_config, settings::Settings};
use crate::server::{
    arguments::NoArguments,
    compare,
    describe::{ASKED, NETWORK, output, query, released, verb},
    ssl::with_password,
};

/// WAL from start to stop repairs whatever a copy saw half-way, block device or file system alike.
const BACKUP_MODE: HoldTraits = HoldTraits {
    kind: HoldKind::Session,
    blocks_writes: false,
    tolerates: Tolerance { not_atomic: true, changing_files: true, block_level: true },
};

/// Dumps read through the server: no kind of copy of its files is made right by it.
const EXPORTED_SNAPSHOT: HoldTraits = HoldTraits {
    kind: HoldKind::Session,
    blocks_writes: false,
    tolerates: Tolerance { not_atomic: false, changing_files: false, block_level: false },
};

/// The hook's description.
pub(super) static DESCRIPTION: LazyLock<HookDescription> = LazyLock::new(describe);

fn describe() -> HookDescription {
    HookDescription {
        name: super::NAME,
        summary: "PostgreSQL 14 and later, physical and logical",
        connection: Some(with_password::<Settings>("The role's password.")),
        verbs: vec![
            ready(),
            verb::<NoArguments>(
                "checkpoint",
                "Write a checkpoint, so that backup mode starts quickly",
                NETWORK,
                VerbKind::Act,
            ),
            backup_mode(),
            exported_snapshot(),
            verb::<place_label::Arguments>(
                "place-label",
                "Make restored files a data directory that recovers from this backup and stays inside its volume",
                &[Place::Volume],
                VerbKind::Act,
            ),
            verb::<scratch_config::Arguments>(
                "scratch-config",
                "Give a restored copy a configuration that reaches out to nothing",
                &[Place::Volume],
                VerbKind::Act,
            ),
            verb::<NoArguments>(
                "accepting",
                "Wait until the server takes statements and is done with recovery",
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
    let summary = "Check that a backup can be taken: role, grants, settings, and that the volumes hold the whole database";
    Verb {
        outputs: vec![
            output("dataDirectory", OutputType::Text),
            output("walDirectory", OutputType::Text),
            output("tablespaces", OutputType::Any),
            output("version", OutputType::Text),
            output("role", OutputType::Text),
        ],
        ..verb::<ready::Arguments>("ready", summary, NETWORK, VerbKind::Read)
    }
}

fn backup_mode() -> Verb {
    let summary = "Hold the server in backup mode, with a temporary slot that keeps the WAL; writes go on";
    Verb {
        outputs: vec![
            output("startLsn", OutputType::Text),
            output("systemIdentifier", OutputType::Text),
            released("label", OutputType::Text),
            released("tablespaceMap", OutputType::Text),
            released("stopLsn", OutputType::Text),
            released("timeline", OutputType::Integer),
            released("restorePoint", OutputType::Text),
            released("wal", OutputType::Files),
        ],
        ..verb::<backup_mode::Arguments>(backup_mode::VERB, summary, NETWORK, VerbKind::Hold(BACKUP_MODE))
    }
}

fn exported_snapshot() -> Verb {
    let summary = "Hold one read-only snapshot for each database, for dumps to share; writes go on";
    let list = OutputType::List(&["name", "snapshot"]);
    Verb {
        outputs: vec![output("databases", list)],
        ..verb::<exported_snapshot::Arguments>(
            exported_snapshot::VERB,
            summary,
            NETWORK,
            VerbKind::Hold(EXPORTED_SNAPSHOT),
        )
    }
}
