//! The runner's side of a helper process.

use std::time::Duration;

use serde::de::DeserializeOwned;
use standstill_core::{Error, Result, hook::HookContext, runtime::Command};

use super::task::Task;
use crate::helper::{Link, answer};

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

/// Starts a helper that takes orders.
pub(super) async fn start(context: &HookContext, task: &Task) -> Result<Link> {
    Link::start(context, &command(context, task)?).await
}

fn command(context: &HookContext, task: &Task) -> Result<Command> {
    let task = serde_json::to_string(task).map_err(|cause| {
        Error::input("a path is not UTF-8").remedy("Rename the volume's directory or file.").because(cause)
    })?;
    Ok(context.runtime.agent(&["hold", "sqlite", &task]))
}
