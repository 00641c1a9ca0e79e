//! The verb `backup-lock`: what it is told, and how the hold is acquired.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Acquired, HookContext},
    point::Outputs,
    units::parse_duration,
};

use super::{dialect::MYSQL, hold::BackupLock, position::Position};
use crate::{
    mysql_protocol::{
        acquire::{Ladder, usual_attempts, usual_wait},
        connect::{LOOKUP, Session, column},
        grants,
        observed::Counting,
        opening::{Opened, Seen, TooLittle, writers_wait},
    },
    server::{
        facts::{Mode, usual_tables, usual_time},
        hold::SessionHold,
    },
};

/// The verb's name.
pub(super) const VERB: &str = "backup-lock";

/// Takes the lock for backups.
const INSTANCE: &str = "LOCK INSTANCE FOR BACKUP";
/// Takes the global read lock.
const GLOBAL: &str = "FLUSH TABLES WITH READ LOCK";
/// The right that the global read lock needs.
const GLOBAL_GRANTS: &[(&str, &str)] = &[("RELOAD", "the global read lock")];

/// How far the server is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Asked {
    /// As far as the engines of the tables and the facts need it.
    #[default]
    Auto,
    /// Definitions stand still; writes go on.
    Instance,
    /// Nothing is written either.
    Global,
}

impl Asked {
    /// Whether the global read lock is taken; `None` where that is left open.
    const fn global(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::Instance => Some(false),
            Self::Global => Some(true),
        }
    }
}

/// What `instance` is too little for.
const TOO_LITTLE: TooLittle = TooLittle {
    for_facts: "exact facts need the global read lock: without it, writes go on",
    for_engines: "the lock for backups alone is for InnoDB",
    remedy: "Ask for `lock: auto` or `lock: global`",
};

/// How far the server was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// The lock for backups.
    Instance,
    /// The global read lock besides.
    Global,
}

impl Lock {
    /// Its name, as the arguments have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Global => "global",
        }
    }

    /// The locks on metadata that the session has for it, as `performance_schema.metadata_locks` names them.
    pub const fn metadata_locks(self) -> &'static [&'static str] {
        match self {
            Self::Instance => &["BACKUP LOCK"],
            Self::Global => &["BACKUP LOCK", "COMMIT", "GLOBAL"],
        }
    }

    /// The statements that take it. While the global read lock waits for a statement to end, whoever wants that
    /// statement's tables waits too, readers included, and goes on waiting when the lock was given up: so nobody may
    /// be in its way.
    fn ladder(self, arguments: &Arguments) -> Result<Ladder> {
        let Arguments { lock_wait, attempts, quiet, .. } = arguments;
        let (wait, attempts, down) = (lock_wait.clone(), *attempts, "UNLOCK INSTANCE");
        let (steps, careful) = match self {
            Self::Instance => (vec![INSTANCE], None),
            Self::Global => (vec![INSTANCE, GLOBAL], Some((GLOBAL, parse_duration(quiet)?))),
        };
        Ok(Ladder { steps, down, wait, attempts, careful })
    }
}

fn usual_quiet() -> String {
    "500ms".into()
}

/// What `backup-lock` is told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// How far the server is held: auto, instance or global. `auto` takes the global read lock where a table is not
    /// InnoDB's, or facts are to be exact.
    #[serde(default)]
    pub lock: Asked,
    /// How facts are counted: not at all, between two counts, or exactly, which needs the global read lock.
    #[serde(default)]
    pub facts: Mode,
    /// How many tables are counted, the largest first.
    #[serde(default = "usual_tables")]
    pub tables: u32,
    /// How long each counting may take; tables that are not reached are left out and said so.
    #[serde(default = "usual_time")]
    pub facts_timeout: String,
    /// How long a lock may be waited for, in whole seconds: for so long others may have to wait behind it.
    #[serde(default = "usual_wait")]
    pub lock_wait: String,
    /// How often it is tried.
    #[serde(default = "usual_attempts")]
    pub attempts: u32,
    /// The global read lock is not tried while any statement has been running for longer than this.
    #[serde(default = "usual_quiet")]
    pub quiet: String,
}

/// Acquires the hold: the locks, on one session of their own.
pub(super) async fn acquire(context: &HookContext, arguments: Arguments) -> Result<Acquired> {
    let Arguments { facts: mode, tables, .. } = arguments;
    let counting = Counting { mode, tables, within: parse_duration(&arguments.facts_timeout)? };
    let seen = Seen::at(&MYSQL, context).await?;
    instrumented(&seen.session).await?;
    let engines = seen.others.describe();
    let global = writers_wait(arguments.lock.global(), mode, &seen.others, &TOO_LITTLE)?;
    if global {
        grants::check(&seen.session, GLOBAL_GRANTS).await?;
    }
    let lock = if global { Lock::Global } else { Lock::Instance };
    let opened = seen.open(context, VERB, counting, global).await?;
    let Opened { target, session, server, limits, settings, before } = opened;
    let since = lock.ladder(&arguments)?.climb(context, &target, &session, limits).await?;
    session.arm(limits.answer(), &limits, limits.statement).await?;
    let begin = Position::of(&session, limits.answer()).await?;
    let observed = before.held(&limits).await?;
    let outputs = Outputs::from([
        ("lock".into(), json!(lock.name())),
        ("engines".into(), json!(engines)),
        ("position".into(), begin.shown()),
        ("settings".into(), settings),
    ]);
    let live = BackupLock { session, limits, server, target, lock, begin, end: None, counting, observed };
    let hold = SessionHold::on(live, Some(global));
    Ok(Acquired { hold: Box::new(hold), outputs, since })
}

/// Refuses a server that cannot say what is held, or where its logs stand.
async fn instrumented(session: &Session) -> Result<()> {
    let sql = "SELECT @@performance_schema, (SELECT COUNT(*) FROM performance_schema.setup_instruments \
        WHERE NAME = 'wait/lock/metadata/sql/mdl' AND ENABLED = 'YES')";
    let row = session.one(LOOKUP, "look at the performance schema", sql).await?;
    if column::<u8>(&row, 0)? != 0 && column::<u64>(&row, 1)? > 0 {
        return Ok(());
    }
    Err(Error::input(format!("the performance schema of MySQL at {} does not show locks", session.place()))
        .remedy("Set `performance_schema = ON` (the default) and restart the server, and leave the instrument wait/lock/metadata/sql/mdl enabled: they prove that the lock was held."))
}
