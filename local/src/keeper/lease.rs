//! The keeper's dead-man's switch.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::clock::boottime;

/// The longest time between two looks at the clock: timers stand still while the machine sleeps, the clock does not.
const LOOK: Duration = Duration::from_millis(250);

/// Until when the keeper holds on.
pub(super) struct Lease {
    length: Duration,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// By `CLOCK_BOOTTIME`.
    until: Duration,
    /// Why it is over before its time.
    over: Option<&'static str>,
}

impl Lease {
    /// A lease that starts now.
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length,
            state: Mutex::new(State { until: boottime() + length, over: None }),
            changed: Notify::new(),
        }
    }

    /// Starts it again.
    pub(super) fn renew(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).until = boottime() + self.length;
    }

    /// Ends it now.
    pub(super) fn end(&self, why: &'static str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).over.get_or_insert(why);
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Waits until it is over; why.
    pub(super) async fn over(&self) -> &'static str {
        loop {
            let left = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(why) = state.over {
                    return why;
                }
                state.until.saturating_sub(boottime())
            };
            if left.is_zero() {
                return "the runner did not renew it in time";
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(left.min(LOOK)) => {}
            }
        }
    }
}
