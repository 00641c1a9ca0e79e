//! `pair` and `session`: holds of the author's own, kept by a keeper that does not depend on the runner.

use std::time::Duration;

use super::{
    Performed,
    command::{command, secret_names},
    hook::{hold, intend_hold},
};
use crate::{
    Result,
    journal::Undo,
    language::{Environment, PairStep, SessionStep, Template, render_text},
    plan::duration,
    runner::world::StepContext,
    runtime::{KeeperProgram, KeeperSpec},
};

/// Commands that acquire, prove and let go.
pub(super) async fn pair(context: &StepContext, step: &PairStep) -> Result<Performed> {
    let command = |argv: &[Template]| command(context, &context.scope, argv, &step.env, None);
    let confirm = match &step.confirm {
        Some(confirm) => Some((command(&confirm.command)?, confirm.expect.clone())),
        None => None,
    };
    let program =
        KeeperProgram::Pair { acquire: command(&step.acquire)?, confirm, release: command(&step.release)? };
    kept(context, program, step.lease.as_ref(), &step.env).await
}

/// An interactive client that is kept open.
pub(super) async fn session(context: &StepContext, step: &SessionStep) -> Result<Performed> {
    let text = |template: &Template| render_text(template, &context.scope);
    let lines = |templates: &[Template]| templates.iter().map(text).collect::<Result<Vec<_>>>();
    let program = KeeperProgram::Session {
        client: command(context, &context.scope, &step.command, &step.env, None)?,
        send: lines(&step.send)?,
        until: step.until.clone(),
        keep_alive: step.keep_alive.as_ref().map(text).transpose()?,
        confirm: match &step.confirm {
            Some(confirm) => Some((text(&confirm.send)?, confirm.until.clone())),
            None => None,
        },
        release: lines(&step.release)?,
        release_until: step.release_until.clone(),
        survives_client: step.survives_client,
    };
    kept(context, program, step.lease.as_ref(), &step.env).await
}

async fn kept(
    context: &StepContext,
    program: KeeperProgram,
    lease: Option<&Template>,
    environment: &Environment,
) -> Result<Performed> {
    let lease: Duration = duration(lease, context.lease(), &context.scope)?;
    let name = context.world.plan.qualified(context.step.label());
    let spec = KeeperSpec { name, program, lease, timeout: lease.max(Duration::from_secs(5)) };
    let runtime = std::sync::Arc::clone(&context.world.host.runtime);
    let record = runtime.keeper_record(&spec, &context.world.run)?;
    let undo = Undo::Runtime { record: record.clone(), secrets: secret_names(environment) };
    intend_hold(context, undo).await?;
    let acquiring = async move { runtime.keep(&spec, &record).await };
    let outputs = hold(context, context.step.timeout, lease, acquiring).await?;
    Ok(Performed { outputs, ..Performed::default() })
}
