//! The advisory lock that keeps runs on other hosts away from the same server.

use std::{sync::Arc, time::Duration};

use standstill_core::{Error, ErrorKind, Result, hook::HookContext, lock::LockGuard};
use tokio::task::JoinHandle;

use super::connect::{LOOKUP, Session, column, spawn};

/// The lock's name: the same in every version, for ever.
const NAME: &str = "standstill";

/// A lock that lives with its session. A watcher asks the server for it, so that a silent network is noticed.
struct Guard {
    session: Arc<Session>,
    watcher: JoinHandle<()>,
}

impl LockGuard for Guard {
    fn is_held(&self) -> bool {
        !self.session.is_closed() && !self.watcher.is_finished()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Takes the lock without waiting.
///
/// # Errors
/// [`standstill_core::ErrorKind::Locked`] when another run has it.
pub(super) async fn take(context: &HookContext) -> Result<Box<dyn LockGuard>> {
    let session = Session::open(context).await?;
    // The session is asked for every third of the lease: one that falls silent for long is dead or stopped.
    let idle = (context.lease * 3).max(Duration::from_secs(30));
    let sql = format!("SET SESSION wait_timeout = {0}, interactive_timeout = {0}", idle.as_secs());
    session.run(LOOKUP, "prepare the lock's session", &sql).await?;
    let sql = format!("SELECT GET_LOCK('{NAME}', 0)");
    let taken = session.one(LOOKUP, "take the advisory lock", &sql).await?;
    if column::<Option<u8>>(&taken, 0)? != Some(1) {
        return Err(taken_by_another(&session).await);
    }
    let session = Arc::new(session);
    let watcher = spawn(watch(session.clone(), context.lease / 3, idle))?;
    Ok(Box::new(Guard { session, watcher }))
}

/// Ends when the lock is lost.
async fn watch(session: Arc<Session>, every: Duration, patience: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = session.run(patience, "keep the lock", "DO 0").await {
            tracing::warn!(error = error.chain(), "the advisory lock is lost");
            return;
        }
    }
}

/// Who has the lock, as far as the user may see other sessions.
async fn taken_by_another(session: &Session) -> Error {
    let sql = format!(
        "SELECT ID, CONCAT(USER, '@', HOST) FROM information_schema.PROCESSLIST WHERE ID = IS_USED_LOCK('{NAME}')"
    );
    let rows = session.rows(LOOKUP, "see who has the lock", &sql, Vec::new()).await.unwrap_or_default();
    let holder = rows.first().and_then(|row| {
        let (id, user): (u64, String) = (column(row, 0).ok()?, column(row, 1).ok()?);
        Some(format!(" (connection {id} of {user})"))
    });
    let holder = holder.unwrap_or_default();
    Error::new(ErrorKind::Locked, format!("another run{holder} is working on MariaDB at {}", session.place()))
        .remedy("Wait until it is done, or end it; its lock ends with it.")
}
