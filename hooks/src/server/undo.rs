//! Reaching a server that a dead run may still hold.

use std::{
    io,
    time::{Duration, Instant},
};

use standstill_core::{Error, Result};

/// A session with the server, as soon as it has one: a hold that a dead run left takes a connection, too.
///
/// `None` when nobody has listened for a whole lease: a session does not outlive its server.
///
/// # Errors
/// When the server cannot be asked for a whole lease, for another reason.
pub(crate) async fn reach<S, F>(lease: Duration, open: impl Fn() -> F) -> Result<Option<S>>
where
    F: Future<Output = Result<S>>,
{
    let deadline = Instant::now() + lease;
    loop {
        match open().await {
            Ok(session) => return Ok(Some(session)),
            Err(error) if Instant::now() > deadline && nobody_listens(&error) => return Ok(None),
            Err(error) if Instant::now() > deadline => {
                return Err(error.during("look for what a dead run still holds"));
            }
            Err(error) => tracing::info!(error = error.chain(), "the server cannot be asked yet"),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn nobody_listens(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
        }
        cause = error.source();
    }
    false
}
