//! The runner's side of a helper process.

use std::time::{Duration, Instant};

use serde::{Serialize, de::DeserializeOwned};
use standstill_core::{
    Error, Result,
    hook::HookContext,
    runtime::{Command, Exit, Session},
    units::show_duration,
};
use tokio::time::timeout;

use super::task::{Outcome, Reply, Request, Task};

/// How long a helper may take to come up.
const START: Duration = Duration::from_secs(10);

/// Has a helper do one task.
pub(super) async fn ask<T: DeserializeOwned>(
    context: &HookContext,
    task: &Task,
    within: Duration,
) -> Result<T> {
    let output = context.runtime.exec(&command(context, task)?, within, &context.cancel).await?;
    match output.stdout.lines().next_back().map(answer::<T>) {
        Some(answer) => answer.and_then(|(_, answer)| answer),
        None => Err(Error::failed(format!(
            "the SQLite helper ended with {} and no answer: {}",
            output.exit,
            output.stderr.trim()
        ))),
    }
}

fn command(context: &HookContext, task: &Task) -> Result<Command> {
    let task = serde_json::to_string(task).map_err(|cause| {
        Error::input("a path is not UTF-8").remedy("Rename the volume's directory or file.").because(cause)
    })?;
    Ok(context.runtime.agent(&["hold", "sqlite", &task]))
}

fn answer<T: DeserializeOwned>(line: &str) -> Result<(u64, Result<T>)> {
    let strange = |cause| {
        Error::failed(format!("the SQLite helper answered `{line}`, which is no answer")).because(cause)
    };
    let reply: Reply = serde_json::from_str(line).map_err(strange)?;
    Ok((
        reply.id,
        match reply.outcome {
            Outcome::Done(value) => Ok(serde_json::from_value(value).map_err(strange)?),
            Outcome::Failed(fault) => Err(fault.into()),
        },
    ))
}

/// A helper that takes orders.
pub(super) struct Link {
    session: Box<dyn Session>,
    last: u64,
}

impl Link {
    /// Starts a helper and waits until it is ready for orders.
    pub(super) async fn start(context: &HookContext, task: &Task) -> Result<Self> {
        let session = context.runtime.session(&command(context, task)?).await?;
        let mut link = Self { session, last: 0 };
        link.receive::<()>(0, START).await?;
        Ok(link)
    }

    /// Gives an order and waits for its answer. If this is cancelled, the late answer is passed over by the next one.
    pub(super) async fn request<T: DeserializeOwned>(
        &mut self,
        order: impl Serialize + Send,
        within: Duration,
    ) -> Result<T> {
        let late =
            || Error::failed(format!("the SQLite helper took no order within {}", show_duration(within)));
        let id = timeout(within, self.send(order)).await.map_err(|cause| late().because(cause))??;
        self.receive(id, within).await
    }

    async fn send(&mut self, order: impl Serialize + Send) -> Result<u64> {
        self.last += 1;
        let line = serde_json::to_string(&Request { id: self.last, order })
            .map_err(|cause| Error::failed("cannot write an order as JSON").because(cause))?;
        self.session.send(&line).await?;
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
                return serde_json::from_value(value).map_err(|cause| {
                    Error::failed(format!("the SQLite helper answered `{line}`")).because(cause)
                });
            }
        }
    }

    /// Ends the helper; whatever it held is let go when this returns `Ok`.
    pub(super) async fn close(&mut self, within: Duration) -> Result<Exit> {
        self.session.close(within).await
    }
}
