//! What a server's refusals mean, and what to do about them.

use std::{fmt, io, time::Duration};

use bson::RawDocument;
use standstill_core::{Error, units::show_duration};

use super::settings::Target;

/// How much of a server's own words is shown.
const WORDS: usize = 300;

/// Codes of `error_codes.yml` of the server.
pub(super) mod code {
    pub const UNAUTHORIZED: i32 = 13;
    pub const AUTHENTICATION_FAILED: i32 = 18;
    pub const ILLEGAL_OPERATION: i32 = 20;
    pub const NAMESPACE_NOT_FOUND: i32 = 26;
    pub const MAX_TIME_EXPIRED: i32 = 50;
    pub const COMMAND_NOT_FOUND: i32 = 59;
    pub const SNAPSHOT_TOO_OLD: i32 = 239;
    pub const SNAPSHOT_UNAVAILABLE: i32 = 246;
    pub const MECHANISM_UNAVAILABLE: i32 = 334;
    /// The server shuts down, or changes its role, or is not ready for questions.
    pub const PASSING: &[i32] = &[91, 189, 10107, 11600, 11602, 13435, 13436];
}

/// A command that the server refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: i32,
    pub message: String,
}

impl Refusal {
    /// The refusal in an answer; none if the command was done. Writes are refused one by one in `writeErrors`.
    pub fn of(answer: &RawDocument) -> Option<Self> {
        let done = answer.get_f64("ok").map(|ok| ok > 0.0);
        let done = done.or_else(|_| answer.get_i32("ok").map(|ok| ok > 0)).unwrap_or(false);
        if !done {
            return Some(Self::read(answer));
        }
        let first = answer.get_array("writeErrors").ok()?.into_iter().next()?.ok()?;
        Some(Self::read(first.as_document()?))
    }

    fn read(refusal: &RawDocument) -> Self {
        let said = refusal.get_str("errmsg").unwrap_or("no reason was given");
        let plain = said.chars().filter(|character| !character.is_control()).take(WORDS).collect();
        Self { code: refusal.get_i32("code").unwrap_or_default(), message: plain }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (code {})", self.message, self.code)
    }
}

impl std::error::Error for Refusal {}

/// Turns a refusal into what an operator can act on; `attempt` fits after "trying to".
pub(super) fn refused(refusal: Refusal, attempt: &str, place: &str, user: &str) -> Error {
    let error = match refusal.code {
        code::UNAUTHORIZED if user.is_empty() => {
            Error::input(format!("MongoDB at {place} asks who one is, and the connection names no user"))
                .remedy("Give the connection `user` and `password`.")
        }
        code::UNAUTHORIZED => Error::input(format!("user {user} may not {attempt} at {place}"))
            .remedy("Give the user the privileges that the blueprint's page lists: db.grantRolesToUser(…)."),
        code::COMMAND_NOT_FOUND => {
            Error::input(format!("what listens at {place} does not know what is needed to {attempt}")).remedy(
                "Connect to mongod of MongoDB 5.0 or later; services and other servers that speak its protocol lack the command.",
            )
        }
        code::MAX_TIME_EXPIRED => Error::temporary(format!("MongoDB at {place} took too long to {attempt}"))
            .remedy("See db.currentOp() for what keeps it busy, and try again."),
        code::SNAPSHOT_TOO_OLD | code::SNAPSHOT_UNAVAILABLE => {
            Error::failed(format!("MongoDB at {place} does not keep its history long enough to {attempt}")).remedy(
                "Raise it for longer than the dump takes: db.adminCommand({setParameter: 1, minSnapshotHistoryWindowInSeconds: 3600}); or use the blueprint mongodb.",
            )
        }
        code if code::PASSING.contains(&code) => {
            Error::temporary(format!("MongoDB at {place} is stopping or changing its role, on trying to {attempt}"))
                .remedy("Try again when the set has settled; see rs.status().")
        }
        _ => Error::failed(format!("MongoDB at {place} refuses to {attempt}"))
            .remedy("Look into the server's log."),
    };
    error.because(refusal)
}

/// The login is refused.
pub(super) fn locked_out(refusal: Refusal, target: &Target) -> Error {
    let (place, user) = (target.place(), &target.settings.user);
    let source = &target.settings.auth_source;
    let error = match refusal.code {
        code::MECHANISM_UNAVAILABLE => {
            Error::input(format!("user {user} at {place} cannot log in by SCRAM-SHA-256")).remedy(
                "Set the user's password anew on MongoDB 4.0 or later: db.updateUser(name, {pwd: passwordPrompt()}).",
            )
        }
        code::AUTHENTICATION_FAILED => {
            Error::input(format!("user {user} of database {source}, or the password, is wrong at {place}"))
                .remedy("Correct `user`, `password` or `authSource` of the connection.")
        }
        _ => return refused(refusal, "log in", &place, user),
    };
    error.because(refusal)
}

/// A user is named, and nothing to prove it with.
pub(super) fn no_password(target: &Target) -> Error {
    let user = &target.settings.user;
    Error::input(format!("user {user} has no password in the connection to {}", target.place()))
        .remedy("Give the connection a `password`.")
}

/// The server does not know the password that it asks for.
pub(super) fn impostor(place: &str) -> Error {
    Error::input(format!("what listens at {place} does not prove that it knows the user's password"))
        .remedy("Check `host` and `port`: somebody else may listen there.")
}

/// The server cannot be reached.
pub(super) fn unreachable(cause: io::Error, place: &str) -> Error {
    let error = match cause.kind() {
        io::ErrorKind::ConnectionRefused => Error::input(format!("nobody listens at {place}"))
            .remedy("Start the server, or correct `host` and `port` of the connection."),
        _ => Error::input(format!("cannot connect to MongoDB at {place}"))
            .remedy("Check `host` and `port` of the connection, and that a firewall lets it through."),
    };
    error.because(cause)
}

/// The handshake of TLS broke off.
pub(super) fn not_secured(cause: io::Error, place: &str) -> Error {
    let error = match tls_fault(&cause) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            Error::input(format!("the TLS certificate of MongoDB at {place} is not trusted"))
                .remedy("Set `sslRootCert` to the authority that signed it, connect by the name it is for, or choose a weaker `sslmode` knowingly.")
        }
        Some(rustls::Error::AlertReceived(_)) => {
            Error::input(format!("MongoDB at {place} refuses our side of TLS"))
                .remedy("Set `sslCert` and `sslKey` to a certificate that the server's CA file signed.")
        }
        _ => Error::input(format!("TLS with MongoDB at {place} fails"))
            .remedy("Check that this port has TLS; set `sslmode: disable` if it has not."),
    };
    error.because(cause)
}

fn tls_fault(cause: &io::Error) -> Option<&rustls::Error> {
    cause.get_ref().and_then(|inner| inner.downcast_ref())
}

/// The first question was not answered in MongoDB's protocol.
pub(super) fn no_mongodb(place: &str, cause: io::Error) -> Error {
    // From TLS 1.3 on a server looks at our certificate after the handshake.
    if tls_fault(&cause).is_some() {
        return not_secured(cause, place);
    }
    Error::input(format!("what listens at {place} does not answer as MongoDB"))
        .remedy("Check that `host` and `port` are MongoDB's, and whether the port has TLS (`sslmode`).")
        .because(cause)
}

/// Nobody answered in time on connecting.
pub(super) fn no_answer(place: &str, within: Duration) -> Error {
    Error::input(format!("no answer from MongoDB at {place} within {}", show_duration(within)))
        .remedy("Check `host` and `port` of the connection, that a firewall lets it through, and whether the port has TLS (`sslmode`).")
}

/// The session ended in the middle of something.
pub(super) fn lost(attempt: &str, place: &str, cause: io::Error) -> Error {
    Error::temporary(format!("lost the session with MongoDB at {place} on trying to {attempt}"))
        .remedy("Check that the server runs, and look into its log.")
        .because(cause)
}

/// A command that was not answered before its deadline.
pub(super) fn silent(attempt: &str, place: &str, within: Duration) -> Error {
    Error::temporary(format!(
        "MongoDB at {place} gave no answer within {} on trying to {attempt}",
        show_duration(within)
    ))
    .remedy("Check the network, and see db.currentOp() for what keeps it busy.")
}

/// The server's answer is not what the manual says.
pub(super) fn strange(attempt: &str, place: &str) -> Error {
    Error::failed(format!("the answer of {place} is not understood on trying to {attempt}"))
        .remedy("Check that it is MongoDB, not another server that speaks its protocol.")
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, doc};

    use super::*;

    fn refusal(answer: &bson::Document) -> Option<Refusal> {
        Refusal::of(&RawDocumentBuf::try_from(answer).unwrap())
    }

    #[test]
    fn a_refusal_is_found_in_each_of_its_forms() {
        assert_eq!(refusal(&doc! {"ok": 1.0}), None);
        assert_eq!(refusal(&doc! {"ok": 1, "writeErrors": []}), None);
        assert_eq!(
            refusal(&doc! {"ok": 0.0, "code": 13, "errmsg": "no\n\u{1b}[31m"}).unwrap().message,
            "no[31m"
        );
        assert_eq!(
            refusal(&doc! {"ok": 1.0, "writeErrors": [{"code": 11000, "errmsg": "x"}]}).unwrap().code,
            11000
        );
        assert_eq!(refusal(&doc! {}).unwrap().code, 0);
    }

    #[test]
    fn a_missing_privilege_and_a_missing_user_are_told_apart() {
        let refusal = Refusal { code: code::UNAUTHORIZED, message: "not authorized".into() };
        let said = refused(refusal.clone(), "lock", "db:1", "").to_string();
        assert!(said.contains("names no user"), "{said}");
        let said = refused(refusal, "lock", "db:1", "backup").to_string();
        assert!(said.contains("user backup may not lock"), "{said}");
    }
}
