//! The steps: one file for each kind. A step is a function of its context; what it did is what it returns.

pub(super) mod cluster;
mod command;
mod exec;
mod hook;
mod keeper;
mod pod;
mod query;
mod service;
mod snapshot;
mod store;
mod stream;
mod wait;

use std::time::Duration;

use crate::{
    Error, ErrorKind, Result,
    hook::Called,
    language::{Phase, StepKind, holds, render_text},
    point::{Check, CheckOutcome, Fact, Outputs, StoredArtifact},
    units::show_duration,
};

use super::world::{StepContext, locked};

/// What a step did.
#[derive(Debug, Default)]
pub(super) struct Performed {
    pub(super) outputs: Outputs,
    pub(super) facts: Vec<Fact>,
    pub(super) checks: Vec<Check>,
    pub(super) artifacts: Vec<StoredArtifact>,
}

impl From<Called> for Performed {
    fn from(called: Called) -> Self {
        Self { outputs: called.outputs, facts: called.facts, checks: called.checks, artifacts: Vec::new() }
    }
}

/// Does a step, within its timeout and as often as it may be tried.
pub(super) async fn perform(context: StepContext) -> Result<Performed> {
    let mut attempt = 1;
    loop {
        let error = match once(&context).await {
            Ok(performed) => return Ok(performed),
            Err(error) => error,
        };
        let retry = attempt < context.step.attempts && !context.cancel.is_cancelled();
        if !retry || matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Fenced) {
            return Err(error);
        }
        tracing::warn!("{} failed ({}); attempt {} follows", context.step.id, error.chain(), attempt + 1);
        if context.step.hold.is_some() {
            hook::undo_failed(&context).await?;
        }
        attempt += 1;
        tokio::select! {
            () = tokio::time::sleep(context.step.delay) => {}
            () = context.cancel.cancelled() => return Err(error),
        }
    }
}

/// A little less than a step's own time, so that what was waited for can still be told.
fn own_words(timeout: Duration) -> Duration {
    timeout.saturating_sub((timeout / 20).min(Duration::from_secs(5)))
}

async fn once(context: &StepContext) -> Result<Performed> {
    let timeout = context.step.timeout;
    // A child of the run's token: a step that runs out of time ends what it started, and nothing else.
    let context = StepContext { cancel: context.cancel.child_token(), ..context.clone() };
    if let Ok(outcome) = tokio::time::timeout(timeout, kind(&context)).await {
        return outcome;
    }
    context.cancel.cancel();
    Err(Error::failed(format!("{} took longer than {}", context.step.id, show_duration(timeout)))
        .remedy("Set the step's `timeout` higher, or find out what it waits for."))
}

async fn kind(context: &StepContext) -> Result<Performed> {
    let step = std::sync::Arc::clone(&context.step);
    match step.kind()? {
        StepKind::Hook(hook) if step.hold.is_some() => hook::acquire(context, hook).await,
        StepKind::Hook(hook) => hook::call(context, hook).await,
        StepKind::Exec(exec) => exec::exec(context, exec).await,
        StepKind::Pod(pod) => pod::pod(context, pod).await,
        StepKind::Pair(pair) => keeper::pair(context, pair).await,
        StepKind::Session(session) => keeper::session(context, session).await,
        StepKind::Service(service) => service::start(context, service).await,
        StepKind::Snapshot(snapshot) => snapshot::capture(context, snapshot).await,
        StepKind::Volume(volume) => store::volume(context, volume).await,
        StepKind::Files(files) => store::files(context, files).await,
        StepKind::Stream(stream) => stream::stream(context, stream).await,
        StepKind::Query(query) => query::query(context, query).await,
        StepKind::Check(check) => self::check(context, check),
        StepKind::Wait(wait) => wait::wait(context, wait).await,
        StepKind::Scale(scale) => cluster::scale(context, scale).await,
        StepKind::Kube(kube) => cluster::kube(context, kube).await,
        StepKind::Action(_) => Err(Error::failed(format!("{} was not put into the plan", step.id))),
    }
}

fn check(context: &StepContext, check: &crate::language::CheckStep) -> Result<Performed> {
    let held = holds(&check.that, &context.scope)?;
    let message = match &check.message {
        Some(message) => render_text(message, &context.scope)?,
        None => format!("`{}` does not hold", check.that),
    };
    judge(context, held, &check.that, message)
}

/// The outcome of something that is either so or not. In `verify` it is a check, and the others go on; elsewhere
/// what is not so is an error.
fn judge(context: &StepContext, held: bool, what: &str, otherwise: String) -> Result<Performed> {
    if !context.verifies() {
        // What preflight finds unmet is wrong with what was asked for, not with the run.
        let kind = if context.step.phase == Phase::Preflight { ErrorKind::Input } else { ErrorKind::Failed };
        return if held {
            Ok(Performed::default())
        } else {
            Err(Error::new(kind, otherwise).remedy("See the blueprint's README for what it requires."))
        };
    }
    let (outcome, detail) =
        if held { (CheckOutcome::Passed, what.to_owned()) } else { (CheckOutcome::Failed, otherwise) };
    let check = Check { name: context.step.label().to_owned(), outcome, detail };
    Ok(Performed { checks: vec![check], ..Performed::default() })
}

impl StepContext {
    /// Whether the action is `verify` and this step is part of what it checks.
    fn verifies(&self) -> bool {
        self.world.plan.request.action == "verify" && self.step.phase == Phase::Steps
    }

    /// Notes how long something made writes wait that is not a hold.
    fn froze(&self, duration: Option<std::time::Duration>) {
        if let Some(duration) = duration {
            locked(&self.world.meter).froze(duration);
        }
    }
}
