//! What there is to know about the server at the other end of a session.

use standstill_core::{
    Error, Result,
    hook::{HookContext, Probe},
    point::Version,
};

use super::connect::{LOOKUP, Session, column};
use crate::server::errors::another_server;

/// The oldest version: 10.5 split the privileges that a backup needs, so that they can be granted one by one.
const OLDEST: (u32, u32) = (10, 5);

/// The server, as it was when it was asked. Everything here may be read by any user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// The version.
    pub version: Version,
    /// The data directory, as the server sees it.
    pub data: String,
    /// The name of its host, its port and its socket: with the data directory, the same for every address that
    /// reaches this server.
    own: (String, u16, String),
    /// Whether it takes writes from users without special privileges.
    pub read_only: bool,
    /// Whether it is a node of a Galera cluster.
    pub galera: bool,
}

impl Server {
    /// Asks the server.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it is older than 10.5.
    pub async fn of(session: &Session) -> Result<Self> {
        let sql = "SELECT VERSION(), @@datadir, @@hostname, @@port, @@socket, @@read_only, \
            (SELECT COUNT(*) FROM information_schema.GLOBAL_VARIABLES \
             WHERE VARIABLE_NAME = 'WSREP_ON' AND VARIABLE_VALUE = 'ON')";
        let row = session.one(LOOKUP, "ask the server who it is", sql).await?;
        let full: String = column(&row, 0)?;
        let version = numbers(&full);
        if version < OLDEST {
            return Err(Error::input(format!("MariaDB {full} at {} is too old", session.place()))
                .remedy("Upgrade to MariaDB 10.5 or later."));
        }
        Ok(Self {
            version: Version { major: version.0, full },
            data: column(&row, 1)?,
            own: (column(&row, 2)?, column(&row, 3)?, column(&row, 4)?),
            read_only: column::<u8>(&row, 5)? != 0,
            galera: column::<u8>(&row, 6)? != 0,
        })
    }

    /// The same for every address and user that reach this server, another for every other server.
    pub fn identity(&self) -> String {
        let (host, port, socket) = &self.own;
        format!("mariadb:{host}:{port}:{socket}:{}", self.data)
    }

    /// Refuses another server than this one: a service address may lead to another replica each time.
    pub fn expect_same(&self, other: &Self, place: &str) -> Result<()> {
        if self.identity() == other.identity() {
            return Ok(());
        }
        Err(another_server(place))
    }
}

/// Major and minor number of a version such as `10.11.19-MariaDB-log`.
fn numbers(full: &str) -> (u32, u32) {
    let mut parts = full.split(|character: char| !character.is_ascii_digit()).map(str::parse);
    let mut next = || parts.next().and_then(std::result::Result::ok).unwrap_or_default();
    (next(), next())
}

/// Whether the server follows another one, running or stopped.
///
/// `SHOW ALL SLAVES STATUS` needs a privilege of its own (`SLAVE MONITOR`); without it only running replication
/// threads are seen.
pub(super) async fn is_replica(session: &Session) -> Result<bool> {
    let asked = session.rows(LOOKUP, "look at the replication", "SHOW ALL SLAVES STATUS", Vec::new()).await;
    if let Ok(rows) = asked {
        return Ok(!rows.is_empty());
    }
    let sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Slave\\_%'";
    let row = session.one(LOOKUP, "look for replication threads", sql).await?;
    Ok(column::<u64>(&row, 0)? > 0)
}

/// The `probe` of the hook.
pub(super) async fn probe(context: &HookContext) -> Result<Probe> {
    let session = Session::open(context).await?;
    let server = Server::of(&session).await?;
    let replica = is_replica(&session).await?;
    session.close().await;
    let role = Some(if replica { "replica" } else { "primary" }.to_owned());
    let identity = server.identity();
    Ok(Probe { version: server.version, role, identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_by_number_not_by_letter() {
        assert_eq!(numbers("10.11.19-MariaDB-0+deb12u1-log"), (10, 11));
        assert_eq!(numbers("11.4.2-MariaDB"), (11, 4));
        assert!(numbers("10.4.34-MariaDB") < OLDEST);
        assert!(numbers("10.11.1-MariaDB") > OLDEST);
        assert_eq!(numbers("strange"), (0, 0));
    }
}
