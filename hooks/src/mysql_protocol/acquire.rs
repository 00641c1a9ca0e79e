//! What the holds of both are acquired with: a session that `undo` can find, and patience with what is in the way.

use std::time::{Duration, Instant};

use standstill_core::{
    Error, ErrorKind, Result,
    hook::HookContext,
    units::{parse_duration, show_duration},
};

use super::{
    busy,
    connect::{Failure, LOOKUP, Session, column},
    errors,
    lease::Limits,
    settings::Target,
    undo,
};

/// How long writing back may take before it is not waited for any more.
const WRITE_BACK: Duration = Duration::from_secs(30);

/// The server's number for a lock that was not free in time.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// How long a lock may be waited for when nothing else is said.
pub(crate) fn usual_wait() -> String {
    "3s".into()
}

/// How often a lock is tried when nothing else is said.
pub(crate) fn usual_attempts() -> u32 {
    3
}

/// Makes the session known to `undo` before it holds anything.
///
/// # Errors
/// [`ErrorKind::Locked`] when this run has such a session already.
pub(crate) async fn mark(session: &Session, context: &HookContext, verb: &str) -> Result<()> {
    let mark = undo::mark(verb, &context.connection()?.name, &context.run);
    let rows = session.rows(LOOKUP, "mark the session", "SELECT GET_LOCK(?, 0)", vec![mark.into()]).await?;
    let taken = rows.first().map(|row| column::<Option<u8>>(row, 0)).transpose()?.flatten();
    if taken == Some(1) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Locked, format!("this run has a session at {} already", session.place())))
}

/// Has the file system of the data directory write back what is dirty, where it can be seen from here: a snapshot
/// does so too, and commits would wait for it. Best effort: it is only for speed.
pub(crate) async fn write_back(data: String) {
    let writing = tokio::task::spawn_blocking(move || {
        std::fs::File::open(&data).map(|directory| rustix::fs::syncfs(&directory))
    });
    let written = tokio::time::timeout(WRITE_BACK, writing).await;
    tracing::debug!(?written, "what was dirty was written back");
}

/// A lock that takes several statements, each of which waits for others for a few seconds at the most.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    /// The statements, in their order.
    pub steps: Vec<&'static str>,
    /// What lets go of those that were had, when a later one was not.
    pub down: &'static str,
    /// How long each may wait, as the author wrote it; whole seconds, and one at the least.
    pub wait: String,
    /// How often all of it is tried.
    pub attempts: u32,
    /// Before these statements nobody may be running a statement, not even a reader, for this long: whoever waits
    /// for it makes others wait.
    pub careful: Option<(&'static str, Duration)>,
}

impl Ladder {
    /// Goes up, again and again where something is in the way; says since when others may have waited.
    ///
    /// # Errors
    /// [`ErrorKind::Temporary`], naming the statement that was in the way.
    pub async fn climb(
        &self,
        context: &HookContext,
        target: &Target,
        session: &Session,
        limits: Limits,
    ) -> Result<Instant> {
        let wait = parse_duration(&self.wait)?.as_secs().max(1);
        let sql = format!("SET SESSION lock_wait_timeout = {wait}");
        session.run(LOOKUP, "limit the wait for locks", &sql).await?;
        let patience = Duration::from_secs(wait) + limits.statement;
        let mut attempt = 1;
        loop {
            let since = Instant::now();
            let refused =
                session.cancellable(context, "take the backup's locks", self.once(session, patience));
            let Some(refused) = refused.await? else { return Ok(since) };
            if attempt >= self.attempts.max(1) {
                return Err(refused.into_error(target, wait).await);
            }
            tracing::warn!(
                statement = refused.step,
                "the statement's lock was not to be had within {wait} s, trying again"
            );
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

    /// Goes up once. `Some`: what was in the way; then nothing is held any more.
    async fn once(&self, session: &Session, patience: Duration) -> Result<Option<Refused>> {
        let attempt = "take the backup's locks";
        for (index, step) in self.steps.iter().enumerate() {
            let blocker = match self.careful {
                Some((careful, age)) if careful == *step => busy::oldest(session, age, true).await?,
                _ => None,
            };
            let refused = if blocker.is_some() {
                true
            } else {
                match session.raw(patience, attempt, step, Vec::new()).await {
                    Ok(_) => false,
                    Err(Failure::Theirs(mysql_async::Error::Server(error)))
                        if error.code == LOCK_WAIT_TIMEOUT =>
                    {
                        true
                    }
                    Err(Failure::Theirs(error)) => {
                        return Err(errors::statement(error, attempt, session));
                    }
                    Err(Failure::Ours(error)) => return Err(error),
                }
            };
            if refused {
                if index > 0 {
                    session.run(patience, "let go of the backup's locks", self.down).await?;
                }
                return Ok(Some(Refused { step, blocker }));
            }
        }
        Ok(None)
    }
}

/// What was not to be had.
struct Refused {
    step: &'static str,
    /// The statement that was in the way, where it was looked for beforehand.
    blocker: Option<busy::Statement>,
}

impl Refused {
    /// Names what was in the way.
    async fn into_error(self, target: &Target, wait: u64) -> Error {
        let Self { step, blocker } = self;
        let place = target.place();
        let message = if blocker.is_some() {
            format!("{step} at {place} was not tried, for others would wait behind it")
        } else {
            let waited = show_duration(Duration::from_secs(wait));
            format!("{step} at {place} did not get its lock within {waited}")
        };
        let looking = async {
            let session = Session::to(target).await?;
            busy::oldest(&session, Duration::from_millis(500), false).await
        };
        let found = match blocker {
            Some(found) => Some(found),
            None => looking.await.ok().flatten(),
        };
        match found {
            Some(statement) => Error::temporary(format!("{message}: {statement}"))
                .remedy(format!("Let the statement end, or end it: KILL QUERY {};", statement.id)),
            None => Error::temporary(message).remedy(
                "Look at SHOW PROCESSLIST for another backup, or a long statement on a table that is not InnoDB's.",
            ),
        }
    }
}
