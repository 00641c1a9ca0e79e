//! The runner's side of a helper process.

use std::time::{Duration, Instant};

use serde::{Serialize, de::DeserializeOwned};
use standstill_core::{
    Error, Result,
    hook::HookContext,
    runtime::{Command, Exit, Session},
    secret::Secret,
    units::show_duration,
};
use tokio::time::timeout;

use super::wire::{Outcome, Reply, Request};

/// How long a helper may take to come up.
const START: Duration = Duration::from_secs(10);

/// Reads a line of a helper.
///
/// # Errors
/// When it is no answer; what the helper itself failed at is in the inner result.
pub(crate) fn answer<T: DeserializeOwned>(line: &str) -> Result<(u64, Result<T>)> {
    let strange =
        |cause| Error::failed(format!("the helper answered `{line}`, which is no answer")).because(cause);
    let reply: Reply = serde_json::from_str(line).map_err(strange)?;
    Ok((
        reply.id,
        match reply.outcome {
            Outcome::Done(value) => Ok(serde_json::from_value(value).map_err(strange)?),
            Outcome::Failed(fault) => Err(fault.into()),
        },
    ))
}

/// A helper that takes orders. Dropping it closes the helper's standard input, which it takes as the order to let go
/// and end.
pub(crate) struct Link {
    session: Box<dyn Session>,
    last: u64,
}

impl Link {
    /// Starts a helper and waits until it is ready for orders.
    pub(crate) async fn start(context: &HookContext, command: &Command) -> Result<Self> {
        let session = context.runtime.session(command).await?;
        let mut link = Self { session, last: 0 };
        link.receive::<()>(0, START).await?;
        Ok(link)
    }

    /// Gives an order and waits for its answer. If this is cancelled, the late answer is passed over by the next one.
    pub(crate) async fn request<T: DeserializeOwned>(
        &mut self,
        order: impl Serialize + Send,
        within: Duration,
    ) -> Result<T> {
        let late = || Error::failed(format!("the helper took no order within {}", show_duration(within)));
        let id = timeout(within, self.send(order)).await.map_err(|cause| late().because(cause))??;
        self.receive(id, within).await
    }

    async fn send(&mut self, order: impl Serialize + Send) -> Result<u64> {
        self.last += 1;
        let line = serde_json::to_string(&Request { id: self.last, order })
            .map_err(|cause| Error::failed("cannot write an order as JSON").because(cause))?;
        // An order may hold a password: the line is wiped when it was sent.
        let line = Secret::new(line);
        self.session.send(line.expose()).await?;
        Ok(self.last)
    }

    async fn receive<T: DeserializeOwned>(&mut self, id: u64, within: Duration) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            let line = self.session.receive(deadline.saturating_duration_since(Instant::now())).await?;
            // The wanted type is known only of the answer that is waited for.
            let (found, answer) = answer::<serde_json::Value>(&line)?;
            if found == id {
                let value = answer?;
                return serde_json::from_value(value)
                    .map_err(|cause| Error::failed(format!("the helper answered `{line}`")).because(cause));
            }
        }
    }

    /// Ends the helper; whatever it held is let go when this returns `Ok`.
    pub(crate) async fn close(&mut self, within: Duration) -> Result<Exit> {
        self.session.close(within).await
    }
}
