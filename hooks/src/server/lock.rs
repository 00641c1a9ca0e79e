//! The guard of an advisory lock that lives with its session.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use standstill_core::{Result, lock::LockGuard};
use tokio::task::JoinHandle;

use super::driver::spawn;

/// A session that has the lock.
#[async_trait]
pub(crate) trait Watched: Send + Sync + 'static {
    /// Whether the connection is known to be gone.
    fn is_closed(&self) -> bool;

    /// Asks the server for anything, so that a silent network is noticed.
    async fn ask(&self, within: Duration) -> Result<()>;
}

/// A lock and the task that watches over it.
struct Guard<S: Watched> {
    session: Arc<S>,
    watcher: JoinHandle<()>,
    /// How long the server may take to say that it still knows the session.
    answer: Duration,
}

#[async_trait]
impl<S: Watched> LockGuard for Guard<S> {
    async fn is_held(&self) -> bool {
        let known_to_be_lost = self.session.is_closed() || self.watcher.is_finished();
        // A server that was restarted since the watcher last asked has given the lock up unnoticed.
        !known_to_be_lost && self.session.ask(self.answer).await.is_ok()
    }
}

impl<S: Watched> Drop for Guard<S> {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// How long the lock's session may be idle before the server ends it. It is asked for every third of the lease: one
/// that falls silent for longer than this is dead or stopped.
pub(crate) fn idle(lease: Duration) -> Duration {
    (lease * 3).max(Duration::from_secs(30))
}

/// Watches over a session that has the lock.
///
/// # Errors
/// When no thread can be started for it.
pub(crate) fn guard(session: impl Watched, lease: Duration) -> Result<Box<dyn LockGuard>> {
    let session = Arc::new(session);
    let watcher = spawn(watch(session.clone(), lease / 3, idle(lease)))?;
    Ok(Box::new(Guard { session, watcher, answer: idle(lease) }))
}

/// Ends when the lock is lost.
async fn watch(session: Arc<impl Watched>, every: Duration, patience: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = session.ask(patience).await {
            tracing::warn!(error = error.chain(), "the advisory lock is lost");
            return;
        }
    }
}
