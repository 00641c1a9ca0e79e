//! What there is to know about the server at the other end of a session.

use standstill_core::{
    Error, Result,
    hook::{HookContext, Probe},
    point::Version,
};

use super::{
    connect::{LOOKUP, Session, column},
    dialect::Dialect,
};
use crate::server::errors::another_server;

/// The server, as it was when it was asked. Everything here may be read by any user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// The version.
    pub version: Version,
    /// The data directory, as the server sees it.
    pub data: String,
    /// The name of its host, its port and its socket: with the data directory, the same for every address that
    /// reaches this server.
    own: (String, u16, String),
    hook: &'static str,
    /// Whether it takes writes from users without special privileges.
    pub read_only: bool,
    /// Whether it is a node of a Galera cluster.
    pub galera: bool,
}

impl Server {
    /// Asks the server.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it is too old.
    pub async fn of(session: &Session) -> Result<Self> {
        let dialect = session.dialect();
        let sql = format!(
            "SELECT VERSION(), @@datadir, @@hostname, @@port, @@socket, @@read_only, \
                (SELECT COUNT(*) FROM {} WHERE UPPER(VARIABLE_NAME) = 'WSREP_ON' AND VARIABLE_VALUE = 'ON')",
            dialect.variables
        );
        let row = session.one(LOOKUP, "ask the server who it is", &sql).await?;
        let full: String = column(&row, 0)?;
        let version = numbers(&full);
        if version < dialect.oldest {
            let ((major, minor), product) = (dialect.oldest, dialect.product);
            return Err(Error::input(format!("{product} {full} at {} is too old", session.place()))
                .remedy(format!("Upgrade to {product} {major}.{minor} or later.")));
        }
        Ok(Self {
            version: Version { major: version.0, full },
            data: column(&row, 1)?,
            own: (column(&row, 2)?, column(&row, 3)?, column(&row, 4)?),
            read_only: column::<u8>(&row, 5)? != 0,
            hook: dialect.hook,
            galera: column::<u8>(&row, 6)? != 0,
        })
    }

    /// The same for every address and user that reach this server, another for every other server.
    pub fn identity(&self) -> String {
        let (host, port, socket) = &self.own;
        format!("{}:{host}:{port}:{socket}:{}", self.hook, self.data)
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
/// Showing the replication's status needs a privilege of its own; without it only running replication is seen.
pub(crate) async fn is_replica(session: &Session) -> Result<bool> {
    let dialect = session.dialect();
    let asked = session.rows(LOOKUP, "look at the replication", dialect.replication, Vec::new()).await;
    if let Ok(rows) = asked {
        return Ok(!rows.is_empty());
    }
    let row = session.one(LOOKUP, "look for running replication", dialect.replicating).await?;
    Ok(column::<u64>(&row, 0)? > 0)
}

/// The `probe` of the hook.
pub(crate) async fn probe(dialect: &'static Dialect, context: &HookContext) -> Result<Probe> {
    let session = Session::open(dialect, context).await?;
    let server = Server::of(&session).await?;
    // A user may lack the right to see it. What is needed and not there, `ready` names.
    let replica = is_replica(&session).await.ok();
    session.close().await;
    let role = replica.map(|replica| if replica { "replica" } else { "primary" }.to_owned());
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
        assert_eq!(numbers("9.7.4-2"), (9, 7));
        assert!(numbers("10.4.34-MariaDB") < (10, 5));
        assert!(numbers("10.11.1-MariaDB") > (10, 5));
        assert_eq!(numbers("strange"), (0, 0));
    }
}
