//! The thread that tells all guards that the runner is alive.
//!
//! It is a thread of its own, not a task: no busy upload and no blocked executor can keep it from running. When the
//! whole process is stopped it is stopped too, and that is the point.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use super::client::Control;

/// Renews all guards for as long as it lives.
pub(crate) struct Renewals {
    guards: Arc<Mutex<Vec<Weak<Control>>>>,
    /// Dropped together with this value, which ends the thread.
    _alive: Sender<()>,
}

impl Renewals {
    /// Starts the thread; it renews every third of the lease.
    pub(crate) fn start(lease: Duration) -> io::Result<Self> {
        let guards = Arc::new(Mutex::new(Vec::<Weak<Control>>::new()));
        let (alive, ended) = channel::<()>();
        let renewed = Arc::clone(&guards);
        std::thread::Builder::new().name("guard renewals".to_owned()).spawn(move || {
            while ended.recv_timeout(lease / 3) == Err(RecvTimeoutError::Timeout) {
                renewed.lock().unwrap_or_else(PoisonError::into_inner).retain(|guard| {
                    match guard.upgrade() {
                        Some(control) => {
                            control.renew();
                            true
                        }
                        None => false,
                    }
                });
            }
        })?;
        Ok(Self { guards, _alive: alive })
    }

    /// Renews this guard too, until it is dropped.
    pub(crate) fn add(&self, control: &Arc<Control>) {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(control));
    }
}
