//! The verb `compare-facts`: what a restored server says, against what was counted at the cut.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use standstill_core::{
    Result,
    point::{Bound, Check, CheckOutcome, Fact},
};

/// How long one count may take; the step's own timeout is usually shorter.
pub(crate) const LONG: Duration = Duration::from_hours(1);

/// What `compare-facts` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The facts of the recovery point.
    pub facts: Vec<Fact>,
}

/// The check of one fact. The server is asked only if the fact can be compared at all; `None` is its answer to a
/// kind of fact that the hook does not know.
pub(crate) async fn check(fact: &Fact, ask: impl Future<Output = Result<Option<Value>>>) -> Check {
    let made = |outcome, detail: String| Check { name: fact.name.clone(), outcome, detail };
    if fact.bound == Bound::None {
        return made(CheckOutcome::Skipped, format!("kept for people, not compared: {}", fact.value));
    }
    let found = match ask.await {
        Ok(Some(found)) => found,
        Ok(None) => return made(CheckOutcome::Skipped, "this hook does not know such a fact".into()),
        Err(error) => return made(CheckOutcome::Failed, error.chain()),
    };
    let expected = expectation(fact);
    match fact.agrees(&found) {
        Some(true) => made(CheckOutcome::Passed, format!("found {found}, expected {expected}")),
        Some(false) => made(CheckOutcome::Failed, format!("found {found}, expected {expected}")),
        None => {
            made(CheckOutcome::Skipped, format!("found {found}, which cannot be compared with {expected}"))
        }
    }
}

fn expectation(fact: &Fact) -> String {
    match &fact.bound {
        Bound::Exact => fact.value.to_string(),
        Bound::Bounded(other) => format!("between {} and {other}", fact.value),
        Bound::AtLeast => format!("at least {}", fact.value),
        Bound::None => "nothing".into(),
    }
}
