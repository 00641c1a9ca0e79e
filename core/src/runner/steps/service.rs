//! `service`: a server that lives until the action ends.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    Performed,
    command::{command, run_as},
};
use crate::{
    Error, ErrorKind, Result,
    language::{Environment, Ready, ServiceStep, StopSignal, references, render_value},
    plan::duration,
    runner::world::{Running, StepContext, locked},
    runtime::{Service, ServiceSpec},
};

/// Starts the server and waits until it is ready.
pub(super) async fn start(context: &StepContext, step: &ServiceStep) -> Result<Performed> {
    let name = context.step.step.name.clone().unwrap_or_else(|| context.step.id.clone());
    let runtime = &context.world.host.runtime;
    let run_as = run_as(context, step.run_as, step.volumes.first().map(String::as_str))?;
    let port = match &step.port {
        Some(port) => {
            render_value(&port.0, &context.scope)?.as_u64().and_then(|port| u16::try_from(port).ok())
        }
        None => None,
    };
    let called = context.world.plan.qualified(&name);
    let endpoint = runtime.endpoint(&called, &context.world.scratch()?, &run_as, port).await?;
    if let Some(wished) = port.filter(|wished| *wished != endpoint.port && !says_port(step, &name)) {
        return Err(Error::input(format!(
            "port {wished}, which the service {name} is to have, is something else's on this machine"
        ))
        .remedy(format!(
            "Write `{{{{ services.{name}.port }}}}` instead of the number, so that a free port is taken; or end what listens there."
        )));
    }
    let outputs = json!({"host": endpoint.host, "port": endpoint.port, "socketDir": endpoint.socket_dir});
    let mut scope = (*context.scope).clone();
    scope.set_path(&["services", &name], outputs.clone());

    let mut command = command(context, &scope, &step.command, &step.env, None)?;
    command.run_as = run_as.clone();
    let signal = match step.stop.as_ref().and_then(|stop| stop.signal) {
        Some(StopSignal::Int) => "INT",
        Some(StopSignal::Quit) => "QUIT",
        Some(StopSignal::Term) | None => "TERM",
    };
    let stop_timeout = step.stop.as_ref().and_then(|stop| stop.timeout.as_ref());
    let spec = ServiceSpec {
        name: called,
        command,
        endpoint: endpoint.clone(),
        stop_signal: signal.to_owned(),
        stop_timeout: duration(stop_timeout, Duration::from_secs(30), &scope)?,
    };
    locked(&context.world.meter).recovering();
    let service = runtime.service(&spec).await?;
    let running = Running { service: Arc::clone(&service), endpoint, run_as };
    locked(&context.world.services).insert(name.clone(), running);
    let within = duration(step.ready.timeout.as_ref(), Duration::from_mins(5), &scope)?;
    let ready = StepContext { scope: Arc::new(scope), ..context.clone() };
    match tokio::time::timeout(within, until_ready(&ready, &name, &step.ready, service.as_ref())).await {
        Ok(outcome) => outcome?,
        Err(_) => {
            return Err(Error::failed(format!(
                "the service {name} was not ready within {within:?}: {}",
                service.log()
            ))
            .remedy("Set `ready.timeout` higher, or see its log above."));
        }
    }
    locked(&context.world.meter).recovered();
    let outputs = outputs.as_object().cloned().unwrap_or_default().into_iter().collect();
    Ok(Performed { outputs, ..Performed::default() })
}

/// Whether what the author wrote goes by the port that was chosen.
fn says_port(step: &ServiceStep, name: &str) -> bool {
    let written = serde_json::to_value(step).unwrap_or_default();
    references(&written).iter().any(|path| path.iter().map(String::as_str).eq(["services", name, "port"]))
}

/// Asks until the server is ready, or has ended.
async fn until_ready(context: &StepContext, name: &str, ready: &Ready, service: &dyn Service) -> Result<()> {
    loop {
        if let Some((exit, log)) = service.ended() {
            return Err(Error::failed(format!(
                "the service {name} ended with {exit} before it was ready: {log}"
            ))
            .remedy("Its log says why."));
        }
        match ask(context, name, ready).await {
            // Whoever answered must be the service: what another server has proves nothing.
            Ok(true) if service.is_answered_by_another() => {
                return Err(Error::failed(format!(
                    "the port of the service {name} was taken by another process before the service listened"
                ))
                .remedy("Run it again: another port is chosen."));
            }
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::Temporary => {}
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            () = context.cancel.cancelled() => {
                return Err(Error::cancelled(format!("the start of the service {name} was ended")));
            }
        }
    }
}

async fn ask(context: &StepContext, name: &str, ready: &Ready) -> Result<bool> {
    if let Some(verb) = &ready.hook {
        let (hook, verb) = verb
            .split_once('/')
            .ok_or_else(|| Error::input(format!("`{verb}` is not a verb of a hook (HOOK/VERB)")))?;
        let hook_context = context.hook_context(hook, None, None, Some(name))?;
        context.world.hook(hook)?.call(verb, &hook_context, &json!({})).await?;
        return Ok(true);
    }
    if let Some(argv) = &ready.command {
        let command =
            command(context, &context.scope, argv, &Environment::new(), Some(&format!("services.{name}")))?;
        let output =
            context.world.host.runtime.exec(&command, Duration::from_secs(10), &context.cancel).await?;
        return Ok(output.exit.is_success());
    }
    Err(Error::input("a service says when it is ready by `hook` or `command`"))
}
