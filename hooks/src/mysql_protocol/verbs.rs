//! The verbs that both hooks have in the same words.

use serde_json::Value;
use standstill_core::{
    Result,
    hook::{Called, HoldKind, HoldTraits, HookContext, OutputType, Place, Tolerance, Verb, VerbKind},
};

use super::{
    compare, copy,
    dialect::Dialect,
    observe,
    query::{self, CheckArguments},
    ready,
};
use crate::server::{
    arguments::{NoArguments, on_files, read, unknown},
    compare::Arguments as CompareArguments,
    describe::{self, ASKED, NETWORK, NOTHING_HELD, output, verb},
};

/// What a hold of the files is, when writes wait and when they do not.
///
/// Nothing but an atomic capture is tolerated: even while nothing is committed the server writes its pages and its
/// redo log in the background, so a copy of one file after the other has pieces of different times. Nor is a
/// snapshot of the block device: what the binary log was told may still be in the page cache.
pub(crate) const fn traits(blocks_writes: bool) -> HoldTraits {
    HoldTraits {
        kind: HoldKind::Session,
        blocks_writes,
        tolerates: Tolerance { not_atomic: false, changing_files: false, block_level: false },
    }
}

/// Their descriptions, around that of the verb that holds the files.
pub(crate) fn describe(hold: Verb) -> Vec<Verb> {
    let volume = &[Place::Volume];
    vec![
        ready(),
        hold,
        observe(),
        verb::<copy::PlaceArguments>(
            "place",
            "Make a restored data directory one that leads nowhere out of it",
            volume,
            VerbKind::Act,
        ),
        verb::<copy::ScratchArguments>(
            "scratch-config",
            "Give a restored copy a configuration that reaches out to nothing",
            volume,
            VerbKind::Act,
        ),
        verb::<NoArguments>("accepting", "Wait until the server takes statements", ASKED, VerbKind::Read),
        verb::<CheckArguments>(
            "check-tables",
            "Have the engines check every table, and read what they say",
            ASKED,
            VerbKind::Read,
        ),
        verb::<CompareArguments>(
            "compare-facts",
            "Count in a restored server and compare with the facts of the cut",
            ASKED,
            VerbKind::Read,
        ),
        describe::query(),
    ]
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

fn observe() -> Verb {
    let summary = "Count rows before and after what others do; nothing is held";
    Verb {
        outputs: vec![output("databases", OutputType::Any), output("settings", OutputType::Any)],
        ..verb::<observe::Arguments>(observe::VERB, summary, NETWORK, VerbKind::Hold(NOTHING_HELD))
    }
}

/// Does one of them.
pub(crate) async fn call(
    dialect: &'static Dialect,
    verb: &str,
    context: &HookContext,
    arguments: &Value,
) -> Result<Called> {
    let hook = dialect.hook;
    match verb {
        "ready" => ready::ready(dialect, context, read(hook, verb, arguments)?).await,
        "accepting" => {
            let NoArguments {} = read(hook, verb, arguments)?;
            query::accepting(dialect, context).await
        }
        "query" => query::query(dialect, context, &read(hook, verb, arguments)?).await,
        "check-tables" => query::check_tables(dialect, context, &read(hook, verb, arguments)?).await,
        "compare-facts" => compare::compare(dialect, context, &read(hook, verb, arguments)?).await,
        "place" => {
            let arguments: copy::PlaceArguments = read(hook, verb, arguments)?;
            on_files(context, (dialect, arguments), |context, (dialect, _)| copy::place(dialect, context))
                .await
        }
        "scratch-config" => {
            let arguments: copy::ScratchArguments = read(hook, verb, arguments)?;
            let work = |context: &HookContext, told: &(&'static Dialect, _)| {
                copy::configure(told.0, context, &told.1)
            };
            on_files(context, (dialect, arguments), work).await
        }
        _ => Err(unknown(hook, verb)),
    }
}
