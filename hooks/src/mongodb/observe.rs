//! The verb `observe`: as of when a dump is, and what was counted around it. Nothing is held: members of a replica set keep
//! their history for some minutes, so what was there at a cluster time can still be read when others have followed.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bson::{Timestamp, doc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use standstill_core::{
    Error, Result,
    hook::{Acquired, Called, Hold, HookContext, Receipt},
    point::{Bound, Evidence, Fact, Outputs},
};

use super::{
    collections::{collections, databases},
    errors,
    server::{Server, version},
    session::Session,
    settings::Target,
};
use crate::server::{
    compare::{self, Arguments as Compare},
    facts::Mode,
};

/// The name of the verb.
pub(super) const VERB: &str = "observe";
/// What the fact about a collection's documents begins with.
const DOCUMENTS: &str = "documents ";
/// How long one count may take.
const LONG: Duration = Duration::from_hours(1);

/// What `observe` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// How documents are counted: none, bounded (before and after the dump) or exact (as of its cluster time, which takes
    /// from the time that the server keeps its history).
    #[serde(default)]
    facts: Mode,
}

/// A collection and how many documents it has.
type Counted = Vec<(String, String, i64)>;

/// Observes the server before the dump.
pub(super) async fn acquire(context: &HookContext, arguments: Arguments) -> Result<Acquired> {
    let since = Instant::now();
    let target = Target::of(context).await?;
    let session = Session::to(&target).await?;
    let version = version(&session).await?.full;
    let before = if arguments.facts == Mode::Bounded { count(&session, None).await? } else { Vec::new() };
    // The latest time that the server has told: everything that it has acknowledged is of then or earlier.
    let server = Server::of(&session).await?;
    let at = server.time.ok_or_else(|| {
        Error::input(format!("MongoDB at {} has no cluster time: it stands alone", session.place()))
            .remedy("Make it a replica set of one member (rs.initiate()), or use the blueprint mongodb.")
    })?;
    let exact = arguments.facts == Mode::Exact;
    let at_the_cut = if exact { count(&session, Some(at.into())).await? } else { Vec::new() };
    let outputs =
        Outputs::from([("clusterTime".into(), json!(at.to_string())), ("version".into(), json!(version))]);
    let evidence = server.evidence().and("clusterTime", at.to_string());
    let observed = Observed { target, server, evidence, before, at_the_cut, receipt: None };
    Ok(Acquired { hold: Box::new(observed), outputs, since })
}

/// Counts the documents of every collection; views have none of their own.
async fn count(session: &Session, at: Option<Timestamp>) -> Result<Counted> {
    let mut counted = Vec::new();
    for database in databases(session).await? {
        for entry in collections(session, &database).await? {
            let capped = entry.get_document("options").and_then(|options| options.get_bool("capped"));
            // The server refuses snapshots of capped collections.
            if entry.get_str("type").is_ok_and(|kind| kind != "collection") || capped.unwrap_or(false) {
                continue;
            }
            let name = entry.get_str("name").unwrap_or_default();
            let count = count_one(session, &database, name, at).await?;
            counted.push((database.clone(), name.to_owned(), count));
        }
    }
    Ok(counted)
}

async fn count_one(session: &Session, database: &str, name: &str, at: Option<Timestamp>) -> Result<i64> {
    let attempt = format!("count {database}.{name}");
    let mut command = doc! {"aggregate": name, "pipeline": [{"$count": "n"}], "cursor": {}};
    if let Some(at) = at {
        command.insert("readConcern", doc! {"level": "snapshot", "atClusterTime": at});
    }
    let said = session.ask(database, LONG, &attempt, command).await?;
    let batch = said.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let batch = batch.map_err(|cause| errors::strange(&attempt, session.place()).because(cause))?;
    // An empty collection has no line at all.
    let Some(Ok(first)) = batch.into_iter().next() else { return Ok(0) };
    let first = first.as_document().ok_or_else(|| errors::strange(&attempt, session.place()))?;
    let count = first.get_i64("n").or_else(|_| first.get_i32("n").map(i64::from));
    count.map_err(|cause| errors::strange(&attempt, session.place()).because(cause))
}

struct Observed {
    target: Target,
    server: Server,
    evidence: Evidence,
    before: Counted,
    at_the_cut: Counted,
    receipt: Option<Receipt>,
}

impl Observed {
    /// The same server again.
    async fn again(&self) -> Result<Session> {
        let session = Session::to(&self.target).await?;
        self.server.expect_same(&Server::of(&session).await?, session.place())?;
        Ok(session)
    }

    async fn facts(&self, session: &Session) -> Result<Vec<Fact>> {
        let name = |(database, name, _): &(String, String, i64)| format!("{DOCUMENTS}{database}.{name}");
        let mut facts: Vec<Fact> = self
            .at_the_cut
            .iter()
            .map(|counted| Fact { name: name(counted), value: json!(counted.2), bound: Bound::Exact })
            .collect();
        for counted in &self.before {
            let after = count_one(session, &counted.0, &counted.1, None).await?;
            let (least, most) = (counted.2.min(after), counted.2.max(after));
            let bound = Bound::Bounded(json!(most));
            facts.push(Fact { name: name(counted), value: json!(least), bound });
        }
        Ok(facts)
    }
}

#[async_trait]
impl Hold for Observed {
    async fn renew(&mut self) -> Result<()> {
        Ok(())
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        self.again().await?;
        Ok(self.evidence.clone())
    }

    async fn release(&mut self) -> Result<Receipt> {
        if let Some(receipt) = &self.receipt {
            return Ok(receipt.clone());
        }
        let session = self.again().await?;
        let receipt = Receipt {
            evidence: self.evidence.clone(),
            outputs: Outputs::new(),
            facts: self.facts(&session).await?,
            released: Instant::now(),
            froze: None,
        };
        Ok(self.receipt.insert(receipt).clone())
    }
}

/// The verb `compare-facts`: counts again in a restored server.
pub(super) async fn compare(context: &HookContext, arguments: &Compare) -> Result<Called> {
    let session = Session::open(context).await?;
    let mut checks = Vec::new();
    for fact in &arguments.facts {
        if context.cancel.is_cancelled() {
            return Err(Error::cancelled("cancelled on comparing facts"));
        }
        checks.push(compare::check(fact, ask(&session, &fact.name)).await);
    }
    Ok(Called { checks, ..Called::default() })
}

async fn ask(session: &Session, fact: &str) -> Result<Option<Value>> {
    let Some((database, name)) = fact.strip_prefix(DOCUMENTS).and_then(|name| name.split_once('.')) else {
        return Ok(None);
    };
    count_one(session, database, name, None).await.map(|count| Some(json!(count)))
}
