//! How a lease is divided among the limits that the server itself keeps.

use std::time::Duration;

/// The shares of a lease. An idle timeout does not count while a statement runs, so the time that a dead runner's
/// hold may stay on is the *sum* of the two, and the sum is no more than the lease.
///
/// `net_write_timeout` is no share of it: what a hold's statements return fits into the socket's buffer, so the
/// server never waits for it to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How long the session may be idle, in whole seconds: more than the third of a lease between two renewals.
    pub idle: u64,
    /// How long a statement of a renewal or a proof may run.
    pub statement: Duration,
}

impl Limits {
    /// The shares of a lease. `wait_timeout` counts in seconds, so no lease is shorter than about two.
    pub fn of(lease: Duration) -> Self {
        Self { idle: (lease.as_secs() * 2 / 3).max(1), statement: lease / 5 }
    }

    /// How long the client waits for the answer to a statement that has the share `statement`.
    pub fn answer(&self) -> Duration {
        self.statement + self.statement / 2
    }

    /// The limits that both databases have under the same names.
    pub fn common(&self) -> String {
        format!(
            "wait_timeout = {idle}, interactive_timeout = {idle}, net_write_timeout = 1, net_read_timeout = {idle}",
            idle = self.idle,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_a_lease_stay_within_it_and_leave_room_for_a_late_renewal() {
        for lease in [2, 3, 10, 60].map(Duration::from_secs) {
            let limits = Limits::of(lease);
            let idle = Duration::from_secs(limits.idle);
            assert!(idle + limits.statement <= lease, "{lease:?}");
            assert!(idle > lease / 3, "a renewal comes every third of the lease: {lease:?}");
            assert!(limits.answer() <= lease / 3, "{lease:?}");
        }
    }
}
