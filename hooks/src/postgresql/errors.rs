//! What the server's errors mean, and what to do about them.

use std::{error::Error as _, io};

use standstill_core::Error;
use tokio_postgres::error::SqlState;

use super::settings::Target;

/// Turns the failure to open a session into what an operator can act on.
pub(super) fn connecting(error: tokio_postgres::Error, target: &Target) -> Error {
    let place = target.place();
    let user = &target.settings.user;
    let failure = match error.code() {
        Some(code) => refused(code, &error, target),
        None => match cause::<io::Error>(&error) {
            Some(cause) if is_certificate(cause) => {
                Error::input(format!("the TLS certificate of PostgreSQL at {place} is not trusted"))
                    .remedy("Set `sslRootCert` to the authority that signed it, connect by the name it is for, or choose a weaker `sslmode` knowingly.")
            }
            Some(cause) if cause.kind() == io::ErrorKind::NotFound || cause.kind() == io::ErrorKind::ConnectionRefused => {
                Error::input(format!("nobody listens at {place}"))
                    .remedy("Start PostgreSQL, or correct `host` and `port` of the connection.")
            }
            Some(_) => Error::input(format!("cannot connect to PostgreSQL at {place}"))
                .remedy("Check `host` and `port` of the connection, and that a firewall lets it through."),
            None if text(&error).contains("server does not support TLS") => {
                Error::input(format!("PostgreSQL at {place} has no TLS, and sslmode demands it"))
                    .remedy("Switch `ssl` on in the server, or set `sslmode: prefer`.")
            }
            None if text(&error).contains("password missing") => {
                Error::input(format!("PostgreSQL at {place} wants a password for role {user}, and none was given"))
                    .remedy("Give the connection a `password`.")
            }
            None => Error::failed(format!("cannot connect to PostgreSQL at {place}"))
                .remedy("Look into the server's log."),
        },
    };
    with_cause(failure, error)
}

fn refused(code: &SqlState, error: &tokio_postgres::Error, target: &Target) -> Error {
    let place = target.place();
    let user = &target.settings.user;
    let database = &target.settings.database;
    let message = error.as_db_error().map_or("", tokio_postgres::error::DbError::message);
    if *code == SqlState::INVALID_PASSWORD {
        Error::input(format!("the password for role {user} is wrong at {place}"))
            .remedy("Correct the connection's `password`.")
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        let remedy = if message.contains("pg_hba.conf") {
            format!(
                "Add a line for role {user} and database {database} to the server's pg_hba.conf and reload it, or correct `user` and `sslmode`."
            )
        } else {
            "Correct `user`, or create the role with LOGIN.".to_owned()
        };
        Error::input(format!("PostgreSQL at {place} does not let role {user} in")).remedy(remedy)
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        Error::input(format!("there is no database {database} at {place}"))
            .remedy("Correct `database` of the connection.")
    } else if *code == SqlState::CANNOT_CONNECT_NOW {
        Error::temporary(format!("PostgreSQL at {place} is starting up or shutting down"))
            .remedy("Try again when it accepts connections.")
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        Error::temporary(format!("PostgreSQL at {place} has no connection left"))
            .remedy("Raise `max_connections`, or give the role a reserved one (superuser, or pg_use_reserved_connections from 16 on).")
    } else if *code == SqlState::PROTOCOL_VIOLATION && message.contains("unsupported startup parameter") {
        pooler(&place)
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        Error::input(format!("role {user} may not connect to database {database} at {place}"))
            .remedy(format!("Run: GRANT CONNECT ON DATABASE \"{database}\" TO \"{user}\";"))
    } else {
        Error::failed(format!("PostgreSQL at {place} refuses the connection"))
            .remedy("Look into the server's log.")
    }
}

/// There is a connection pooler between here and the server.
pub(super) fn pooler(place: &str) -> Error {
    Error::input(format!("{place} is a connection pooler, not PostgreSQL itself"))
        .remedy("Connect to the server's own address: a hold lives and dies with one server session, which a pooler shares and reuses.")
}

/// Turns the failure of a statement into an error; `attempt` is a fragment that fits after "failed to".
pub(super) fn statement(error: tokio_postgres::Error, attempt: &str, place: &str) -> Error {
    let failure = match error.code() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Error::input(format!("may not {attempt} at {place}"))
                .remedy("Give the role the grants that the hook's documentation lists.")
        }
        Some(code) if *code == SqlState::QUERY_CANCELED => {
            Error::temporary(format!("{attempt} at {place} took too long and was cancelled"))
        }
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => {
            Error::temporary(format!("{attempt} at {place}: a lock was not free in time"))
                .remedy("Try again when no long transaction holds the table.")
        }
        Some(_) => Error::failed(format!("failed to {attempt} at {place}")),
        None => Error::temporary(format!("lost the session at {place} on trying to {attempt}"))
            .remedy("Look into the server's log."),
    };
    with_cause(failure, error)
}

/// A statement that did not answer before its deadline.
pub(super) fn silent(attempt: &str, place: &str, within: std::time::Duration) -> Error {
    let waited = standstill_core::units::show_duration(within);
    Error::temporary(format!("PostgreSQL at {place} gave no answer within {waited} on trying to {attempt}"))
        .remedy("Check the network and the server's load.")
}

fn with_cause(failure: Error, error: tokio_postgres::Error) -> Error {
    let shown = error.to_string();
    match error.into_source() {
        Some(cause) => failure.because(cause),
        None => failure.because(shown),
    }
}

fn text(error: &tokio_postgres::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

fn cause<E: std::error::Error + 'static>(error: &tokio_postgres::Error) -> Option<&E> {
    error.source().and_then(|cause| cause.downcast_ref())
}

fn is_certificate(cause: &io::Error) -> bool {
    let inner = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}
