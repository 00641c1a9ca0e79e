//! The verb `exported-snapshot`: one read-only transaction for each database, whose snapshot dumps share.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Hold, HookContext, Receipt},
    point::{Evidence, Fact, Outputs},
    units::parse_duration,
};
use tokio::task::JoinSet;

use super::{
    connect::{LOOKUP, Purpose, Session, column},
    facts::{self, Counts, Sequences},
    grants,
    lease::Limits,
    server::Server,
    settings::Target,
};
use crate::server::{
    errors::{lapse, lapsed},
    facts::{usual_tables, usual_time},
};

/// The verb's name.
pub(super) const VERB: &str = "exported-snapshot";
const WHAT: &str = "the exported snapshot";

/// Whether rows are counted inside the snapshots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Counting {
    /// Nothing is counted.
    None,
    /// Every fact is as of its database's snapshot.
    #[default]
    Exact,
}

/// What `exported-snapshot` is told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The databases; all that accept connections and are no templates if none is named.
    #[serde(default)]
    databases: Vec<String>,
    /// Whether rows are counted inside the snapshots.
    #[serde(default)]
    facts: Counting,
    /// How many tables of each database are counted, the largest first.
    #[serde(default = "usual_tables")]
    tables: u32,
    /// How long the counting may take in all.
    #[serde(default = "usual_time")]
    facts_timeout: String,
}

/// A database and the transaction that keeps its snapshot.
struct Snapshot {
    database: String,
    id: String,
    session: Session,
    target: Target,
    /// What the transaction itself says about its identity; another transaction says something else.
    transaction: (i32, String, String),
    /// The sequences when the snapshot was taken.
    sequences: Sequences,
}

/// Acquires the hold. The transactions begin one after the other: the snapshots are not one moment.
pub(super) async fn acquire(context: &HookContext, arguments: Arguments) -> Result<Acquired> {
    let connection = context.connection()?.name.clone();
    let purpose = Purpose::Hold { verb: VERB, connection: &connection };
    let target = Target::of(context, &purpose).await?;
    let limits = Limits::of(context.lease);
    let within = parse_duration(&arguments.facts_timeout)?;
    let first = Session::open(context, Purpose::Call).await?;
    let server = Server::of(&first).await?;
    let databases = databases(&first, arguments.databases).await?;
    first.close().await;
    let since = Instant::now();
    let mut snapshots: Vec<Arc<Snapshot>> = Vec::new();
    for database in databases {
        if context.cancel.is_cancelled() {
            return Err(Error::cancelled("cancelled on exporting snapshots"));
        }
        let snapshot = open(&target.database(&database), &server, &limits, database, arguments.facts).await?;
        snapshots.push(Arc::new(snapshot));
        // The first ones must not fall idle while many more are opened.
        each(&snapshots, |snapshot| async move { prove(&snapshot, limits.answer()).await }).await?;
    }
    let list: Vec<_> = snapshots
        .iter()
        .map(|snapshot| json!({"name": snapshot.database, "snapshot": snapshot.id}))
        .collect();
    let outputs = Outputs::from([("databases".into(), json!(list))]);
    let hold = Exported {
        snapshots,
        limits,
        within,
        facts: arguments.facts,
        tables: arguments.tables,
        state: State::On,
        server,
    };
    Ok(Acquired { hold: Box::new(hold), outputs, since })
}

async fn databases(session: &Session, wanted: Vec<String>) -> Result<Vec<String>> {
    let sql =
        "SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname";
    let rows = session.rows(LOOKUP, "list the databases", sql, &[]).await?;
    let all: Vec<String> = rows.iter().map(|row| column(row, 0)).collect::<Result<_>>()?;
    if wanted.is_empty() {
        return Ok(all);
    }
    match wanted.iter().find(|name| !all.contains(name)) {
        None => Ok(wanted),
        Some(name) => Err(Error::input(format!("there is no database {name} at {}", session.place()))
            .remedy(format!("Name some of {}, or none for all of them.", all.join(", ")))),
    }
}

async fn open(
    target: &Target,
    server: &Server,
    limits: &Limits,
    database: String,
    counting: Counting,
) -> Result<Snapshot> {
    let session = Session::to(target).await?;
    server.expect_same(&Server::of(&session).await?, session.place())?;
    grants::may_read_everything(&session).await?;
    limits.arm(&session).await?;
    limits.limit_statements(&session, limits.statement).await?;
    session.simple(LOOKUP, "begin", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let sql = "SELECT pg_export_snapshot()";
    let id = column(&session.one(limits.answer(), "export a snapshot", sql, &[]).await?, 0)?;
    let transaction = identity(&session, limits.answer()).await?;
    let sequences = match counting {
        Counting::Exact => facts::sequences(&session).await?,
        Counting::None => Sequences::new(),
    };
    Ok(Snapshot { database, id, session, target: target.clone(), transaction, sequences })
}

async fn identity(session: &Session, within: Duration) -> Result<(i32, String, String)> {
    let sql = "SELECT pg_backend_pid(), transaction_timestamp()::text, pg_current_snapshot()::text";
    let row = session.one(within, "look at the snapshot's transaction", sql, &[]).await?;
    Ok((column(&row, 0)?, column(&row, 1)?, column(&row, 2)?))
}

async fn prove(snapshot: &Snapshot, within: Duration) -> Result<()> {
    if identity(&snapshot.session, within).await? == snapshot.transaction {
        return Ok(());
    }
    Err(Error::lapsed(format!(
        "the transaction that kept the snapshot of database {} is gone",
        snapshot.database
    )))
}

/// Does something to all snapshots at once: a lease must not be shared among a hundred round trips.
async fn each<F, W>(snapshots: &[Arc<Snapshot>], work: F) -> Result<()>
where
    F: Fn(Arc<Snapshot>) -> W,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for snapshot in snapshots {
        tasks.spawn(work(snapshot.clone()));
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|cause| Error::failed("a snapshot's task broke off").because(cause))??;
    }
    Ok(())
}

enum State {
    On,
    Done(Box<Receipt>),
    Lapsed(String),
}

/// The hold.
struct Exported {
    snapshots: Vec<Arc<Snapshot>>,
    limits: Limits,
    within: Duration,
    facts: Counting,
    tables: u32,
    state: State,
    server: Server,
}

impl Exported {
    async fn prove(&mut self) -> Result<()> {
        match &self.state {
            State::Done(_) => return Ok(()),
            State::Lapsed(chain) => return Err(lapsed(chain.as_str())),
            State::On => {}
        }
        let within = self.limits.answer();
        let proven =
            each(&self.snapshots, move |snapshot| async move { prove(&snapshot, within).await }).await;
        proven.map_err(|error| {
            let error = lapse(error, WHAT);
            self.snapshots.clear();
            self.state = State::Lapsed(error.chain());
            error
        })
    }

    fn evidence(&self) -> Evidence {
        let list: Vec<_> = self
            .snapshots
            .iter()
            .map(|snapshot| {
                let (backend, began, seen) = &snapshot.transaction;
                json!({"database": snapshot.database, "snapshot": snapshot.id, "backend": backend, "began": began, "seen": seen})
            })
            .collect();
        Evidence::of("databases", list)
            .and("oneMoment", self.snapshots.len() == 1)
            .and("systemIdentifier", self.server.system.as_str())
            .and("role", self.server.role_name())
    }
}

#[async_trait]
impl Hold for Exported {
    async fn renew(&mut self) -> Result<()> {
        self.prove().await
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        if matches!(self.state, State::Done(_)) {
            return Err(lapsed("the exported snapshot was already let go"));
        }
        self.prove().await?;
        Ok(self.evidence())
    }

    async fn release(&mut self) -> Result<Receipt> {
        if let State::Done(receipt) = &self.state {
            return Ok((**receipt).clone());
        }
        self.prove().await?;
        let evidence = self.evidence();
        // A snapshot lives on in the transactions that imported it: the hold goes first, then its rows are counted.
        let readers = match self.facts {
            Counting::Exact => readers(&self.snapshots).await,
            Counting::None => Vec::new(),
        };
        let snapshots = std::mem::take(&mut self.snapshots);
        self.state = State::Lapsed("the release of the exported snapshot was interrupted".into());
        let within = self.limits.answer();
        let ending = each(&snapshots, move |snapshot| async move {
            snapshot.session.simple(within, "end the snapshot's transaction", "COMMIT").await.map(drop)
        });
        ending.await.map_err(|error| lapse(error, WHAT))?;
        drop(snapshots);
        let released = Instant::now();
        let facts = count(readers, self.tables, self.within, self.limits.idle / 3).await;
        let receipt = Receipt { evidence, outputs: Outputs::new(), facts, released, froze: None };
        self.state = State::Done(Box::new(receipt.clone()));
        Ok(receipt)
    }
}

impl Drop for Exported {
    fn drop(&mut self) {
        if matches!(self.state, State::On) {
            tracing::error!("an exported snapshot was dropped without a release; it ends with its sessions");
        }
    }
}

/// Sessions that imported the snapshots. One that cannot be had costs facts, not the backup.
async fn readers(snapshots: &[Arc<Snapshot>]) -> Vec<(Session, Sequences)> {
    let mut readers = Vec::new();
    for snapshot in snapshots {
        let import = async {
            let session = Session::to(&snapshot.target).await?;
            let sql = format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'",
                snapshot.id
            );
            session.simple(LOOKUP, "import the snapshot", &sql).await?;
            Ok::<_, Error>(session)
        };
        match import.await {
            Ok(session) => readers.push((session, snapshot.sequences.clone())),
            Err(error) => {
                tracing::warn!(error = error.chain(), database = snapshot.database, "rows are not counted");
            }
        }
    }
    readers
}

/// Counts one database after the other; those that wait for their turn are kept `awake`.
async fn count(
    readers: Vec<(Session, Sequences)>,
    tables: u32,
    within: Duration,
    awake: Duration,
) -> Vec<Fact> {
    let deadline = Instant::now() + within;
    let mut facts = Vec::new();
    let mut waiting = VecDeque::from(readers);
    while let Some((session, sequences)) = waiting.pop_front() {
        let counting = async {
            let list = facts::list(&session, tables).await?;
            Counts::listed(&session, &list, deadline.saturating_duration_since(Instant::now()), true).await
        };
        let counted = tokio::select! {
            counted = counting => counted,
            never = keep_awake(&waiting, awake) => match never {},
        };
        match counted {
            Ok(counts) => facts.extend(counts.exact(&sequences)),
            Err(error) => tracing::warn!(error = error.chain(), "rows are not counted"),
        }
        session.close().await;
    }
    facts
}

/// Keeps sessions from being ended by the server. One that is lost anyway says so when it is its turn.
async fn keep_awake(waiting: &VecDeque<(Session, Sequences)>, every: Duration) -> Infallible {
    loop {
        tokio::time::sleep(every).await;
        for (session, _) in waiting {
            let _lost = session.one(every, "keep the snapshot", "SELECT 1", &[]).await;
        }
    }
}
