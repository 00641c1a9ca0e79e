//! What etcd's refusals mean, and what to do about them.

use standstill_core::Error;

use super::rpc::Refusal;

/// Turns a refusal into what an operator can act on; `attempt` fits after "trying to". The words are those of etcd's
/// `rpctypes/error.go`, the same from 3.4 to 3.6.
pub(super) fn refused(refusal: Refusal, attempt: &str, place: &str, user: &str) -> Error {
    let said = refusal.message.clone();
    let says = |text: &str| said.contains(text);
    let error = if says("user name is empty") || (says("invalid auth token") && user.is_empty()) {
        Error::input(format!("etcd at {place} asks who one is, and the connection names no user")).remedy(
            "Give the connection `user` and `password`, or `sslCert` and `sslKey` of a user's certificate.",
        )
    } else if says("authentication failed") || says("user name not found") {
        Error::input(format!("the password for user {user} is wrong at {place}"))
            .remedy("Correct the connection's `user` or `password`.")
    } else if says("permission denied") {
        Error::input(format!("user {user} may not {attempt} at {place}")).remedy(format!(
            "Give it the role that etcd asks for this: `etcdctl user grant-role {user} root`."
        ))
    } else if says("invalid auth token") || says("revision of auth store is old") {
        Error::temporary(format!("etcd at {place} does not know our login any more, on trying to {attempt}"))
            .remedy("Run the backup again.")
    } else if says("no leader") || says("request timed out") || says("leader changed") {
        Error::temporary(format!("the cluster of {place} has no leader that answers, on trying to {attempt}"))
            .remedy("See `etcdctl endpoint status --cluster`: more than half of the members must run.")
    } else if says("learner") {
        learner(place)
    } else if refusal.code == 12 {
        Error::input(format!("etcd at {place} is too old: it does not know how to {attempt}"))
            .remedy("Upgrade to etcd 3.4 or later.")
    } else {
        Error::failed(format!("etcd at {place} refuses to {attempt}")).remedy("Look into the server's log.")
    };
    error.because(refusal)
}

/// A user is named, and nothing to prove it with.
pub(super) fn no_password(place: &str, user: &str) -> Error {
    Error::input(format!("etcd at {place} does not let user {user} in without a password"))
        .remedy("Give the connection a `password`; where a certificate says who one is, leave `user` out.")
}

/// A learner has what it was sent so far, which may be nothing.
pub(super) fn learner(place: &str) -> Error {
    Error::input(format!("the member at {place} is a learner, whose copy may be far behind"))
        .remedy("Connect to a voting member, or wait until this one was promoted.")
}
