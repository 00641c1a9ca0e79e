//! The verb `backup-stage`: what it is told, and how the hold is acquired.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Result,
    hook::{Acquired, HookContext},
    point::Outputs,
    units::parse_duration,
};

use super::{dialect::MARIADB, hold::BackupStage, position::Position};
use crate::{
    mysql_protocol::{
        acquire::{Ladder, usual_attempts, usual_wait},
        observed::Counting,
        opening::{Opened, Seen, TooLittle, writers_wait},
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

impl Asked {
    /// Whether they go on to `BLOCK_COMMIT`; `None` where that is left open.
    const fn commit(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::BlockDdl => Some(false),
            Self::BlockCommit => Some(true),
        }
    }
}

/// What `block-ddl` is too little for.
const TOO_LITTLE: TooLittle = TooLittle {
    for_facts: "exact facts need the stage block-commit: below it, commits go on",
    for_engines: "the stage block-ddl is for InnoDB alone",
    remedy: "Ask for `stage: auto` or `stage: block-commit`",
};

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
    let Arguments { facts: mode, tables, .. } = arguments;
    let counting = Counting { mode, tables, within: parse_duration(&arguments.facts_timeout)? };
    let seen = Seen::at(&MARIADB, context).await?;
    let engines = seen.others.describe();
    let commit = writers_wait(arguments.stage.commit(), mode, &seen.others, &TOO_LITTLE)?;
    let stage = if commit { Stage::BlockCommit } else { Stage::BlockDdl };
    let opened = seen.open(context, VERB, counting, commit).await?;
    let Opened { target, session, server, limits, settings, before } = opened;
    let since = stage.ladder(&arguments).climb(context, &target, &session, limits).await?;
    session.arm(limits.answer(), &limits, limits.statement).await?;
    let begin = Position::of(&session, limits.answer()).await?;
    let observed = before.held(&limits).await?;
    let outputs = Outputs::from([
        ("stage".into(), json!(stage.name())),
        ("engines".into(), json!(engines)),
        ("position".into(), begin.shown()),
        ("settings".into(), settings),
    ]);
    let live = BackupStage { session, limits, server, target, stage, begin, end: None, counting, observed };
    let hold = SessionHold::on(live, Some(commit));
    Ok(Acquired { hold: Box::new(hold), outputs, since })
}
