//! Shorthand for a hook's description.

use schemars::{JsonSchema, schema_for};
use serde_json::Value;
use standstill_core::hook::{
    Available, HoldKind, HoldTraits, OutputDescription, OutputType, Place, Tolerance, Verb, VerbKind,
};

use super::arguments::QueryArguments;

/// A verb that talks to a server through a connection.
pub(crate) const NETWORK: &[Place] = &[Place::Network];
/// A verb that talks to any server, also one that the run started.
pub(crate) const ASKED: &[Place] = &[Place::Network, Place::Service];

/// What a verb holds that holds nothing when it is done: no kind of copy is made right by it, and what it wrote itself is
/// consistent as it is.
pub(crate) const NOTHING_HELD: HoldTraits = HoldTraits {
    kind: HoldKind::Moment,
    blocks_writes: false,
    tolerates: Tolerance { not_atomic: false, changing_files: false, block_level: false },
};

/// A verb without outputs.
pub(crate) fn verb<A: JsonSchema>(
    name: &'static str,
    summary: &'static str,
    places: &'static [Place],
    kind: VerbKind,
) -> Verb {
    Verb { name, summary, places, kind, arguments: schema::<A>(), outputs: Vec::new() }
}

/// The JSON Schema of a verb's arguments.
pub(crate) fn schema<A: JsonSchema>() -> Value {
    schema_for!(A).to_value()
}

/// An output that is there when the verb is done.
pub(crate) fn output(name: &'static str, ty: OutputType) -> OutputDescription {
    OutputDescription { name, ty, available: Available::Acquired }
}

/// An output that is there when the hold was let go.
pub(crate) fn released(name: &'static str, ty: OutputType) -> OutputDescription {
    OutputDescription { name, ty, available: Available::Released }
}

/// The verb `query`.
pub(crate) fn query() -> Verb {
    Verb {
        outputs: vec![output("rows", OutputType::Any), output("value", OutputType::Any)],
        ..verb::<QueryArguments>(
            "query",
            "Run one statement in a read-only transaction",
            ASKED,
            VerbKind::Read,
        )
    }
}
