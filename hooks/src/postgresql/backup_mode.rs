//! The verb `backup-mode`: what it is told, and how the hold is acquired.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Acquired, HookContext},
    point::Outputs,
    units::parse_duration,
};
use tokio_postgres::types::Type;

use super::{
    canary,
    connect::{LOOKUP, Purpose, Session, column},
    facts::Counts,
    grants::{self, By, Needs, backup_functions},
    hold::{BackupMode, Observed},
    lease::Limits,
    server::Server,
    settings::Target,
    wal::Lsn,
};
use crate::server::{
    facts::{Mode, usual_tables, usual_time},
    hold::SessionHold,
};

/// The verb's name.
pub(super) const VERB: &str = "backup-mode";

/// What `backup-mode` is told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// How facts are counted: not at all, between two counts, or exactly, for the price of a short lock on the
    /// tables and of a named restore point.
    #[serde(default)]
    pub facts: Mode,
    /// How many tables of the connected database are counted, the largest first.
    #[serde(default = "usual_tables")]
    pub tables: u32,
    /// How long each counting may take; tables that are not reached are left out and said so.
    #[serde(default = "usual_time")]
    pub facts_timeout: String,
    /// Whether a row is written before the start, which every restored copy must have.
    #[serde(default)]
    pub canary: bool,
}

/// Acquires the hold: a temporary slot that keeps the WAL, then backup mode, both on one session of their own.
///
/// Nothing is held before `pg_backup_start` returns, which waits for a checkpoint; cancelling ends that wait.
pub(super) async fn acquire(context: &HookContext, arguments: Arguments) -> Result<Acquired> {
    let target = Target::of(context, &Purpose::Call).await?;
    let within = parse_duration(&arguments.facts_timeout)?;
    let session = Session::to(&target).await?;
    let seen = Server::of(&session).await?;
    writable_if_asked(&session, &seen, &arguments)?;
    let needs =
        Needs { by: By::BackupMode, restore_point: arguments.facts == Mode::Exact, ..Needs::default() };
    grants::check(&session, &seen, needs).await?;
    let observed = observe(context, &session, &arguments, within).await?;
    session.close().await;

    let connection = &context.connection()?.name;
    let session = Session::open(context, Purpose::Hold { verb: VERB, connection }).await?;
    let server = Server::of(&session).await?;
    seen.expect_same(&server, session.place())?;
    let limits = Limits::of(context.lease);
    limits.arm(&session).await?;
    let slot = format!("standstill_{}_{}", context.run, server.backend);
    let since = Instant::now();
    let start = session.cancellable(context, "start backup mode", start(&session, &server, &slot)).await?;
    limits.limit_statements(&session, limits.statement).await?;

    let outputs = Outputs::from([
        ("startLsn".into(), json!(start.to_string())),
        ("systemIdentifier".into(), json!(server.system)),
    ]);
    let live = BackupMode {
        session,
        limits,
        server,
        target,
        slot,
        start,
        scratch: context.scratch.clone(),
        arguments,
        within,
        observed,
        confirmed: false,
    };
    Ok(Acquired { hold: Box::new(SessionHold::on(live, None)), outputs, since })
}

fn writable_if_asked(session: &Session, server: &Server, arguments: &Arguments) -> Result<()> {
    let asked = match (arguments.facts, arguments.canary) {
        (Mode::Exact, _) => "exact facts need a restore point",
        (_, true) => "a canary needs a row written",
        _ => return Ok(()),
    };
    if server.standby {
        return Err(Error::input(format!("{asked}, and PostgreSQL at {} is a standby", session.place()))
            .remedy("Use `facts: bounded` and no canary on a standby, or back up the primary."));
    }
    Ok(())
}

/// What is counted and written before anything is held, over another connection than the hold's: an error there
/// would take the slot away.
async fn observe(
    context: &HookContext,
    session: &Session,
    arguments: &Arguments,
    within: Duration,
) -> Result<Observed> {
    let mut observed = Observed::default();
    if arguments.canary {
        observed.canary = Some(canary::write(session, context.run.as_str()).await?);
    }
    if arguments.facts == Mode::Bounded {
        let counting = Counts::of(session, arguments.tables, within);
        observed.before = Some(session.cancellable(context, "count rows", counting).await?);
    }
    Ok(observed)
}

async fn start(session: &Session, server: &Server, slot: &str) -> Result<Lsn> {
    let sql = "SELECT lsn::text FROM pg_create_physical_replication_slot($1::name, true, true)";
    session
        .one(LOOKUP, "create the slot that keeps the WAL", sql, &[(&slot, Type::TEXT)])
        .await
        .map_err(|error| slot_remedy(error, session))?;
    let (function, _) = backup_functions(server.version.major);
    let name = function.split('(').next().unwrap_or(function);
    let more = if server.version.major >= 15 { "" } else { ", false" };
    let sql = format!("SELECT {name}($1, true{more})::text");
    // A checkpoint of a large buffer pool takes minutes; the server gives up when we are gone.
    let row = session.one(CHECKPOINT, "start backup mode", &sql, &[(&slot, Type::TEXT)]).await?;
    column::<String>(&row, 0)?.parse()
}

/// How long the checkpoint that starts a backup may take.
const CHECKPOINT: Duration = Duration::from_hours(1);

fn slot_remedy(error: Error, session: &Session) -> Error {
    if error.chain().contains("max_replication_slots") {
        return Error::input(format!("all replication slots of PostgreSQL at {} are taken", session.place()))
            .remedy("Drop a slot that nobody uses (pg_replication_slots lists them), or raise `max_replication_slots` and restart the server.")
            .because(error);
    }
    error
}
