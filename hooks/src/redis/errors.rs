//! What the server's errors mean, and what to do about them.

use std::{io, time::Duration};

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind};
use standstill_core::{Error, units::show_duration};

use super::{dial::is_tls, settings::Target};

/// The server cannot be reached.
pub(super) fn unreachable(cause: io::Error, place: &str) -> Error {
    let error = match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Error::input(format!("nobody listens at {place}"))
                .remedy("Start the server, or correct `host`, `port` or `socket` of the connection.")
        }
        io::ErrorKind::PermissionDenied => Error::input(format!("the socket {place} may not be opened"))
            .remedy("Run as a user of the server's group, or open the socket further with `unixsocketperm`."),
        _ => Error::input(format!("cannot connect to {place}"))
            .remedy("Check `host` and `port` of the connection, and that a firewall lets it through."),
    };
    error.because(cause)
}

/// The handshake of TLS broke off.
pub(super) fn not_secured(cause: io::Error, place: &str) -> Error {
    if is_tls(&cause) {
        return tls(place).because(cause);
    }
    Error::input(format!("the server at {place} does not speak TLS"))
        .remedy("Give the port of its `tls-port`, or set `tls: false`.")
        .because(cause)
}

/// The certificates do not fit.
pub(super) fn tls(place: &str) -> Error {
    Error::input(format!("TLS to {place} is refused by one side")).remedy(
        "Set `tlsCa` to the authority that signed the server's certificate, connect by the name it is for, and give `tlsCert` and `tlsKey` if the server asks for a certificate.",
    )
}

/// Turns the failure to open a session into what an operator can act on.
pub(super) fn connecting(error: RedisError, target: &Target) -> Error {
    let place = target.place();
    let user = &target.settings.user;
    let said = error.to_string();
    let failure = if said.contains("WRONGPASS") || error.kind() == Kind::AuthenticationFailed {
        if target.password.is_some() {
            Error::input(format!("user {user} or the password is wrong at {place}"))
                .remedy("Correct the connection's `user` or `password` (ACL LIST shows the users).")
        } else {
            locked_out(user, &place)
        }
    } else if said.contains("NOAUTH") {
        locked_out(user, &place)
    } else if said.contains("max number of clients") {
        Error::temporary(format!("the server at {place} has no connection left"))
            .remedy("Raise `maxclients`, or close connections that nobody needs.")
    } else if error.is_io_error() {
        Error::input(format!("the server at {place} closes the connection at once")).remedy(
            "Check that it is Redis or Valkey, whether its port speaks TLS (`tls: true`), and its log.",
        )
    } else {
        return answer(error, "open a session", &place);
    };
    failure.because(error)
}

/// The server wants a password and got none.
fn locked_out(user: &str, place: &str) -> Error {
    Error::input(format!("the server at {place} does not let user {user} in without a password"))
        .remedy("Give the connection a `password`, or correct `user`.")
}

/// Turns the refusal of a command into an error; `attempt` is a fragment that fits after "failed to".
pub(super) fn answer(error: RedisError, attempt: &str, place: &str) -> Error {
    if error.is_io_error() || error.is_connection_dropped() {
        return lost(attempt, place).because(error);
    }
    let said = error.to_string();
    let failure = match error.kind() {
        _ if said.contains("NOAUTH") => locked_out("default", place),
        Kind::Server(ServerErrorKind::NoPerm) => Error::input(format!("may not {attempt} at {place}"))
            .remedy("Give the user the commands that the blueprint's page lists: ACL SETUSER name +command."),
        Kind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown) => {
            Error::temporary(format!("the server at {place} is still loading its data"))
                .remedy("Try again when it has started.")
        }
        _ if said.contains("unknown command") => {
            Error::input(format!("the server at {place} does not know what is needed to {attempt}")).remedy(
                "Do not rename or disable the command (`rename-command`); services that hide it cannot be backed up this way.",
            )
        }
        _ if said.contains("BUSY") => Error::temporary(format!("a script keeps the server at {place} busy"))
            .remedy("Let it end, or end it: SCRIPT KILL."),
        _ => Error::failed(format!("failed to {attempt} at {place}")),
    };
    failure.because(error)
}

/// The session ended in the middle of something.
pub(super) fn lost(attempt: &str, place: &str) -> Error {
    Error::temporary(format!("lost the session at {place} on trying to {attempt}"))
        .remedy("Look into the server's log.")
}

/// A command that was not answered before its deadline.
pub(super) fn silent(attempt: &str, place: &str, within: Duration) -> Error {
    Error::temporary(format!(
        "the server at {place} gave no answer within {} on trying to {attempt}",
        show_duration(within)
    ))
    .remedy("Check the network, and for slow commands with SLOWLOG GET.")
}

/// The server's answer is not what the protocol says.
pub(super) fn strange(attempt: &str, place: &str) -> Error {
    Error::failed(format!("the answer of {place} is not understood on trying to {attempt}"))
        .remedy("Check that it is Redis or Valkey, not a proxy in front of it.")
}

/// The process that was asked a moment ago is another one now.
pub(super) fn restarted(place: &str) -> Error {
    crate::server::errors::lapsed(format!("the server at {place} was restarted, or is another one now"))
}
