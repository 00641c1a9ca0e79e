//! `standstill backup`.

use std::{collections::BTreeMap, sync::Arc};

use standstill_core::{
    Error, Result,
    plan::{Given, Plan, RunPlan},
    point::RunId,
    repository::Repository as _,
    runner::{BackupReport, Observer, RunReport, run},
    units::{show_bytes, show_duration},
};
use standstill_local::StateDir;
use standstill_repository::{Location, Repository};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{self, Format, Global, On},
    blueprint::{Text, find},
    kubernetes, output, progress,
    repository::{is_inside, location, password},
    signals,
    values::{given, on_this_machine},
    wiring,
};

/// What a backup is of.
pub struct Asked {
    /// The blueprint.
    pub text: Text,
    /// The values that were given.
    pub given: BTreeMap<String, Given>,
    /// The application's name; the blueprint's by default.
    pub name: Option<String>,
}

/// Backs up, and prints the report also when it failed.
pub async fn backup(global: &Global, arguments: &arguments::Backup) -> Result<u8> {
    let id = RunId::generate();
    let cancel =
        signals::cancellation().map_err(|cause| Error::failed("signals cannot be watched").because(cause))?;
    let name = arguments.name.clone().unwrap_or_else(|| arguments.blueprint.clone());
    let report = match prepare_and_run(global, arguments, id.clone(), cancel).await {
        Ok(Some(report)) => report,
        Ok(None) => return output::detached(global, &id),
        Err(error) if global.output == Format::Json => {
            output::json(&BackupReport::refused(id, &arguments.blueprint, &name, &error))?;
            return Ok(error.kind().exit_status());
        }
        Err(error) => return Err(error),
    };
    print(global, &report)
}

async fn prepare_and_run(
    global: &Global,
    arguments: &arguments::Backup,
    id: RunId,
    cancel: CancellationToken,
) -> Result<Option<RunReport>> {
    let asked = Asked {
        text: find(&arguments.blueprint)?,
        given: given(&arguments.values)?,
        name: arguments.name.clone(),
    };
    let location = location(&arguments.repository)?;
    let plan = plan(&asked, &location)?;
    let password = password(&arguments.repository.password)?;
    if arguments.launch.place.on == On::Kubernetes {
        let (launch, values) = (&arguments.launch, &arguments.values);
        let asked = kubernetes::Asked { global, launch, values, plan, location, password, id, cancel };
        return if arguments.from_here {
            Box::pin(kubernetes::run_from_here(asked)).await.map(Some)
        } else {
            Box::pin(kubernetes::run(asked)).await
        };
    }
    only_in_a_cluster(arguments.from_here)?;
    on_this_machine(&arguments.values)?;
    let repository = Repository::open(&location, &password).await?;
    let observer = progress::observer(global.quiet);
    back_up(&StateDir::of_user()?, plan, repository, id, cancel, observer).await.map(Some)
}

/// `--from-here` says where the runner of a run in a cluster is; on this machine it always is here.
pub fn only_in_a_cluster(from_here: bool) -> Result<()> {
    if from_here {
        return Err(Error::input(
            "`--from-here` is for what runs on Kubernetes, and this runs on this machine",
        )
        .remedy("Add `--on kubernetes`, or leave `--from-here` out."));
    }
    Ok(())
}

/// The plan of a backup.
pub fn plan(asked: &Asked, location: &Location) -> Result<RunPlan> {
    let hooks = wiring::hooks();
    let mut request =
        super::plan::asked(&asked.text, "backup", asked.name.as_deref(), &asked.given, hooks.as_ref())?;
    request.repository = Some(location.to_string());
    let plan = RunPlan::make(request, None, hooks.as_ref())?;
    plan.iter().try_for_each(|member| not_inside_itself(member, location))?;
    Ok(plan)
}

/// A repository inside the volume that is backed up would grow by itself, and vanish with it.
fn not_inside_itself(plan: &Plan, location: &Location) -> Result<()> {
    let scope = plan.static_scope();
    for (name, volume) in &plan.blueprint.spec.volumes {
        let Ok(path) = standstill_core::language::render_text(&volume.path, &scope) else { continue };
        // The default of a parameter that few need to set: such a volume is not there.
        if !path.is_empty() && is_inside(std::path::Path::new(&path), location) {
            return Err(Error::input(format!(
                "the repository {location} lies inside the volume `{name}` ({path})"
            ))
            .remedy("Choose a repository on another disk: a backup beside its original is lost with it."));
        }
    }
    Ok(())
}

/// Runs a backup.
pub async fn back_up(
    state: &StateDir,
    plan: RunPlan,
    repository: Repository,
    id: RunId,
    cancel: CancellationToken,
    observer: Arc<dyn Observer>,
) -> Result<RunReport> {
    discard_strays(&repository).await;
    let host = wiring::host(state, Some(Arc::new(repository)), observer, plan.limits.lease)?;
    run(host, plan, id, cancel).await
}

/// Removes what other runs left half-done more than a day ago; best effort, and never in the way of a backup.
pub async fn discard_strays(repository: &Repository) {
    match repository.discard_strays(None).await {
        Ok(0) => {}
        Ok(count) => tracing::info!("removed {count} artifacts that older runs left unfinished"),
        Err(error) => {
            tracing::warn!("artifacts of unfinished runs could not be looked for: {}", error.chain());
        }
    }
}

/// Prints the report of a backup.
fn print(global: &Global, report: &RunReport) -> Result<u8> {
    let status = output::status(report.failure);
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    output::result(global, &report.backup, || match &report.backup.error {
        Some(_) => String::new(),
        None => render(&report.backup),
    })?;
    if let (Some(error), Format::Text) = (&report.backup.error, global.output) {
        output::print_error(
            &format!("{} ({}): {}", error.phase, error.step, error.message),
            error.remedy.as_deref(),
        );
    }
    Ok(status)
}

fn render(report: &BackupReport) -> String {
    let read: u64 = report.artifacts.iter().map(|artifact| artifact.bytes).sum();
    let stored: u64 = report.artifacts.iter().map(|artifact| artifact.stored_bytes).sum();
    let consistency = report.consistency.map_or_else(|| "unknown".to_owned(), |known| known.to_string());
    let took: u64 = report.phases.iter().map(|phase| phase.milliseconds).sum();
    let duration = |milliseconds| show_duration(std::time::Duration::from_millis(milliseconds));
    let mut text = format!(
        "recovery point {} of {}\n  consistency  {consistency}\n  freeze       {}\n  took         {}\n  read         {}\n  stored       {}\n",
        report.recovery_point.as_ref().map_or("", RunId::as_str),
        report.name,
        if report.holds.iter().any(|hold| hold.blocks_writes) || report.freeze.milliseconds > 0 {
            duration(report.freeze.milliseconds)
        } else {
            "none".to_owned()
        },
        duration(took),
        show_bytes(read),
        show_bytes(stored),
    );
    if !report.facts.is_empty() {
        text.push_str(&format!("  facts        {}\n", report.facts.len()));
    }
    text.push_str("Prove it: `standstill verify`.");
    text
}
