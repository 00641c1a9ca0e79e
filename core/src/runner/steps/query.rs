//! `query`: a question to the database, put by its hook's verb `query`.

use super::{
    Performed,
    exec::{result, with_result},
    judge,
};
use crate::{
    Error, Result,
    language::{QueryStep, holds},
    point::Outputs,
    runner::{target::render_arguments, world::StepContext},
};

/// Asks, and judges the answer if an expectation is given.
pub(super) async fn query(context: &StepContext, step: &QueryStep) -> Result<Performed> {
    let outputs = ask(context, step).await?;
    let mut performed = match &step.expect {
        Some(expression) => {
            let answer = serde_json::to_value(&outputs).unwrap_or_default();
            let held = holds(expression, &with_result(&context.scope, answer.clone()))?;
            judge(context, held, expression, format!("`{expression}` does not hold for {answer}"))?
        }
        None => Performed::default(),
    };
    performed.outputs.extend(outputs);
    Ok(performed)
}

/// Asks.
pub(super) async fn ask(context: &StepContext, step: &QueryStep) -> Result<Outputs> {
    let blueprint = &context.world.plan.blueprint;
    let declared = step.connection.as_ref().and_then(|name| blueprint.spec.connections.get(name));
    let name = step
        .hook
        .as_deref()
        .or_else(|| declared.map(crate::language::ConnectionSpec::hook))
        .or_else(|| blueprint.spec.connections.values().next().map(crate::language::ConnectionSpec::hook))
        .ok_or_else(|| Error::input("the query names no hook").remedy("Add `hook: NAME`."))?;
    let hook_context = context.hook_context(
        name,
        step.connection.as_deref(),
        step.volume.as_deref(),
        step.service.as_deref(),
    )?;
    let arguments = render_arguments(&step.with, blueprint, &context.scope)?;
    Ok(context.world.hook(name)?.call("query", &hook_context, &arguments).await?.outputs)
}

/// What a `wait` asks again and again.
pub(super) async fn answer(
    context: &StepContext,
    step: &crate::language::WaitStep,
) -> Result<serde_json::Value> {
    match (&step.exec, &step.query) {
        (Some(exec), None) => Ok(result(&super::exec::output(context, exec).await?.1)),
        (None, Some(query)) => Ok(serde_json::to_value(ask(context, query).await?).unwrap_or_default()),
        _ => Err(Error::input("a `wait` asks by exactly one of `exec` and `query`")),
    }
}
