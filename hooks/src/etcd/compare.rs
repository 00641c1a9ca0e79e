//! The verb `compare-facts`: what a restored member says, against what was observed around the snapshot.

use serde_json::{Value, json};
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    point::{Check, CheckOutcome, Fact},
};

use super::{
    api::Member,
    observe::{COMPACTED, HASH, KEYS, REVISION},
};
use crate::server::compare::{self, Arguments};

/// Compares each fact that can be compared; the others are skipped with the reason.
pub(super) async fn compare(context: &HookContext, arguments: &Arguments) -> Result<Called> {
    let member = Member::open(context).await?;
    let mut checks = Vec::new();
    for fact in &arguments.facts {
        if context.cancel.is_cancelled() {
            return Err(Error::cancelled("cancelled on comparing facts"));
        }
        checks.push(check(&member, fact).await);
    }
    Ok(Called { checks, ..Called::default() })
}

async fn check(member: &Member, fact: &Fact) -> Check {
    let Some((revision, compacted)) = hashed(&fact.name) else {
        return compare::check(fact, ask(member, &fact.name)).await;
    };
    let skipped = |detail: String| Check { name: fact.name.clone(), outcome: CheckOutcome::Skipped, detail };
    match member.hash(revision).await {
        // Compacted between the observation and the snapshot: another hash, and no damage.
        Ok(None) => skipped(format!("the restored history was compacted past revision {revision}")),
        Ok(Some(found)) if found.compacted != compacted => skipped(format!(
            "the restored history was compacted at {}, and its hash is another",
            found.compacted
        )),
        Ok(Some(found)) => compare::check(fact, async { Ok(Some(json!(found.hash))) }).await,
        Err(error) => compare::check(fact, async { Err(error) }).await,
    }
}

/// What the restored member says of a fact; `None` for a fact of a kind that is not known here.
async fn ask(member: &Member, fact: &str) -> Result<Option<Value>> {
    if fact == REVISION {
        return Ok(Some(json!(member.count(None).await?.0.revision)));
    }
    let Some(revision) = fact.strip_prefix(KEYS).and_then(|revision| revision.parse().ok()) else {
        return Ok(None);
    };
    Ok(Some(json!(member.count(Some(revision)).await?.1)))
}

/// The revisions in the name of a hash.
fn hashed(fact: &str) -> Option<(i64, i64)> {
    let (revision, compacted) = fact.strip_prefix(HASH)?.split_once(COMPACTED)?;
    Some((revision.parse().ok()?, compacted.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_two_revisions() {
        assert_eq!(hashed(&format!("{HASH}12{COMPACTED}-1")), Some((12, -1)));
        assert_eq!(hashed(&format!("{HASH}12")), None);
        assert_eq!(hashed(&format!("{KEYS}12")), None);
    }
}
