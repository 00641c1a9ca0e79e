//! What the server's errors mean, and what to do about them.

use std::{io, time::Duration};

use mysql_async::{DriverError, IoError, ServerError};
use standstill_core::Error;

use super::{connect::Session, dialect::Dialect, settings::Target};

/// Turns the failure to open a session into what an operator can act on.
pub(crate) fn connecting(error: mysql_async::Error, target: &Target) -> Error {
    let (place, product) = (target.place(), target.dialect.product);
    let failure = match &error {
        mysql_async::Error::Server(server) => refused(server, target),
        mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            Error::input(format!("{product} at {place} has no TLS, and sslmode demands it"))
                .remedy("Switch TLS on in the server (`ssl_cert`, `ssl_key`), or set `sslmode: prefer`.")
        }
        mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { name }) => {
            let user = &target.settings.user;
            Error::input(format!("{product} at {place} has no user {user}, or wants to know it by {name}, which is not supported"))
                .remedy("Correct `user`, or give it a password of the usual kind (ALTER USER … IDENTIFIED WITH caching_sha2_password BY …).")
        }
        mysql_async::Error::Io(IoError::Tls(_)) => tls(&place, product),
        mysql_async::Error::Io(IoError::Io(cause)) if is_tls(cause) => tls(&place, product),
        mysql_async::Error::Io(IoError::Io(cause))
            if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
        {
            Error::input(format!("nobody listens at {place}"))
                .remedy(format!("Start {product}, or correct `host`, `port` or `socket` of the connection."))
        }
        mysql_async::Error::Io(IoError::Io(_)) => {
            Error::input(format!("cannot connect to {product} at {place}"))
                .remedy("Check `host` and `port` of the connection, and that a firewall lets it through.")
        }
        _ => Error::failed(format!("cannot connect to {product} at {place}"))
            .remedy("Look into the server's log."),
    };
    failure.because(error)
}

fn refused(error: &ServerError, target: &Target) -> Error {
    let (place, product) = (target.place(), target.dialect.product);
    let user = &target.settings.user;
    match error.code {
        // ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR
        1045 | 1698 if target.password.is_none() => {
            Error::input(format!("{product} at {place} does not let user {user} in without a password"))
                .remedy("Give the connection a `password`, or correct `user`.")
        }
        1045 | 1698 => Error::input(format!("the password for user {user} is wrong at {place}"))
            .remedy(format!("Correct the connection's `user` or `password`; {product} also tells users apart by the host that they come from.")),
        // ER_HOST_NOT_PRIVILEGED, ER_HOST_IS_BLOCKED
        1130 | 1129 => Error::input(format!("{product} at {place} does not let this host in"))
            .remedy(format!("Create the user for this host (CREATE USER `{user}`@'…'), or connect from another one.")),
        // ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED
        1040 | 1203 | 1226 => Error::temporary(format!("{product} at {place} has no connection left"))
            .remedy("Raise `max_connections`, or give the user CONNECTION ADMIN, for which one is kept."),
        // ER_SERVER_SHUTDOWN, ER_CONNECTION_KILLED
        1053 | 1927 => Error::temporary(format!("{product} at {place} is shutting down"))
            .remedy("Try again when it accepts connections."),
        // ER_MUST_CHANGE_PASSWORD_LOGIN, ER_ACCOUNT_HAS_BEEN_LOCKED of MariaDB and of MySQL
        1862 | 4151 | 3118 => Error::input(format!("the account of user {user} at {place} is locked, or its password has expired"))
            .remedy("Unlock it (ALTER USER … ACCOUNT UNLOCK), or give it a new password."),
        _ => Error::failed(format!("{product} at {place} refuses the connection"))
            .remedy("Look into the server's log."),
    }
}

fn tls(place: &str, product: &str) -> Error {
    Error::input(format!("the TLS certificate of {product} at {place} is not trusted"))
        .remedy("Set `sslRootCert` to the authority that signed it, connect by the name it is for, or choose a weaker `sslmode` knowingly.")
}

fn is_tls(cause: &io::Error) -> bool {
    cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
}

/// Another database speaks the same protocol.
pub(crate) fn flavour(place: &str, version: &str, dialect: &Dialect) -> Error {
    let Dialect { product, other, .. } = dialect;
    Error::input(format!("the server at {place} is {other} {version}, not {product}"))
        .remedy(format!("Use a blueprint for {other}: the two are backed up in different ways."))
}

/// Turns the failure of a statement into an error; `attempt` is a fragment that fits after "failed to".
pub(crate) fn statement(error: mysql_async::Error, attempt: &str, session: &Session) -> Error {
    let place = session.place();
    let server = match error {
        mysql_async::Error::Server(server) => server,
        // Without the library's own words, which only say that it is one of input and output, twice.
        mysql_async::Error::Io(IoError::Io(cause)) => return lost(attempt, place).because(cause),
        other => return lost(attempt, place).because(other),
    };
    let failure = match server.code {
        // Access denied: to a database, a table, a column, for want of a privilege; command denied.
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 => Error::input(format!("may not {attempt} at {place}"))
            .remedy("Give the user the grants that the hook's documentation lists."),
        // ER_LOCK_WAIT_TIMEOUT
        1205 => Error::temporary(format!("{attempt} at {place}: a lock was not free in time"))
            .remedy("Try again when no long statement is in the way."),
        // ER_STATEMENT_TIMEOUT of MariaDB, ER_QUERY_TIMEOUT of MySQL, ER_QUERY_INTERRUPTED
        1969 | 3024 | 1317 => Error::temporary(format!("{attempt} at {place} took too long and was ended")),
        // ER_CONNECTION_KILLED, ER_SERVER_SHUTDOWN, ER_CLIENT_INTERACTION_TIMEOUT of MySQL
        1927 | 1053 | 4031 => lost(attempt, place),
        _ => Error::failed(format!("failed to {attempt} at {place}")),
    };
    failure.because(server)
}

/// The session ended in the middle of something.
pub(crate) fn lost(attempt: &str, place: &str) -> Error {
    Error::temporary(format!("lost the session at {place} on trying to {attempt}"))
        .remedy("Look into the server's log.")
}

/// A statement that did not answer before its deadline.
pub(crate) fn silent(attempt: &str, session: &Session, within: Duration) -> Error {
    let (place, product) = (session.place(), session.dialect().product);
    let waited = standstill_core::units::show_duration(within);
    Error::temporary(format!("{product} at {place} gave no answer within {waited} on trying to {attempt}"))
        .remedy("Check the network and the server's load.")
}
