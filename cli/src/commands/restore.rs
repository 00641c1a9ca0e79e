//! `standstill restore` and `standstill verify`.

use std::{collections::BTreeMap, sync::Arc};

use standstill_core::{
    Error, Result,
    journal::RunRequest,
    plan::{Given, RunPlan, bind},
    point::{CheckOutcome, RunId},
    repository::ListedPoint,
    runner::{Observer, RunReport, VerifyReport, run},
    units::show_duration,
};
use standstill_local::StateDir;
use standstill_repository::Repository;
use tokio_util::sync::CancellationToken;

use super::plan::request;
use crate::{
    arguments::{self, Format, Global, On},
    blueprint::{Text, find, load},
    group, kubernetes, output, progress,
    repository::{location, open, password, point},
    signals,
    values::{given, on_this_machine},
    wiring,
};

/// What is done with a recovery point.
pub struct Wanted {
    /// `restore` or `verify`.
    pub action: &'static str,
    /// The recovery point.
    pub listed: ListedPoint,
    /// Values over those that the recovery point embeds.
    pub given: BTreeMap<String, Given>,
    /// A blueprint other than the one that it embeds.
    pub blueprint: Option<Text>,
    /// Of a group: only this member.
    pub member: Option<String>,
}

/// Restores, and reports.
pub async fn restore(global: &Global, arguments: &arguments::Restore) -> Result<u8> {
    let id = RunId::generate();
    let Some(report) = prepare_and_run(global, arguments, "restore", id.clone()).await? else {
        return output::detached(global, &id);
    };
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    let backup = &report.backup;
    let document = serde_json::json!({
        "run": backup.run, "recoveryPoint": backup.recovery_point, "name": backup.name,
        "phases": backup.phases, "error": backup.error,
    });
    let took: u64 = backup.phases.iter().map(|phase| phase.milliseconds).sum();
    output::result(global, &document, || match &backup.error {
        Some(_) => String::new(),
        None => format!(
            "restored recovery point {} of {} in {}",
            backup.recovery_point.as_ref().map_or("", RunId::as_str),
            backup.name,
            show_duration(std::time::Duration::from_millis(took)),
        ),
    })?;
    if let (Some(error), Format::Text) = (&backup.error, global.output) {
        output::print_error(&format!("{}: {}", error.step, error.message), error.remedy.as_deref());
    }
    Ok(output::status(report.failure))
}

/// Verifies, and prints the report also when it failed.
pub async fn verify(global: &Global, arguments: &arguments::Restore) -> Result<u8> {
    let id = RunId::generate();
    let report = match prepare_and_run(global, arguments, "verify", id.clone()).await {
        Ok(Some(report)) => report,
        Ok(None) => return output::detached(global, &id),
        Err(error) if global.output == Format::Json => {
            output::json(&VerifyReport::refused(id, &error))?;
            return Ok(error.kind().exit_status());
        }
        Err(error) => return Err(error),
    };
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(verified) = &report.verify {
        output::result(global, verified, || render(verified))?;
        if let (Some(error), Format::Text) = (&verified.error, global.output) {
            output::print_error(&format!("{}: {}", error.step, error.message), error.remedy.as_deref());
        }
    }
    Ok(output::status(report.failure))
}

async fn prepare_and_run(
    global: &Global,
    arguments: &arguments::Restore,
    action: &'static str,
    id: RunId,
) -> Result<Option<RunReport>> {
    let cancel =
        signals::cancellation().map_err(|cause| Error::failed("signals cannot be watched").because(cause))?;
    let repository = open(&arguments.repository).await?;
    let listed = point(&repository, &arguments.point, arguments.name.as_deref()).await?;
    let wanted = Wanted {
        action,
        listed,
        given: given(&arguments.values)?,
        blueprint: arguments.blueprint.as_deref().map(find).transpose()?,
        member: arguments.member.clone(),
    };
    if arguments.launch.place.on == On::Kubernetes {
        let (launch, values, plan) = (&arguments.launch, &arguments.values, plan(wanted)?);
        let (location, password) =
            (location(&arguments.repository)?, password(&arguments.repository.password)?);
        let asked = kubernetes::Asked { global, launch, values, plan, location, password, id, cancel };
        return Box::pin(kubernetes::run(asked)).await;
    }
    on_this_machine(&arguments.values)?;
    run_on_point(&StateDir::of_user()?, wanted, repository, id, cancel, progress::observer(global.quiet))
        .await
        .map(Some)
}

/// Runs an action on a recovery point.
pub async fn run_on_point(
    state: &StateDir,
    wanted: Wanted,
    repository: Repository,
    id: RunId,
    cancel: CancellationToken,
    observer: Arc<dyn Observer>,
) -> Result<RunReport> {
    let plan = plan(wanted)?;
    let host = wiring::host(state, Some(Arc::new(repository)), observer, plan.limits.lease)?;
    run(host, plan, id, cancel).await
}

/// The plan: the blueprint and the values that the recovery point embeds, unless others are given.
fn plan(wanted: Wanted) -> Result<RunPlan> {
    let hooks = wiring::hooks();
    let hooks = hooks.as_ref();
    let (point, action) = (wanted.listed.point, wanted.action);
    let request = match (&wanted.member, wanted.blueprint) {
        (Some(member), blueprint) => {
            group::member_on_point(&point, member, blueprint, action, &wanted.given, hooks)?
        }
        (None, None) if !point.members.is_empty() => group::on_point(&point, action, &wanted.given, hooks)?,
        (None, Some(_)) if !point.members.is_empty() => {
            return Err(Error::input(
                "the recovery point is of a group, which has a blueprint for each member",
            )
            .remedy("Add `--member` to say whose the other blueprint is."));
        }
        (None, blueprint) => {
            let text = blueprint.unwrap_or_else(|| Text {
                origin: format!("recovery-point:{}", point.id),
                text: point.blueprint_text.clone(),
            });
            let blueprint = load(&text, hooks)?;
            let known = |name: &str| blueprint.spec.parameters.contains_key(name);
            let values = bind(&blueprint, &group::with_embedded(&point, &wanted.given, known))?;
            RunRequest { point: Some(point.id.clone()), ..request(&text, action, &point.name, values) }
        }
    };
    RunPlan::make(request, Some(&point), hooks)
}

fn render(report: &VerifyReport) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let mark = match check.outcome {
            CheckOutcome::Passed => "passed ",
            CheckOutcome::Failed => "FAILED ",
            CheckOutcome::Skipped => "skipped",
        };
        text.push_str(&format!("  {mark}  {:32} {}\n", check.name, check.detail));
    }
    let outcome = if report.outcome == CheckOutcome::Passed { "passed" } else { "FAILED" };
    let point = report.recovery_point.as_ref().map_or("", RunId::as_str);
    text.push_str(&format!("verification of {point} {outcome}"));
    if let Some(rto) = report.rto_milliseconds {
        text.push_str(&format!("; serving after {}", show_duration(std::time::Duration::from_millis(rto))));
    }
    if let Some(age) = report.data_age_seconds {
        text.push_str(&format!("; data is {} old", show_duration(std::time::Duration::from_secs(age))));
    }
    text
}
