//! Holds that are on: they live on a thread of their own, so that no busy upload starves a renewal.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, ErrorKind, Result,
    hook::{Acquired, Hold, Receipt},
    journal::Journal,
    point::{Evidence, Outputs},
};

/// The thread that holds live on.
pub(super) struct HoldThread {
    handle: Handle,
    // Dropping it ends the thread.
    _end: oneshot::Sender<()>,
}

impl HoldThread {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self> {
        let failed =
            |cause: std::io::Error| Error::failed("cannot start the thread that renews holds").because(cause);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("holds".into())
            .spawn(move || {
                let _ = runtime.block_on(ended);
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { handle, _end: end })
    }

    /// Does something with a deadline on this thread.
    pub(super) async fn within<T: Send + 'static>(
        &self,
        deadline: Duration,
        what: &str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let task = self.handle.spawn(tokio::time::timeout(deadline, work));
        match task.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::failed(format!(
                "{what} took longer than {}",
                crate::units::show_duration(deadline)
            ))),
            Err(cause) => Err(Error::failed(format!("{what} ended unexpectedly")).because(cause)),
        }
    }

    /// Has a hold acquired, and renews it from then on. One that keeps writes waiting (`blocks_writes`, where the
    /// hold itself does not know better) is held only for as long as the journal is this run's. One that is acquired only
    /// when nobody waits for it any more (`cancel`) is let go at once: it was taken for let go already.
    pub(super) async fn acquire(
        &self,
        Wanted { deadline, lease, blocks_writes, journal, cancel }: Wanted,
        acquire: impl Future<Output = Result<Acquired>> + Send + 'static,
    ) -> Result<(LiveHold, Outputs)> {
        let handle = self.handle.clone();
        let live = async move {
            let Acquired { mut hold, outputs, since } = acquire.await?;
            if cancel.is_cancelled() {
                // Where that fails it ends by itself: nobody renews it.
                return Err(late(hold.release().await));
            }
            let blocks_writes = hold.blocks_writes().unwrap_or(blocks_writes);
            let hold = Arc::new(Mutex::new(hold));
            let lapse = Lapse::default();
            let journal = blocks_writes.then_some(journal);
            let renewals = handle.spawn(renew(Arc::clone(&hold), journal, lease, lapse.clone()));
            Ok((LiveHold { hold, since, blocks_writes, lapse, renewals: Some(renewals) }, outputs))
        };
        self.within(deadline, "acquiring the hold", live).await
    }

    /// Proves a hold.
    pub(super) async fn confirm(&self, live: &LiveHold, deadline: Duration) -> Result<Evidence> {
        let hold = Arc::clone(&live.hold);
        let evidence = self
            .within(deadline, "proving the hold", async move { hold.lock().await.confirm().await })
            .await?;
        if live.lapse.has_come.is_cancelled() {
            return Err(live.lapse.error());
        }
        Ok(evidence)
    }

    /// Lets a hold go; one attempt.
    pub(super) async fn release(&self, live: &LiveHold, deadline: Duration) -> Result<Receipt> {
        let hold = Arc::clone(&live.hold);
        let renewals = live.renewals.as_ref().map(JoinHandle::abort_handle);
        let releasing = async move {
            let mut hold = hold.lock().await;
            let receipt = hold.release().await?;
            // While the lock is still taken: what was let go is not missed by a renewal that waited for its turn.
            if let Some(renewals) = renewals {
                renewals.abort();
            }
            Ok(receipt)
        };
        self.within(deadline, "letting the hold go", releasing).await
    }
}

/// What is wanted of a hold.
pub(super) struct Wanted {
    /// How long it may take to be acquired.
    pub(super) deadline: Duration,
    /// Its lease.
    pub(super) lease: Duration,
    /// Whether writes wait, where the hold itself does not know better.
    pub(super) blocks_writes: bool,
    /// Whose it is.
    pub(super) journal: Arc<dyn Journal>,
    /// That nobody waits for it any more.
    pub(super) cancel: CancellationToken,
}

/// That a hold came too late to be of use, and what came of letting it go.
pub(super) fn late(released: Result<Receipt>) -> Error {
    let late =
        Error::cancelled("the run had been stopped before the hold was acquired, so it was let go at once");
    match released {
        Ok(_) => late,
        Err(cause) => late.because(cause),
    }
}

/// A hold that is on and being renewed.
pub(super) struct LiveHold {
    hold: Arc<Mutex<Box<dyn Hold>>>,
    /// Since when it has been on.
    pub(super) since: Instant,
    /// Whether writes wait.
    pub(super) blocks_writes: bool,
    /// Whether it must be taken as lapsed.
    pub(super) lapse: Lapse,
    renewals: Option<JoinHandle<()>>,
}

/// That a hold must be taken as lapsed: it said so, or it could not be renewed for a whole lease.
#[derive(Clone, Default)]
pub(super) struct Lapse {
    has_come: CancellationToken,
    reason: Arc<OnceLock<Error>>,
}

impl Lapse {
    fn come(&self, reason: Error) {
        // The first reason is the one that counts.
        let _later = self.reason.set(reason);
        self.has_come.cancel();
    }

    /// Waits until it has come, and says why.
    pub(super) async fn wait(self) -> Error {
        self.has_come.cancelled().await;
        self.error()
    }

    fn error(&self) -> Error {
        let reason = self.reason.get();
        let why = reason.map_or_else(|| "it could not be renewed in time".to_owned(), Error::chain);
        let remedy = reason.and_then(Error::remedy_text).unwrap_or("Run the backup again.");
        Error::lapsed(format!("a hold lapsed: {why}")).remedy(remedy)
    }
}

impl Drop for LiveHold {
    fn drop(&mut self) {
        if let Some(renewals) = self.renewals.take() {
            renewals.abort();
        }
    }
}

/// Renews every third of the lease. A single failure may pass; a lapse, or failures for a whole lease, do not.
async fn renew(
    hold: Arc<Mutex<Box<dyn Hold>>>,
    journal: Option<Arc<dyn Journal>>,
    lease: Duration,
    lapse: Lapse,
) {
    let mut ticks = tokio::time::interval(lease / 3);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut good = Instant::now();
    loop {
        ticks.tick().await;
        let began = Instant::now();
        let within = (lease / 3).min(lease.saturating_sub(good.elapsed()));
        let (renewed, ours) = tokio::join!(
            attempt(within, "be renewed", async { hold.lock().await.renew().await }),
            attempt(within, "be shown to be this run's", async {
                match &journal {
                    Some(journal) => journal.is_ours().await,
                    None => Ok(()),
                }
            }),
        );
        let Err(error) = renewed.and(ours) else {
            good = began;
            continue;
        };
        tracing::warn!("a hold: {}", error.chain());
        let at_once = matches!(error.kind(), ErrorKind::HoldLapsed | ErrorKind::Fenced);
        if at_once || good.elapsed() >= lease {
            return lapse.come(error);
        }
    }
}

/// One attempt at keeping a hold.
async fn attempt(within: Duration, what: &str, work: impl Future<Output = Result<()>>) -> Result<()> {
    match tokio::time::timeout(within, work).await {
        // What says that it lapsed says why.
        Ok(Err(error)) if error.kind() == ErrorKind::HoldLapsed => Err(error),
        Ok(Err(error)) => Err(error.during(&format!("it could not {what}"))),
        Ok(Ok(())) => Ok(()),
        Err(_) => Err(Error::temporary(format!(
            "it could not {what} within {}",
            crate::units::show_duration(within)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::journal::Event;

    /// A hold that can always be renewed; it counts how often it is let go.
    #[derive(Default)]
    struct Steady(Arc<AtomicUsize>);

    #[async_trait]
    impl Hold for Steady {
        async fn renew(&mut self) -> Result<()> {
            Ok(())
        }

        async fn confirm(&mut self) -> Result<Evidence> {
            Ok(Evidence::of("held", true))
        }

        async fn release(&mut self) -> Result<Receipt> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(Error::failed("what comes of it is not asked here"))
        }
    }

    fn wanted(lease: Duration, blocks_writes: bool, cancel: &CancellationToken) -> Wanted {
        let deadline = Duration::from_secs(1);
        Wanted { deadline, lease, blocks_writes, journal: Arc::new(Unreachable), cancel: cancel.clone() }
    }

    fn acquired(hold: Steady) -> Acquired {
        Acquired { hold: Box::new(hold), outputs: Outputs::new(), since: Instant::now() }
    }

    /// A journal that nobody can reach.
    struct Unreachable;

    #[async_trait]
    impl Journal for Unreachable {
        async fn append(&self, _: &Event) -> Result<()> {
            Ok(())
        }

        async fn is_ours(&self) -> Result<()> {
            std::future::pending().await
        }
    }

    async fn lapses(blocks_writes: bool) -> bool {
        let thread = HoldThread::start().unwrap();
        let lease = Duration::from_millis(150);
        let wanted = wanted(lease, blocks_writes, &CancellationToken::new());
        let live = thread.acquire(wanted, async { Ok(acquired(Steady::default())) }).await.unwrap().0;
        tokio::time::timeout(lease * 4, live.lapse.clone().wait()).await.is_ok()
    }

    #[tokio::test]
    async fn a_hold_that_is_acquired_when_nobody_waits_for_it_any_more_is_let_go() {
        let thread = HoldThread::start().unwrap();
        let (cancel, hold) = (CancellationToken::new(), Steady::default());
        let (let_go, stopped) = (Arc::clone(&hold.0), cancel.clone());
        // It looks at nothing that tells it to stop.
        let acquire = async move {
            stopped.cancel();
            Ok(acquired(hold))
        };
        let outcome = thread.acquire(wanted(Duration::from_secs(1), true, &cancel), acquire).await;
        assert_eq!(outcome.err().unwrap().kind(), ErrorKind::Cancelled);
        assert_eq!(let_go.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn writes_do_not_wait_for_a_run_that_cannot_be_seen_to_live() {
        assert!(lapses(true).await);
        assert!(!lapses(false).await, "a hold that keeps nobody waiting goes on");
    }
}
