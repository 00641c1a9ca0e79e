//! How a lease is divided among the limits that the server itself keeps.

use std::time::Duration;

use standstill_core::{Result, units::milliseconds};
use tokio_postgres::types::Type;

use super::connect::{LOOKUP, Parameter, Session};

/// The shares of a lease. An idle timeout does not count while a statement runs or its result is unread, so the
/// time that a dead runner's hold may stay on is the *sum* of them, and the sum is the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// How long the session may be idle: more than the third of a lease between two renewals.
    pub idle: Duration,
    /// How long a statement of a renewal or a proof may run.
    pub statement: Duration,
    /// How long sent bytes may stay unacknowledged.
    pub network: Duration,
    /// How often the server looks for a closed connection while a statement runs.
    pub check: Duration,
}

impl Limits {
    /// The shares of a lease.
    pub fn of(lease: Duration) -> Self {
        let statement = lease / 5;
        let network = lease / 5;
        let check = (lease / 20).max(Duration::from_millis(100));
        Self { idle: lease * 3 / 5, statement, network, check }
    }

    /// How long the client waits for the answer to a statement that has the share `statement`.
    pub fn answer(&self) -> Duration {
        self.statement + self.network
    }

    /// Tells the server to end this session by itself when its client falls silent.
    ///
    /// The statement share is not set yet: what acquires the hold may take longer than a renewal.
    ///
    /// # Errors
    /// When the server does not take a setting; then nothing must be acquired on this session.
    pub async fn arm(&self, session: &Session) -> Result<()> {
        let sql = "SELECT set_config('idle_session_timeout', $1, false), \
            set_config('idle_in_transaction_session_timeout', $1, false), \
            set_config('tcp_user_timeout', $2, false), \
            set_config('client_connection_check_interval', $3, false), \
            set_config('tcp_keepalives_idle', $4, false), set_config('tcp_keepalives_interval', '1', false), \
            set_config('tcp_keepalives_count', '2', false), set_config('statement_timeout', '0', false)";
        let idle = text(self.idle);
        let network = text(self.network);
        let check = text(self.check);
        let keepalive = self.network.as_secs().max(1).to_string();
        let parameters: [Parameter<'_>; 4] =
            [(&idle, Type::TEXT), (&network, Type::TEXT), (&check, Type::TEXT), (&keepalive, Type::TEXT)];
        session.one(LOOKUP, "set the session's time limits", sql, &parameters).await?;
        Ok(())
    }

    /// From now on no statement of this session may run longer than this.
    pub async fn limit_statements(&self, session: &Session, limit: Duration) -> Result<()> {
        let sql = "SELECT set_config('statement_timeout', $1, false)";
        session
            .one(self.answer(), "limit the session's statements", sql, &[(&text(limit), Type::TEXT)])
            .await?;
        Ok(())
    }
}

fn text(duration: Duration) -> String {
    // 0 would mean no limit at all.
    milliseconds(duration).max(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_a_lease_add_up_to_it_and_leave_room_for_a_late_renewal() {
        for lease in [2, 10, 60].map(Duration::from_secs) {
            let limits = Limits::of(lease);
            assert_eq!(limits.idle + limits.statement + limits.network, lease);
            assert!(limits.idle > lease / 2, "a renewal comes every third of the lease");
        }
    }
}
