//! Waiting for work that may take long, without losing the run's cancellation or a session.

use std::{future::Future, time::Duration};

use standstill_core::{Error, Result, hook::HookContext};

/// Waits for work; when the step is cancelled `end` has the server end it, best effort.
///
/// # Errors
/// What the work fails with, or the cancellation.
pub(crate) async fn cancellable<T>(
    context: &HookContext,
    (attempt, place): (&str, &str),
    work: impl Future<Output = Result<T>>,
    end: impl Future<Output = ()>,
) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = context.cancel.cancelled() => {
            end.await;
            Err(Error::cancelled(format!("cancelled on trying to {attempt} at {place}")))
        }
    }
}

/// Does work elsewhere while a session is kept from falling idle: `keep` asks it something.
///
/// # Errors
/// When the session is gone; the work is given up then.
pub(crate) async fn awake<T, K>(
    every: Duration,
    work: impl Future<Output = T>,
    keep: impl Fn() -> K,
) -> Result<T>
where
    K: Future<Output = Result<()>>,
{
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(every) => keep().await?,
        }
    }
}
