//! What all servers' hooks say in the same words.

use standstill_core::{Error, ErrorKind};

/// Says of any error that the hold it came from is no more. A remedy that the error has is kept.
pub(crate) fn lapse(error: Error, what: &str) -> Error {
    if error.kind() == ErrorKind::HoldLapsed {
        return error;
    }
    let lapsed = lapsed(format!("{what} lapsed"));
    match error.remedy_text().map(ToOwned::to_owned) {
        Some(remedy) => lapsed.remedy(remedy),
        None => lapsed,
    }
    .because(error)
}

/// A hold is no more.
pub(crate) fn lapsed(what: impl Into<String>) -> Error {
    Error::lapsed(what)
        .remedy("Run the backup again; nothing is held any more. If it repeats, look into the server's log.")
}

/// A service address may lead to another replica each time.
pub(crate) fn another_server(place: &str) -> Error {
    Error::failed(format!("{place} leads to another server than a moment ago")).remedy(
        "Connect to the address of one server, not to a load balancer or a service with several members.",
    )
}
