//! `pod`: a command in a pod of its own; a process where there are none.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Performed,
    command::{command, secret_names},
    exec::judged,
    own_words,
};
use crate::{
    Error, Result,
    cluster::{PodSpec, Pods},
    journal::{Event, Undo},
    language::{PodStep, Template, render_text},
    runner::world::StepContext,
    runtime::{Command, Output},
};

/// Runs the command and judges its result.
pub(super) async fn pod(context: &StepContext, step: &PodStep) -> Result<Performed> {
    let runtime = &context.world.host.runtime;
    let command = command(context, &context.scope, &step.command, &step.env, None)?;
    let output = match runtime.pods() {
        Some(pods) => in_pod(context, pods.as_ref(), &spec(context, step, &command)?).await?,
        None => runtime.exec(&command, context.step.timeout, &context.cancel).await?,
    };
    judged(context, command.program(), step.expect.as_deref(), &output)
}

fn spec(context: &StepContext, step: &PodStep, command: &Command) -> Result<PodSpec> {
    let text = |template: &Template| render_text(template, &context.scope);
    let quantity = |template: Option<&Template>| template.map(text).transpose();
    let resources = step.resources.as_ref();
    let mut secret_env = secret_names(&step.env);
    // An optional secret without a value is left out.
    secret_env.retain(|name, _| command.secret_env.contains_key(name));
    Ok(PodSpec {
        step: context.step.id.clone(),
        image: text(&step.image)?,
        argv: command.argv.clone(),
        env: command.env.clone(),
        secret_env,
        volumes: step.volumes.iter().map(|name| context.volume_path(name)).collect::<Result<_>>()?,
        security: step.security,
        cpu: quantity(resources.and_then(|resources| resources.cpu.as_ref()))?,
        memory: quantity(resources.and_then(|resources| resources.memory.as_ref()))?,
    })
}

/// Runs it in a pod that is in the journal before it is made, and is removed at once when the command has ended. Where
/// that does not succeed, or this future is dropped, another attempt or the end of the run does it, or `recover`.
async fn in_pod(context: &StepContext, pods: &dyn Pods, spec: &PodSpec) -> Result<Output> {
    let (ledger, id) = (&context.world.ledger, &context.step.id);
    if let Some(left) = ledger.open(id) {
        dispose(context, &left).await?;
    }
    let record = pods.intend(spec, &context.world.run)?;
    let undo = Undo::Runtime { record: record.clone(), secrets: BTreeMap::new() };
    ledger.intend(id, undo, false).await?;
    let output = pods.run(spec, &record, own_words(context.step.timeout), &context.cancel).await;
    if let Err(error) = dispose(context, &record).await {
        tracing::warn!("{}; it is tried again later", error.chain());
    }
    output
}

async fn dispose(context: &StepContext, record: &Value) -> Result<()> {
    let step = context.step.id.clone();
    context.world.host.runtime.dispose(record, &BTreeMap::new()).await.map_err(|error| {
        Error::failed(format!("the pod of {step} could not be removed"))
            .remedy("Run `standstill recover` once the cluster can be reached again.")
            .because(error)
    })?;
    context.world.ledger.note(Event::Disposed { step });
    Ok(())
}
