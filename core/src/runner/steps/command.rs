//! From the language's commands to the runtime's.

use std::collections::BTreeMap;

use crate::{
    Error, Result,
    language::{As, Environment, Scope, Template, render_text},
    plan::is_left_out,
    runner::world::StepContext,
    runtime::{Command, RunAs},
};

/// Renders a command line; empty arguments of optional parameters are kept, an empty program is refused.
pub(super) fn argv(templates: &[Template], scope: &Scope) -> Result<Vec<String>> {
    let argv = templates.iter().map(|part| render_text(part, scope)).collect::<Result<Vec<_>>>()?;
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(argv),
        _ => Err(Error::input("the command names no program")),
    }
}

/// A command of a step, with its environment; `place` is where it runs.
pub(super) fn command(
    context: &StepContext,
    scope: &Scope,
    templates: &[Template],
    environment: &Environment,
    place: Option<&str>,
) -> Result<Command> {
    let mut command = Command::new(argv(templates, scope)?);
    command.place = context.world.plan.place(&context.step.step);
    for (name, value) in environment {
        match value.parameter() {
            Some(parameter) => {
                // An optional secret without a value is left out.
                if let Some(secret) = context.world.target().secrets.get(parameter) {
                    command.secret_env.insert(name.clone(), secret.clone());
                }
            }
            None if is_left_out(&value.0, &context.world.plan.blueprint, scope) => {}
            None => {
                command.env.insert(name.clone(), render_text(&Template(value.0.clone()), scope)?);
            }
        }
    }
    if let Some(service) = place.filter(|place| place.starts_with("services.")) {
        command.run_as = context.service(service)?.run_as;
    }
    Ok(command)
}

/// Which secret parameters an environment needs: for the journal, which never holds their values.
pub(super) fn secret_names(environment: &Environment) -> BTreeMap<String, String> {
    environment
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.parameter()?.to_owned())))
        .collect()
}

/// Who a process runs as.
pub(super) fn run_as(context: &StepContext, run_as: As, volume: Option<&str>) -> Result<RunAs> {
    match (run_as, volume) {
        (As::Runner, _) => Ok(RunAs::Runner),
        (As::VolumeOwner, Some(volume)) => Ok(RunAs::OwnerOf(context.volume_path(volume)?)),
        (As::VolumeOwner, None) => {
            Err(Error::input(format!("{} runs as the owner of a volume, and names none", context.step.id))
                .remedy("Name a volume."))
        }
    }
}
