//! The verb `backup-lock`: what it is told, and how the hold is acquired.

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

use super::{dialect::MYSQL, hold::BackupLock, position::Position};
use crate::{
    mysql_protocol::{
        acquire::{Ladder, mark, usual_attempts, usual_wait, write_back},
        connect::{LOOKUP, Session, column},
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
    let target = Target::of(&MYSQL, context).await?;
    let Arguments { facts: mode, tables, .. } = arguments;
    let counting = Counting { mode, tables, within: parse_duration(&arguments.facts_timeout)? };
    let session = Session::to(&target).await?;
    let seen = Server::of(&session).await?;
    no_galera(&session, &seen)?;
    instrumented(&session).await?;
    grants::check(&session, MYSQL.backup_grants).await?;
    let others = Others::of(&session).await?;
    let lock = choose(arguments.lock, mode, &others)?;
    if lock == Lock::Global {
        grants::check(&session, GLOBAL_GRANTS).await?;
    }
    let settings = variables::read(&session).await?;
    let before = counting.before(context, session).await?;

    let session = Session::to(&target).await?;
    let server = Server::of(&session).await?;
    seen.expect_same(&server, session.place())?;
    let limits = Limits::of(context.lease);
    mark(&session, context, VERB).await?;
    if lock == Lock::Global {
        session.awake(Duration::from_secs(limits.idle) / 2, write_back(server.data.clone())).await?;
    }
    let since = lock.ladder(&arguments)?.climb(context, &target, &session, limits).await?;
    session.arm(limits.answer(), &limits, limits.statement).await?;
    let begin = Position::of(&session, limits.answer()).await?;
    let observed = before.held(&limits).await?;
    let outputs = Outputs::from([
        ("lock".into(), json!(lock.name())),
        ("engines".into(), json!(others.describe())),
        ("position".into(), begin.shown()),
        ("settings".into(), settings),
    ]);
    let live = BackupLock { session, limits, server, target, lock, begin, end: None, counting, observed };
    let hold = SessionHold::on(live, Some(lock == Lock::Global));
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

fn choose(asked: Asked, facts: Mode, others: &Others) -> Result<Lock> {
    match asked {
        Asked::Global => Ok(Lock::Global),
        Asked::Auto if facts == Mode::Exact || !others.are_none() => Ok(Lock::Global),
        Asked::Instance if facts == Mode::Exact => {
            Err(Error::input("exact facts need the global read lock: without it, writes go on")
                .remedy("Ask for `lock: auto` or `lock: global`, or for bounded facts."))
        }
        Asked::Instance if !others.are_none() => Err(Error::input(format!(
            "the lock for backups alone is for InnoDB, and there are other tables: {}",
            others.describe()
        ))
        .remedy("Ask for `lock: auto` or `lock: global`, or convert them.")),
        Asked::Auto | Asked::Instance => Ok(Lock::Instance),
    }
}

#[cfg(test)]
mod tests {
    use standstill_core::ErrorKind;

    use super::*;

    #[test]
    fn auto_goes_as_far_as_it_must_and_no_further() {
        let none = Others::default();
        assert_eq!(choose(Asked::Auto, Mode::Bounded, &none).unwrap(), Lock::Instance);
        assert_eq!(choose(Asked::Auto, Mode::Exact, &none).unwrap(), Lock::Global);
        assert_eq!(choose(Asked::Global, Mode::None, &none).unwrap(), Lock::Global);
        assert_eq!(choose(Asked::Instance, Mode::Exact, &none).unwrap_err().kind(), ErrorKind::Input);
    }
}
