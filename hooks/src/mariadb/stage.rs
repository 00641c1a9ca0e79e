//! The verb `backup-stage`: what it is told, and how the hold is acquired.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Acquired, HookContext},
    point::Outputs,
    units::parse_duration,
};

use super::{dialect::MARIADB, hold::BackupStage, position::Position};
use crate::{
    mysql_protocol::{
        acquire::{Ladder, mark, usual_attempts, usual_wait, write_back},
        connect::Session,
        engines::Others,
        grants,
        lease::Limits,
        observed::Counting,
        ready::no_galera,
        server::Server,
        settings::Target,
        variables,
    },
    server::{
        facts::{Mode, usual_tables, usual_time},
        hold::SessionHold,
    },
};

/// The verb's name.
pub(super) const VERB: &str = "backup-stage";

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
    fn ladder(self, arguments: &Arguments) -> Ladder {
        let mut steps = vec!["BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL"];
        if self == Self::BlockCommit {
            steps.push("BACKUP STAGE BLOCK_COMMIT");
        }
        let Arguments { lock_wait, attempts, .. } = arguments;
        let (wait, attempts) = (lock_wait.clone(), *attempts);
        Ladder { steps, down: "BACKUP STAGE END", wait, attempts, careful: None }
    }
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
    let target = Target::of(&MARIADB, context).await?;
    let Arguments { facts: mode, tables, .. } = arguments;
    let counting = Counting { mode, tables, within: parse_duration(&arguments.facts_timeout)? };
    let session = Session::to(&target).await?;
    let seen = Server::of(&session).await?;
    no_galera(&session, &seen)?;
    grants::check(&session, MARIADB.backup_grants).await?;
    let others = Others::of(&session).await?;
    let stage = choose(arguments.stage, mode, &others)?;
    let settings = variables::read(&session).await?;
    let before = counting.before(context, session).await?;

    let session = Session::to(&target).await?;
    let server = Server::of(&session).await?;
    seen.expect_same(&server, session.place())?;
    let limits = Limits::of(context.lease);
    mark(&session, context, VERB).await?;
    if stage == Stage::BlockCommit {
        session.awake(Duration::from_secs(limits.idle) / 2, write_back(server.data.clone())).await?;
    }
    let since = stage.ladder(&arguments).climb(context, &target, &session, limits).await?;
    session.arm(limits.answer(), &limits, limits.statement).await?;
    let begin = Position::of(&session, limits.answer()).await?;
    let observed = before.held(&limits).await?;
    let outputs = Outputs::from([
        ("stage".into(), json!(stage.name())),
        ("engines".into(), json!(others.describe())),
        ("position".into(), begin.shown()),
        ("settings".into(), settings),
    ]);
    let live = BackupStage { session, limits, server, target, stage, begin, end: None, counting, observed };
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

#[cfg(test)]
mod tests {
    use standstill_core::ErrorKind;

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
