//! The verb `observe`: what a member says before and after a snapshot. Nothing is held: etcd keeps the history of every
//! key, so what was there at a revision can still be asked when others have followed.

use std::time::Instant;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Hold, HookContext, Receipt},
    point::{Bound, Evidence, Fact, Outputs},
};

use super::{
    api::{Hash, Header, Member},
    server::{expect_same, identity, serving},
};

/// The name of the verb.
pub(super) const VERB: &str = "observe";

/// The fact about the store's revision.
pub(super) const REVISION: &str = "revision";
/// What the fact about the number of keys begins with; a revision follows.
pub(super) const KEYS: &str = "keys at revision ";
/// What the fact about the hash begins with; a revision follows, then [`COMPACTED`] and another one.
pub(super) const HASH: &str = "hash up to revision ";
/// Between the two revisions of a hash.
pub(super) const COMPACTED: &str = ", compacted at ";

/// What is observed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Facts {
    /// The revision alone.
    Revision,
    /// The number of keys too.
    Keys,
    /// And the hash of everything, for which the member reads its whole database.
    #[default]
    Hash,
}

/// What `observe` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// What is observed: revision, keys (the number of keys too) or hash (the hash of all keys and values too).
    #[serde(default)]
    facts: Facts,
}

/// Observes the member before the snapshot.
pub(super) async fn acquire(context: &HookContext, arguments: Arguments) -> Result<Acquired> {
    let since = Instant::now();
    let member = Member::open(context).await?;
    serving(&member).await?;
    // The cluster agrees on this answer, so the member has everything that was acknowledged before it was asked.
    let (header, keys) = member.count(None).await?;
    let keys = (arguments.facts != Facts::Revision).then_some(keys);
    let hash = match arguments.facts {
        Facts::Hash => member.hash(header.revision).await?,
        Facts::Revision | Facts::Keys => None,
    };
    let outputs = Outputs::from([
        ("revision".into(), json!(header.revision)),
        ("cluster".into(), json!(format!("{:x}", header.cluster))),
        ("member".into(), json!(format!("{:x}", header.member))),
    ]);
    let observed = Observed { context: context.clone(), header, keys, hash, receipt: None };
    Ok(Acquired { hold: Box::new(observed), outputs, since })
}

struct Observed {
    context: HookContext,
    header: Header,
    keys: Option<i64>,
    hash: Option<Hash>,
    receipt: Option<Receipt>,
}

impl Observed {
    /// The same member again, and its revision now.
    async fn again(&self) -> Result<Header> {
        // A connection of its own: a login that nobody used is forgotten after some minutes.
        let member = Member::open(&self.context).await?;
        serving(&member).await?;
        let (now, _) = member.count(None).await?;
        expect_same(&member, &self.header, &now)?;
        if now.revision < self.header.revision {
            return Err(Error::damaged(format!(
                "the revision of etcd at {} went back from {} to {}",
                member.place(),
                self.header.revision,
                now.revision
            ))
            .remedy("Find out who restored the cluster meanwhile; then run the backup again."));
        }
        Ok(now)
    }

    fn facts(&self, last: i64) -> Vec<Fact> {
        let first = self.header.revision;
        let mut facts =
            vec![Fact { name: REVISION.into(), value: json!(first), bound: Bound::Bounded(json!(last)) }];
        // Exact although writes went on: a restored member is asked as of the same revision.
        facts.extend(self.keys.map(|keys| Fact {
            name: format!("{KEYS}{first}"),
            value: json!(keys),
            bound: Bound::Exact,
        }));
        facts.extend(self.hash.map(|hash| Fact {
            name: format!("{HASH}{first}{COMPACTED}{}", hash.compacted),
            value: json!(hash.hash),
            bound: Bound::Exact,
        }));
        facts
    }
}

#[async_trait]
impl Hold for Observed {
    async fn renew(&mut self) -> Result<()> {
        Ok(())
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        let now = self.again().await?;
        Ok(Evidence::of("identity", identity(&now))
            .and("revisionBefore", self.header.revision)
            .and("revisionAfter", now.revision))
    }

    async fn release(&mut self) -> Result<Receipt> {
        if let Some(receipt) = &self.receipt {
            return Ok(receipt.clone());
        }
        let now = self.again().await?;
        let receipt = Receipt {
            evidence: Evidence::of("revisionAfter", now.revision),
            outputs: Outputs::from([("lastRevision".into(), json!(now.revision))]),
            facts: self.facts(now.revision),
            released: Instant::now(),
            froze: None,
        };
        Ok(self.receipt.insert(receipt).clone())
    }
}
