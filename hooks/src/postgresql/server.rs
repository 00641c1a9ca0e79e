//! What there is to know about the server at the other end of a session.

use standstill_core::{
    Error, Result,
    hook::{HookContext, Probe},
    point::Version,
};

use super::connect::{LOOKUP, Purpose, Session, column};
use crate::server::errors::another_server;

/// The oldest major version that has `idle_session_timeout`, without which a hold could outlive its runner.
const OLDEST: u32 = 14;

/// The server, as it was when it was asked. Everything here may be read by any role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// The version.
    pub version: Version,
    /// Whether it is a standby.
    pub standby: bool,
    /// The cluster's system identifier: the same on all replicas, and on restored copies.
    pub system: String,
    /// When the postmaster started, to the microsecond: no two servers share it.
    pub started: String,
    /// The timeline of the last checkpoint.
    pub timeline: i64,
    /// The size of a WAL segment in bytes.
    pub segment: u64,
    /// The server process of the session that asked.
    pub backend: i32,
    /// The database of the session that asked.
    pub database: String,
    /// The role of the session that asked.
    pub role: String,
}

impl Server {
    /// Asks the server.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it is older than 14 or no PostgreSQL.
    pub async fn of(session: &Session) -> Result<Self> {
        let sql = "SELECT current_setting('server_version'), current_setting('server_version_num'), \
            pg_is_in_recovery(), (SELECT system_identifier::text FROM pg_control_system()), \
            to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
            (SELECT timeline_id::int8 FROM pg_control_checkpoint()), \
            (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size'), \
            pg_backend_pid(), current_database()::text, current_user::text";
        let row = session.one(LOOKUP, "ask the server who it is", sql, &[]).await?;
        let number: String = column(&row, 1)?;
        let major = number.parse::<u32>().unwrap_or_default() / 10_000;
        let full: String = column(&row, 0)?;
        if major < OLDEST {
            return Err(Error::input(format!("PostgreSQL {full} at {} is too old", session.place()))
                .remedy("Upgrade to PostgreSQL 14 or later; before 14 a server cannot end the session of a runner that vanished."));
        }
        Ok(Self {
            version: Version { major, full },
            standby: column(&row, 2)?,
            system: column(&row, 3)?,
            started: column(&row, 4)?,
            timeline: column(&row, 5)?,
            segment: column::<i64>(&row, 6)?.unsigned_abs(),
            backend: column(&row, 7)?,
            database: column(&row, 8)?,
            role: column(&row, 9)?,
        })
    }

    /// `primary` or `standby`.
    pub fn role_name(&self) -> &'static str {
        if self.standby { "standby" } else { "primary" }
    }

    /// The same for every address and role that reach this server, another for every other server.
    ///
    /// Replicas share the system identifier and may share the data directory's path, so a standby is known by
    /// the start of its postmaster.
    pub fn identity(&self) -> String {
        if self.standby {
            format!("postgresql:{}/standby-{}", self.system, self.started)
        } else {
            format!("postgresql:{}", self.system)
        }
    }

    /// Refuses another server than this one: a service address may lead to another replica each time.
    pub fn expect_same(&self, other: &Self, place: &str) -> Result<()> {
        if (&self.system, &self.started) == (&other.system, &other.started) {
            return Ok(());
        }
        Err(another_server(place))
    }
}

/// The `probe` of the hook.
pub(super) async fn probe(context: &HookContext) -> Result<Probe> {
    let session = Session::open(context, Purpose::Call).await?;
    let server = Server::of(&session).await?;
    session.close().await;
    let role = Some(server.role_name().to_owned());
    let identity = server.identity();
    Ok(Probe { version: server.version, role, identity })
}
