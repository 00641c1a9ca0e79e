//! SIGINT and SIGTERM: the first one ends the run in good order.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGINT, SIGTERM or SIGHUP. A second one changes nothing: a database that is
/// held must be let go first, and that has its own deadline.
pub fn cancellation() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let token = token.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if token.is_cancelled() {
                    tracing::warn!("still letting go; this ends by itself");
                } else {
                    tracing::warn!("ending the run: letting go first");
                    token.cancel();
                }
            }
        });
    }
    Ok(token)
}
