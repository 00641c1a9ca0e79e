//! Holds that are on: they live on a thread of their own, so that no busy upload starves a renewal.

use std::{
    future::Future,
    sync::Arc,
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

    /// Has a hold acquired, and renews it from then on.
    pub(super) async fn acquire(
        &self,
        deadline: Duration,
        lease: Duration,
        acquire: impl Future<Output = Result<Acquired>> + Send + 'static,
    ) -> Result<(LiveHold, Outputs)> {
        let handle = self.handle.clone();
        let live = async move {
            let Acquired { hold, outputs, since } = acquire.await?;
            let blocks_writes = hold.blocks_writes();
            let hold = Arc::new(Mutex::new(hold));
            let lapsed = CancellationToken::new();
            let renewals = handle.spawn(renew(Arc::clone(&hold), lease, lapsed.clone()));
            Ok((LiveHold { hold, since, blocks_writes, lapsed, renewals: Some(renewals) }, outputs))
        };
        self.within(deadline, "acquiring the hold", live).await
    }

    /// Proves a hold.
    pub(super) async fn confirm(&self, live: &LiveHold, deadline: Duration) -> Result<Evidence> {
        let hold = Arc::clone(&live.hold);
        let evidence = self
            .within(deadline, "proving the hold", async move { hold.lock().await.confirm().await })
            .await?;
        if live.lapsed.is_cancelled() {
            return Err(Error::lapsed("the hold could not be renewed in time"));
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

/// A hold that is on and being renewed.
pub(super) struct LiveHold {
    hold: Arc<Mutex<Box<dyn Hold>>>,
    /// Since when it has been on.
    pub(super) since: Instant,
    /// Whether writes wait, where the plan could not know.
    pub(super) blocks_writes: Option<bool>,
    /// Cancelled when a renewal failed for so long that the hold must be taken as lapsed.
    pub(super) lapsed: CancellationToken,
    renewals: Option<JoinHandle<()>>,
}

impl Drop for LiveHold {
    fn drop(&mut self) {
        if let Some(renewals) = self.renewals.take() {
            renewals.abort();
        }
    }
}

/// Renews every third of the lease. A single failure may pass; a lapse, or failures for a whole lease, do not.
async fn renew(hold: Arc<Mutex<Box<dyn Hold>>>, lease: Duration, lapsed: CancellationToken) {
    let mut ticks = tokio::time::interval(lease / 3);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut good = Instant::now();
    loop {
        ticks.tick().await;
        let mut hold = hold.lock().await;
        let renewed = tokio::time::timeout(lease / 3, hold.renew()).await;
        drop(hold);
        match renewed {
            Ok(Ok(())) => good = Instant::now(),
            Ok(Err(error)) if error.kind() == ErrorKind::HoldLapsed => {
                tracing::error!("a hold lapsed: {}", error.chain());
                return lapsed.cancel();
            }
            Ok(Err(error)) => tracing::warn!("a hold could not be renewed: {}", error.chain()),
            Err(_) => tracing::warn!("a renewal took longer than {:?}", lease / 3),
        }
        if good.elapsed() >= lease {
            return lapsed.cancel();
        }
    }
}
