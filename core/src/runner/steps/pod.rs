//! `pod`: a command in a pod of its own; a process where there are none.

use super::{
    Performed,
    command::{command, secret_names},
    exec::judged,
    own_words,
};
use crate::{
    Result,
    cluster::{PodSpec, Pods},
    language::{PodStep, Template, render_text},
    runner::{temporary::Temporary, world::StepContext},
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

/// Runs it in a pod that is in the journal before it is made, and is removed at once when the command has ended.
async fn in_pod(context: &StepContext, pods: &dyn Pods, spec: &PodSpec) -> Result<Output> {
    let (world, id) = (&context.world, &context.step.id);
    let pod = Temporary {
        runtime: world.host.runtime.as_ref(),
        ledger: &world.ledger,
        id,
        what: format!("the pod of {id}"),
        within: "the cluster",
    };
    pod.remove_earlier().await?;
    let record = pods.intend(spec, &world.run)?;
    let run = pods.run(spec, &record, own_words(context.step.timeout), &context.cancel);
    pod.during(record.clone(), run).await
}
