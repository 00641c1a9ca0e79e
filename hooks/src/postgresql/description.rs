//! The hook as data.

use schemars::{JsonSchema, schema_for};
use serde_json::Value;
use standstill_core::hook::{
    Available, HoldKind, HoldTraits, HookDescription, OutputDescription, OutputType, Place, Tolerance, Verb,
    VerbKind,
};

use super::{
    backup_mode, compare, exported_snapshot, place_label,
    query::{NoArguments, QueryArguments},
    ready, scratch_config,
    settings::Settings,
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
pub(super) fn describe() -> HookDescription {
    HookDescription {
        name: "postgresql",
        summary: "PostgreSQL 14 and later, physical and logical",
        connection: Some(Settings::schema()),
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

const NETWORK: &[Place] = &[Place::Network];
const ASKED: &[Place] = &[Place::Network, Place::Service];

fn verb<A: JsonSchema>(
    name: &'static str,
    summary: &'static str,
    places: &'static [Place],
    kind: VerbKind,
) -> Verb {
    Verb { name, summary, places, kind, arguments: schema::<A>(), outputs: Vec::new() }
}

fn schema<A: JsonSchema>() -> Value {
    schema_for!(A).to_value()
}

fn output(name: &'static str, ty: OutputType, available: Available) -> OutputDescription {
    OutputDescription { name, ty, available }
}

fn ready() -> Verb {
    let summary = "Check that a backup can be taken: role, grants, settings, and that the volumes hold the whole database";
    Verb {
        outputs: vec![
            output("dataDirectory", OutputType::Text, Available::Acquired),
            output("walDirectory", OutputType::Text, Available::Acquired),
            output("tablespaces", OutputType::Any, Available::Acquired),
            output("version", OutputType::Text, Available::Acquired),
            output("role", OutputType::Text, Available::Acquired),
        ],
        ..verb::<ready::Arguments>("ready", summary, NETWORK, VerbKind::Read)
    }
}

fn backup_mode() -> Verb {
    let summary = "Hold the server in backup mode, with a temporary slot that keeps the WAL; writes go on";
    Verb {
        outputs: vec![
            output("startLsn", OutputType::Text, Available::Acquired),
            output("systemIdentifier", OutputType::Text, Available::Acquired),
            output("label", OutputType::Text, Available::Released),
            output("tablespaceMap", OutputType::Text, Available::Released),
            output("stopLsn", OutputType::Text, Available::Released),
            output("timeline", OutputType::Integer, Available::Released),
            output("restorePoint", OutputType::Text, Available::Released),
            output("wal", OutputType::Files, Available::Released),
        ],
        ..verb::<backup_mode::Arguments>(backup_mode::VERB, summary, NETWORK, VerbKind::Hold(BACKUP_MODE))
    }
}

fn exported_snapshot() -> Verb {
    let summary = "Hold one read-only snapshot for each database, for dumps to share; writes go on";
    let list = OutputType::List(&["name", "snapshot"]);
    Verb {
        outputs: vec![output("databases", list, Available::Acquired)],
        ..verb::<exported_snapshot::Arguments>(
            exported_snapshot::VERB,
            summary,
            NETWORK,
            VerbKind::Hold(EXPORTED_SNAPSHOT),
        )
    }
}

fn query() -> Verb {
    Verb {
        outputs: vec![
            output("rows", OutputType::Any, Available::Acquired),
            output("value", OutputType::Any, Available::Acquired),
        ],
        ..verb::<QueryArguments>(
            "query",
            "Run one statement in a read-only transaction",
            ASKED,
            VerbKind::Read,
        )
    }
}
