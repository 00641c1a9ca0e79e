//! The verb `compare-facts`: counts in a restored server, against what was counted at the cut.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    point::{Bound, Check, CheckOutcome, Fact},
};

use super::{
    connect::{LOOKUP, Session, column},
    facts::{ROWS, TRANSACTION},
    names::Name,
    position::sequences,
};

/// How long one count may take; the step's own timeout is usually shorter.
const LONG: Duration = Duration::from_hours(1);

/// What `compare-facts` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The facts of the recovery point.
    facts: Vec<Fact>,
}

/// Compares each fact that can be compared; the others are skipped with the reason.
pub(super) async fn compare(context: &HookContext, arguments: &Arguments) -> Result<Called> {
    let session = Session::open(context).await?;
    session.run(LOOKUP, "lift the time limits", super::query::PATIENT).await?;
    let mut checks = Vec::new();
    for fact in &arguments.facts {
        if context.cancel.is_cancelled() {
            return Err(Error::cancelled("cancelled on comparing facts"));
        }
        checks.push(check(&session, fact).await);
    }
    session.close().await;
    Ok(Called { checks, ..Called::default() })
}

async fn check(session: &Session, fact: &Fact) -> Check {
    let made = |outcome, detail: String| Check { name: fact.name.clone(), outcome, detail };
    if fact.bound == Bound::None {
        return made(CheckOutcome::Skipped, format!("kept for people, not compared: {}", fact.value));
    }
    let found = match ask(session, &fact.name).await {
        Ok(Some(found)) => found,
        Ok(None) => return made(CheckOutcome::Skipped, "this hook does not know such a fact".into()),
        Err(error) => return made(CheckOutcome::Failed, error.chain()),
    };
    let expected = match &fact.bound {
        Bound::Exact => fact.value.to_string(),
        Bound::Bounded(other) => format!("between {} and {other}", fact.value),
        Bound::AtLeast => format!("at least {}", fact.value),
        Bound::None => "nothing".into(),
    };
    match fact.agrees(&found) {
        Some(true) => made(CheckOutcome::Passed, format!("found {found}, expected {expected}")),
        Some(false) => made(CheckOutcome::Failed, format!("found {found}, expected {expected}")),
        None => {
            made(CheckOutcome::Skipped, format!("found {found}, which cannot be compared with {expected}"))
        }
    }
}

/// What the restored server says of a fact; `None` for a fact of a kind that is not known here.
async fn ask(session: &Session, fact: &str) -> Result<Option<Value>> {
    if let Some(domain) = fact.strip_prefix(TRANSACTION) {
        let row = session.one(LOOKUP, "read the last transactions", "SELECT @@gtid_binlog_state").await?;
        let last = sequences(&column::<String>(&row, 0)?);
        return Ok(Some(json!(last.get(domain).copied().unwrap_or_default())));
    }
    let Some(name) = fact.strip_prefix(ROWS).and_then(Name::read) else { return Ok(None) };
    let sql = format!("SELECT COUNT(*) FROM {}", name.sql());
    let row = session.one(LONG, "count what was restored", &sql).await?;
    Ok(Some(json!(column::<u64>(&row, 0)?)))
}
