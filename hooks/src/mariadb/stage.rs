//! The verb `backup-stage`: what it is told, and how the hold is acquired.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, ErrorKind, Result,
    hook::{Acquired, HookContext},
    point::Outputs,
    units::{parse_duration, show_duration},
};

use super::{
    busy,
    connect::{Failure, LOOKUP, Session, column},
    engines::Others,
    errors,
    facts::{self, Counts},
    grants,
    hold::{BackupStage, Observed},
    lease::Limits,
    position::Position,
    ready::no_galera,
    server::Server,
    settings::Target,
    undo, variables,
};
use crate::server::{
    facts::{Mode, usual_tables, usual_time},
    hold::SessionHold,
};

/// The verb's name.
pub(super) const VERB: &str = "backup-stage";

/// How long writing back may take before it is not waited for any more.
const WRITE_BACK: Duration = Duration::from_secs(30);

/// The server's number for a lock that was not free in time.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// How far the stages go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Asked {
    /// As far as the engines of the tables and the facts need it.
    #[default]
    Auto,
    /// Definitions stand still; transactions go on.
    BlockDdl,
    /// Nothing is committed either.
    BlockCommit,
}

/// How far the stages went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// `BLOCK_DDL`.
    BlockDdl,
    /// `BLOCK_COMMIT`.
    BlockCommit,
}

impl Stage {
    /// Its name, as the server says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BlockDdl => "BLOCK_DDL",
            Self::BlockCommit => "BLOCK_COMMIT",
        }
    }

    /// The statements that lead there.
    const fn ladder(self) -> &'static [&'static str] {
        match self {
            Self::BlockDdl => &["START", "FLUSH", "BLOCK_DDL"],
            Self::BlockCommit => &["START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"],
        }
    }
}

fn usual_wait() -> String {
    "3s".into()
}

fn usual_attempts() -> u32 {
    3
}

/// What `backup-stage` is told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// How far the stages go: auto, block-ddl or block-commit. `auto` goes on to block-commit where a table is not
    /// InnoDB's, or facts are to be exact.
    #[serde(default)]
    pub stage: Asked,
    /// How facts are counted: not at all, between two counts, or exactly, which needs block-commit.
    #[serde(default)]
    pub facts: Mode,
    /// How many tables are counted, the largest first.
    #[serde(default = "usual_tables")]
    pub tables: u32,
    /// How long each counting may take; tables that are not reached are left out and said so.
    #[serde(default = "usual_time")]
    pub facts_timeout: String,
    /// How long a stage may wait for its lock, in whole seconds: for so long writers may have to wait behind it.
    #[serde(default = "usual_wait")]
    pub lock_wait: String,
    /// How often it is tried.
    #[serde(default = "usual_attempts")]
    pub attempts: u32,
}

/// Acquires the hold: the stages, on one session of their own.
pub(super) async fn acquire(context: &HookContext, arguments: Arguments) -> Result<Acquired> {
    let target = Target::of(context).await?;
    let within = parse_duration(&arguments.facts_timeout)?;
    let session = Session::to(&target).await?;
    let seen = Server::of(&session).await?;
    no_galera(&session, &seen)?;
    grants::check(&session, grants::BACKUP).await?;
    let others = Others::of(&session).await?;
    let stage = choose(arguments.stage, arguments.facts, &others)?;
    let settings = variables::read(&session).await?;
    let mut observed = Observed::default();
    if arguments.facts == Mode::Bounded {
        let counting = Counts::of(&session, arguments.tables, within);
        observed.before = Some(session.cancellable(context, "count rows", counting).await?);
    }
    // Opened and listed before writes wait.
    let exact = arguments.facts == Mode::Exact;
    let list = if exact { facts::list(&session, arguments.tables).await? } else { Vec::new() };
    let reader = if exact {
        Some(session)
    } else {
        session.close().await;
        None
    };

    let session = Session::to(&target).await?;
    let server = Server::of(&session).await?;
    seen.expect_same(&server, session.place())?;
    let limits = Limits::of(context.lease);
    mark(&session, context).await?;
    if stage == Stage::BlockCommit {
        session.awake(Duration::from_secs(limits.idle) / 2, write_back(server.data.clone())).await?;
    }
    let since = climb(context, &target, &session, stage, &arguments, limits).await?;
    session.run(limits.answer(), "limit the session", &limits.arm(limits.statement)).await?;
    let begin = Position::of(&session, limits.answer()).await?;
    if let Some(reader) = reader {
        observed.exact = Some(facts::Snapshot::open(reader, list, &limits).await?);
    }
    let outputs = Outputs::from([
        ("stage".into(), json!(stage.name())),
        ("engines".into(), json!(others.describe())),
        ("position".into(), begin.shown()),
        ("settings".into(), settings),
    ]);
    let live =
        BackupStage { session, limits, server, target, stage, begin, end: None, arguments, within, observed };
    let hold = SessionHold::on(live, Some(stage == Stage::BlockCommit));
    Ok(Acquired { hold: Box::new(hold), outputs, since })
}

fn choose(asked: Asked, facts: Mode, others: &Others) -> Result<Stage> {
    match asked {
        Asked::BlockCommit => Ok(Stage::BlockCommit),
        Asked::Auto if facts == Mode::Exact || !others.are_none() => Ok(Stage::BlockCommit),
        Asked::BlockDdl if facts == Mode::Exact => {
            Err(Error::input("exact facts need the stage block-commit: below it, commits go on")
                .remedy("Ask for `stage: auto` or `stage: block-commit`, or for bounded facts."))
        }
        Asked::BlockDdl if !others.are_none() => Err(Error::input(format!(
            "the stage block-ddl is for InnoDB alone, and there are other tables: {}",
            others.describe()
        ))
        .remedy("Ask for `stage: auto` or `stage: block-commit`.")),
        Asked::Auto | Asked::BlockDdl => Ok(Stage::BlockDdl),
    }
}

/// Makes the session known to `undo` before it holds anything.
async fn mark(session: &Session, context: &HookContext) -> Result<()> {
    let mark = undo::mark(VERB, &context.connection()?.name, &context.run);
    let rows = session.rows(LOOKUP, "mark the session", "SELECT GET_LOCK(?, 0)", vec![mark.into()]).await?;
    let taken = rows.first().map(|row| column::<Option<u8>>(row, 0)).transpose()?.flatten();
    if taken == Some(1) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Locked, format!("this run has a session at {} already", session.place())))
}

/// Has the file system of the data directory write back what is dirty, where it can be seen from here: a snapshot
/// does so too, and commits would wait for it. Best effort: it is only for speed.
async fn write_back(data: String) {
    let writing = tokio::task::spawn_blocking(move || {
        std::fs::File::open(&data).map(|directory| rustix::fs::syncfs(&directory))
    });
    let written = tokio::time::timeout(WRITE_BACK, writing).await;
    tracing::debug!(?written, "what was dirty was written back");
}

/// Goes up the stages, again and again where something is in the way; says since when writes may have waited.
async fn climb(
    context: &HookContext,
    target: &Target,
    session: &Session,
    stage: Stage,
    arguments: &Arguments,
    limits: Limits,
) -> Result<Instant> {
    let wait = parse_duration(&arguments.lock_wait)?.as_secs().max(1);
    let sql = format!("SET SESSION lock_wait_timeout = {wait}");
    session.run(LOOKUP, "limit the wait for locks", &sql).await?;
    let patience = Duration::from_secs(wait) + limits.statement;
    let mut attempt = 1;
    loop {
        let since = Instant::now();
        let refused =
            session.cancellable(context, "go up the backup stages", try_once(session, stage, patience));
        let Some(refused) = refused.await? else { return Ok(since) };
        if attempt >= arguments.attempts.max(1) {
            return Err(in_the_way(target, &refused, wait).await);
        }
        tracing::warn!(stage = refused, "the stage's lock was not free within {wait} s, trying again");
        attempt += 1;
        // Whoever waited behind us goes first.
        let pause = Duration::from_secs(wait.min(limits.idle / 2).max(1));
        let sleep = async {
            tokio::time::sleep(pause).await;
            Ok(())
        };
        session.cancellable(context, "wait for a lock", sleep).await?;
    }
}

/// Goes up once. `Some`: the stage whose lock was not free; then nothing is held any more.
async fn try_once(session: &Session, stage: Stage, patience: Duration) -> Result<Option<String>> {
    for step in stage.ladder() {
        let sql = format!("BACKUP STAGE {step}");
        match session.raw(patience, "go up the backup stages", &sql, Vec::new()).await {
            Ok(_) => {}
            Err(Failure::Theirs(mysql_async::Error::Server(error))) if error.code == LOCK_WAIT_TIMEOUT => {
                if *step != "START" {
                    session.run(patience, "go down from the backup stages", "BACKUP STAGE END").await?;
                }
                return Ok(Some((*step).to_owned()));
            }
            Err(Failure::Theirs(error)) => {
                return Err(errors::statement(error, "go up the backup stages", session.place()));
            }
            Err(Failure::Ours(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// Names what was in the way.
async fn in_the_way(target: &Target, stage: &str, wait: u64) -> Error {
    let waited = show_duration(Duration::from_secs(wait));
    let found = async {
        let session = Session::to(target).await?;
        busy::oldest(&session, Duration::from_millis(500)).await
    };
    let found = found.await.ok().flatten();
    let place = target.place();
    let message = format!("BACKUP STAGE {stage} at {place} did not get its lock within {waited}");
    match found {
        Some(statement) => Error::temporary(format!("{message}: {statement}"))
            .remedy(format!("Let the statement end, or end it: KILL QUERY {};", statement.id)),
        None => Error::temporary(message)
            .remedy("Look at SHOW PROCESSLIST for another backup, or a long statement on a table that is not InnoDB's."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_goes_as_far_as_it_must_and_no_further() {
        let none = Others::default();
        assert_eq!(choose(Asked::Auto, Mode::Bounded, &none).unwrap(), Stage::BlockDdl);
        assert_eq!(choose(Asked::Auto, Mode::Exact, &none).unwrap(), Stage::BlockCommit);
        assert_eq!(choose(Asked::BlockCommit, Mode::None, &none).unwrap(), Stage::BlockCommit);
        assert_eq!(choose(Asked::BlockDdl, Mode::Exact, &none).unwrap_err().kind(), ErrorKind::Input);
    }
}
