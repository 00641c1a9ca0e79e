//! The verb `compare-facts`: counts in a restored server, against what was counted at the cut.

use serde_json::{Value, json};
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
};

use super::{
    connect::{LOOKUP, Session, column},
    dialect::Dialect,
    facts::TRANSACTION,
    names::Name,
};
use crate::server::{
    compare::{Arguments, LONG, check},
    facts::ROWS,
};

/// Compares each fact that can be compared; the others are skipped with the reason.
pub(crate) async fn compare(
    dialect: &'static Dialect,
    context: &HookContext,
    arguments: &Arguments,
) -> Result<Called> {
    let session = Session::open(dialect, context).await?;
    session.run(LOOKUP, "lift the time limits", dialect.patient).await?;
    let mut checks = Vec::new();
    for fact in &arguments.facts {
        if context.cancel.is_cancelled() {
            return Err(Error::cancelled("cancelled on comparing facts"));
        }
        checks.push(check(fact, ask(&session, &fact.name)).await);
    }
    session.close().await;
    Ok(Called { checks, ..Called::default() })
}

/// What the restored server says of a fact; `None` for a fact of a kind that is not known here.
async fn ask(session: &Session, fact: &str) -> Result<Option<Value>> {
    let dialect = session.dialect();
    if let Some(domain) = fact.strip_prefix(TRANSACTION) {
        let row = session.one(LOOKUP, "read the last transactions", dialect.transactions).await?;
        let last = (dialect.sequences)(&column::<String>(&row, 0)?);
        return Ok(Some(json!(last.get(domain).copied().unwrap_or_default())));
    }
    let Some(name) = fact.strip_prefix(ROWS).and_then(Name::read) else { return Ok(None) };
    let sql = format!("SELECT COUNT(*) FROM {}", name.sql());
    let row = session.one(LONG, "count what was restored", &sql).await?;
    Ok(Some(json!(column::<u64>(&row, 0)?)))
}
