//! `exec`: a command in the target's place, or in a service.

use serde_json::{Value, json};

use super::{
    Performed,
    command::{command, run_as},
    judge,
};
use crate::{
    Result,
    language::{ExecStep, Scope, holds},
    runner::world::StepContext,
    runtime::Output,
};

/// Runs the command and judges its result.
pub(super) async fn exec(context: &StepContext, step: &ExecStep) -> Result<Performed> {
    let (program, output) = output(context, step).await?;
    judged(context, &program, step.expect.as_deref(), &output)
}

/// Judges how a program ended; its outputs.
pub(super) fn judged(
    context: &StepContext,
    program: &str,
    expect: Option<&str>,
    output: &Output,
) -> Result<Performed> {
    let result = result(output);
    let held = match expect {
        Some(expression) => holds(expression, &with_result(&context.scope, result.clone()))?,
        None => output.exit.is_success(),
    };
    let mut performed = judge(context, held, &format!("{program} ended with {}", output.exit), {
        let expected = expect.map_or_else(String::new, |expect| format!(", and not `{expect}`"));
        format!("{program} ended with {}{expected}: {}", output.exit, last_lines(output))
    })?;
    if let Value::Object(result) = result {
        performed.outputs.extend(result);
    }
    Ok(performed)
}

/// Runs the command; the program's name is for messages.
pub(super) async fn output(context: &StepContext, step: &ExecStep) -> Result<(String, Output)> {
    let mut command = command(context, &context.scope, &step.command, &step.env, step.place.as_deref())?;
    if !step.run_as.is_runner() {
        command.run_as = run_as(context, step.run_as, step.volume.as_deref())?;
    }
    let output = context.world.host.runtime.exec(&command, context.step.timeout, &context.cancel).await?;
    Ok((command.program().to_owned(), output))
}

/// What expressions see of a finished command.
pub(super) fn result(output: &Output) -> Value {
    let code = match output.exit {
        crate::runtime::Exit::Status(status) => Value::from(status),
        crate::runtime::Exit::Signal(signal) => Value::from(128 + signal),
        crate::runtime::Exit::Unknown => Value::Null,
    };
    json!({"exitCode": code, "stdout": output.stdout, "stderr": output.stderr})
}

/// The scope with `result` in it.
pub(super) fn with_result(scope: &Scope, result: Value) -> Scope {
    let mut scope = scope.clone();
    scope.insert("result", result);
    scope
}

fn last_lines(output: &Output) -> String {
    let text = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
    let lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(5).collect();
    if lines.is_empty() {
        "it said nothing".into()
    } else {
        lines.into_iter().rev().collect::<Vec<_>>().join("\n  ")
    }
}
