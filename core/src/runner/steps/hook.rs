//! `hook`: a verb of a hook; one that acquires a hold is put on the thread of the holds.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Performed;
use crate::{
    Error, Result,
    hook::{Acquired, Hook, HookContext},
    journal::{Event, Undo},
    language::HookStep,
    point::Outputs,
    runner::{
        holds::{Wanted, late},
        target::render_arguments,
        world::{StepContext, locked},
    },
    runtime::Producer,
};

/// A hook step, ready to be done.
struct Ready {
    hook: Arc<dyn Hook>,
    verb: String,
    context: HookContext,
    arguments: serde_json::Value,
}

fn ready(context: &StepContext, step: &HookStep) -> Result<Ready> {
    let (name, verb) = step
        .verb
        .split_once('/')
        .ok_or_else(|| Error::input(format!("`{}` is not a verb of a hook (HOOK/VERB)", step.verb)))?;
    let hook_context = context.hook_context(
        name,
        step.connection.as_deref(),
        step.volume.as_deref(),
        step.service.as_deref(),
    )?;
    let arguments = render_arguments(&step.with, &context.world.plan.blueprint, &context.scope)?;
    Ok(Ready { hook: context.world.hook(name)?, verb: verb.to_owned(), context: hook_context, arguments })
}

/// A verb that gives a stream.
pub(super) async fn produce(context: &StepContext, step: &HookStep) -> Result<Box<dyn Producer>> {
    let Ready { hook, verb, context: hook_context, arguments } = ready(context, step)?;
    hook.stream(&verb, &hook_context, &arguments).await
}

/// A verb that holds nothing.
pub(super) async fn call(context: &StepContext, step: &HookStep) -> Result<Performed> {
    let Ready { hook, verb, context: hook_context, arguments } = ready(context, step)?;
    let called = hook.call(&verb, &hook_context, &arguments).await?;
    context.froze(called.froze);
    Ok(called.into())
}

/// A verb that acquires a hold: its undo is in the journal before it is touched.
pub(super) async fn acquire(context: &StepContext, step: &HookStep) -> Result<Performed> {
    let Ready { hook, verb, context: hook_context, arguments } = ready(context, step)?;
    let record = hook.undo_record(&verb, &hook_context, &arguments)?;
    let undo = Undo::Hold {
        hook: hook.describe().name.to_owned(),
        connection: step.connection.clone(),
        volume: step.volume.clone(),
        record,
    };
    intend_hold(context, undo).await?;
    let (deadline, lease) = (context.step.timeout, context.lease());
    let acquiring = async move { hook.acquire(&verb, &hook_context, &arguments).await };
    let outputs = hold(context, deadline, lease, acquiring).await?;
    Ok(Performed { outputs, ..Performed::default() })
}

/// Writes the intent of a hold; a second attempt needs no second one.
pub(super) async fn intend_hold(context: &StepContext, undo: Undo) -> Result<()> {
    let intended = |event: &Event| matches!(event, Event::Intent { step, .. } if *step == context.step.id);
    if context.world.ledger.events().iter().any(intended) {
        return Ok(());
    }
    context.world.ledger.intend(&context.step.id, undo, false).await
}

/// Has a hold acquired, puts it where the runner finds it, and starts the clock of its ceiling; its outputs.
pub(super) async fn hold(
    context: &StepContext,
    deadline: Duration,
    lease: Duration,
    acquiring: impl Future<Output = Result<Acquired>> + Send + 'static,
) -> Result<Outputs> {
    let world = &context.world;
    let wanted = Wanted {
        deadline,
        lease,
        blocks_writes: context.step.hold.is_some_and(|traits| traits.blocks_writes),
        journal: world.ledger.journal(),
        cancel: context.cancel.clone(),
    };
    let (live, outputs) = world.thread.acquire(wanted, acquiring).await?;
    let (step, live) = (&context.step.id, Arc::new(live));
    locked(&world.meter).held(step, live.blocks_writes, live.since, world.plan.limits);
    locked(&world.holds).insert(step.clone(), Arc::clone(&live));
    // Whoever lets go of everything may have looked for it right before.
    if context.cancel.is_cancelled() && locked(&world.holds).remove(step).is_some() {
        let released = world.thread.release(&live, lease).await;
        locked(&world.meter).released(step, Instant::now());
        return Err(late(released));
    }
    Ok(outputs)
}

/// Lets go of what a failed attempt may have acquired, so that the next one begins from nothing.
pub(super) async fn undo_failed(context: &StepContext) -> Result<()> {
    crate::runner::execution::undo(&context.world, &context.step.id).await.map(|_| ())
}
