//! `wait`: until an expression holds.

use std::time::Duration;

use super::{Performed, exec::with_result, query::answer};
use crate::{
    Error, Result,
    language::{WaitStep, holds},
    plan::duration,
    runner::world::StepContext,
};

/// Asks until the expression holds; the step's timeout ends it.
pub(super) async fn wait(context: &StepContext, step: &WaitStep) -> Result<Performed> {
    let every = duration(step.every.as_ref(), Duration::from_secs(1), &context.scope)?;
    loop {
        let answer = answer(context, step).await?;
        if holds(&step.until, &with_result(&context.scope, answer))? {
            return Ok(Performed::default());
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = context.cancel.cancelled() => return Err(Error::cancelled("the wait was ended")),
        }
    }
}
