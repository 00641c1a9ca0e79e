//! The verb `observe`: nothing is held, but rows are counted before a dump and after it.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Hold, HookContext, Receipt},
    point::{Evidence, Outputs},
    units::parse_duration,
};

use super::{
    connect::{LOOKUP, Session, column},
    dialect::Dialect,
    engines::SYSTEM,
    facts::{self, Counts},
    server::Server,
    settings::Target,
    variables,
    watch::Watch,
};
use crate::server::facts::{usual_tables, usual_time};

/// The verb's name.
pub(crate) const VERB: &str = "observe";

/// How rows are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Mode {
    /// Not at all.
    None,
    /// Before and after.
    #[default]
    Bounded,
}

/// What `observe` is told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Arguments {
    /// How rows are counted: not at all, or before and after.
    #[serde(default)]
    facts: Mode,
    /// How many tables are counted, the largest first.
    #[serde(default = "usual_tables")]
    tables: u32,
    /// How long each counting may take; tables that are not reached are left out and said so.
    #[serde(default = "usual_time")]
    facts_timeout: String,
    /// How long a statement may wait for a lock that the server's own backup program takes meanwhile (`3s`); then the
    /// run is ended, and the program with it. By default nobody looks.
    #[serde(default)]
    longest_wait: Option<String>,
}

/// Counts for the first time.
pub(crate) async fn acquire(
    dialect: &'static Dialect,
    context: &HookContext,
    arguments: Arguments,
) -> Result<Acquired> {
    let target = Target::of(dialect, context).await?;
    let within = parse_duration(&arguments.facts_timeout)?;
    let session = Session::to(&target).await?;
    let server = Server::of(&session).await?;
    let before = match arguments.facts {
        Mode::None => None,
        Mode::Bounded => {
            let counting = Counts::of(&session, arguments.tables, within);
            Some(session.cancellable(context, "count rows", counting).await?)
        }
    };
    let outputs = Outputs::from([
        ("databases".into(), json!(databases(&session).await?)),
        ("settings".into(), variables::read(&session).await?),
    ]);
    session.close().await;
    let watch = match arguments.longest_wait.filter(|limit| !limit.is_empty()) {
        Some(limit) => Some(Watch::begin(&target, parse_duration(&limit)?).await?),
        None => None,
    };
    let hold = Observing { target, server, before, tables: arguments.tables, within, watch, receipt: None };
    Ok(Acquired { hold: Box::new(hold), outputs, since: Instant::now() })
}

async fn databases(session: &Session) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN {SYSTEM} ORDER BY 1"
    );
    let rows = session.rows(LOOKUP, "list the databases", &sql, Vec::new()).await?;
    rows.iter().map(|row| column(row, 0)).collect()
}

/// What was counted, until it is counted again.
struct Observing {
    target: Target,
    server: Server,
    before: Option<Counts>,
    tables: u32,
    within: Duration,
    watch: Option<Watch>,
    receipt: Option<Receipt>,
}

#[async_trait]
impl Hold for Observing {
    async fn renew(&mut self) -> Result<()> {
        self.watch.as_ref().map_or(Ok(()), Watch::check)
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        if let Some(watch) = self.watch.take() {
            watch.check()?;
        }
        let session = Session::to(&self.target).await?;
        let server = Server::of(&session).await?;
        self.server.expect_same(&server, session.place())?;
        session.close().await;
        Ok(Evidence::of("server", server.version.full))
    }

    async fn release(&mut self) -> Result<Receipt> {
        if let Some(receipt) = &self.receipt {
            return Ok(receipt.clone());
        }
        let released = Instant::now();
        let counting = async {
            let Some(before) = self.before.clone() else { return Ok(Vec::new()) };
            let session = Session::to(&self.target).await?;
            let after = Counts::of(&session, self.tables, self.within).await?;
            session.close().await;
            Ok::<_, Error>(facts::between(before, after))
        };
        let facts = counting.await.unwrap_or_else(|error| {
            tracing::warn!(error = error.chain(), "rows could not be counted");
            vec![facts::uncounted(&error)]
        });
        let evidence = Evidence::of("counted", self.before.is_some());
        let receipt = Receipt { evidence, outputs: Outputs::new(), facts, released, froze: None };
        self.receipt = Some(receipt.clone());
        Ok(receipt)
    }
}
