//! A Lease that this process holds: renewed until it is dropped.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::ResourceExt;
use standstill_core::{Error, ErrorKind, Result};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::{Leases, holder, let_go};
use crate::client::Objects;

/// How often it is renewed: two renewals may fail before it ends.
const EVERY: Duration = Duration::from_secs(5);
/// How soon a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// The deadline of one renewal.
const RENEWAL: Duration = Duration::from_secs(4);

/// A Lease that this process holds. Dropping it removes it from the cluster, in the background.
pub(crate) struct HeldLease {
    shared: Arc<Shared>,
    renewing: JoinHandle<()>,
    releasing: TaskTracker,
    /// Whoever waits for the releases waits for this one, too, also before it has begun.
    _held: TaskTrackerToken,
}

struct Shared {
    objects: Objects<Lease>,
    state: Mutex<State>,
    /// Told that somebody wants it to be renewed now.
    wanted: Notify,
    /// Told of every renewal, and of its loss.
    changed: watch::Sender<()>,
}

struct State {
    lease: Lease,
    /// When the request was sent that renewed it last.
    renewed: Instant,
    lost: bool,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews it; `false` when somebody else has it now.
    async fn renew(&self) -> Result<bool> {
        let mut lease = self.state().lease.clone();
        let began = Instant::now();
        if let Some(spec) = lease.spec.as_mut() {
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        if let Some(renewed) = self.objects.replace(&lease).await? {
            let mut state = self.state();
            state.lease = renewed;
            state.renewed = began;
            drop(state);
            self.changed.send_replace(());
            return Ok(true);
        }
        // An earlier renewal may have come through without an answer.
        match self.objects.find(&lease.name_any()).await? {
            Some(present) if present.uid() == lease.uid() && holder(&present) == holder(&lease) => {
                self.state().lease = present;
                Err(standstill_core::Error::temporary("the lease has another version; it is renewed again"))
            }
            _ => Ok(false),
        }
    }
}

impl HeldLease {
    /// Keeps a Lease that was just taken, by a request that began at `began`.
    pub(super) fn keep(leases: &Leases, lease: Lease, began: Instant) -> Self {
        let state = Mutex::new(State { lease, renewed: began, lost: false });
        let (objects, wanted) = (leases.objects.clone(), Notify::new());
        let shared = Arc::new(Shared { objects, state, wanted, changed: watch::Sender::new(()) });
        let renewing = tokio::spawn(keep_renewing(Arc::clone(&shared)));
        let releasing = leases.releasing.clone();
        Self { shared, renewing, _held: releasing.token(), releasing }
    }

    /// Has it renewed now, and waits for that. It is tried again and again for as long as this waits.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when somebody else has it, or it was removed.
    pub(crate) async fn prove(&self) -> Result<()> {
        let asked = Instant::now();
        let mut changes = self.shared.changed.subscribe();
        loop {
            {
                let state = self.shared.state();
                if state.lost {
                    let name = state.lease.name_any();
                    return Err(Error::new(
                        ErrorKind::Fenced,
                        format!("the lease {name} was taken or removed"),
                    )
                    .remedy("Look at what the other process did with `standstill runs --on kubernetes`."));
                }
                if state.renewed >= asked {
                    return Ok(());
                }
            }
            self.shared.wanted.notify_one();
            // The sender is in what this value holds.
            let _ = changes.changed().await;
        }
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.renewing.abort();
        let shared = Arc::clone(&self.shared);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        self.releasing.spawn_on(
            async move {
                let lease = shared.state().lease.clone();
                if let Err(error) = let_go(&shared.objects, &lease).await {
                    tracing::debug!("the lease {} ends by itself: {}", lease.name_any(), error.chain());
                }
            },
            &runtime,
        );
    }
}

async fn keep_renewing(shared: Arc<Shared>) {
    let mut pause = EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.wanted.notified() => {}
        }
        pause = match tokio::time::timeout(RENEWAL, shared.renew()).await {
            Ok(Ok(true)) => EVERY,
            Ok(Ok(false)) => {
                shared.state().lost = true;
                shared.changed.send_replace(());
                return;
            }
            Ok(Err(error)) => {
                tracing::debug!("a lease could not be renewed: {}", error.chain());
                AGAIN
            }
            Err(_) => AGAIN,
        };
    }
}
