//! The clock of leases: it goes on while the machine sleeps, so that a lease is over when it wakes.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the boot, including the time that the machine slept (`CLOCK_BOOTTIME`).
pub(crate) fn boottime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
