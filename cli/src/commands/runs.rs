//! `standstill runs`, `logs` and `recover`.

use std::{str::FromStr, sync::Arc, time::Duration};

use standstill_core::{
    Error, Result,
    journal::{Entry, Event, JournalStore, RunState, RunSummary},
    point::RunId,
    repository::Repository,
    runner::{Means, NoObserver, Recovered, recover as recover_runs},
};
use standstill_local::StateDir;

use crate::{
    arguments::{self, Global, On, OptionalRepository, Place},
    kubernetes, output,
    repository::open,
    wiring,
};

/// The exit status when something is still held.
const STILL_HELD: u8 = 3;

/// The journals of this machine, or of a namespace.
async fn journals(place: &Place) -> Result<Arc<dyn JournalStore>> {
    match place.on {
        On::Local => wiring::journals(&StateDir::of_user()?),
        On::Kubernetes => kubernetes::journals(place).await,
    }
}

/// Lists the runs on this machine, or in a namespace.
pub async fn list(global: &Global, place: &Place) -> Result<u8> {
    let runs = journals(place).await?.runs().await?;
    output::result(global, &runs, || {
        if runs.is_empty() {
            return "no runs".into();
        }
        let rows: Vec<Vec<String>> = runs
            .iter()
            .map(|run| {
                let started = run.started_at.strftime("%Y-%m-%d %H:%M:%S").to_string();
                let state = state(run.state).to_owned();
                vec![run.run.to_string(), started, run.action.clone(), run.application.clone(), state]
            })
            .collect();
        output::table(&["RUN", "STARTED", "ACTION", "NAME", "STATE"], &rows)
    })?;
    Ok(output::DONE)
}

const fn state(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Dead => "dead: run `standstill recover`",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
    }
}

/// The run whose id begins with the text.
async fn find(wanted: &str, journals: &dyn JournalStore) -> Result<RunId> {
    let runs = journals.runs().await?;
    let matching: Vec<&RunSummary> = runs.iter().filter(|run| run.run.as_str().starts_with(wanted)).collect();
    match matching.as_slice() {
        [one] => Ok(one.run.clone()),
        [] => RunId::from_str(wanted),
        more => {
            Err(Error::input(format!("{} runs begin with `{wanted}`", more.len()))
                .remedy("Give more of the id."))
        }
    }
}

/// Shows the journal of a run.
pub async fn logs(global: &Global, wanted: &str, place: &Place) -> Result<u8> {
    let journals = journals(place).await?;
    let entries = journals.read(&find(wanted, journals.as_ref()).await?).await?;
    output::result(global, &entries, || {
        let line = |entry: &Entry| format!("{}  {}", entry.at.strftime("%H:%M:%S%.3f"), event(&entry.event));
        entries.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(output::DONE)
}

fn event(event: &Event) -> String {
    match event {
        Event::Started { request, .. } => format!("started: {} of {}", request.action, request.application),
        Event::Target { member, identity, .. } => {
            let of = member.as_ref().map_or_else(String::new, |member| format!(" of {member}"));
            format!("target{of} found and locked: {}", identity.as_deref().unwrap_or("none to lock"))
        }
        Event::Intent { step, .. } => format!("about to do {step}; its undo is noted"),
        Event::Done { step, .. } => format!("done: {step}"),
        Event::Failed { step, error } => format!("failed: {step}: {}", error.message),
        Event::Stopped { error } => format!("stopped: {}", error.message),
        Event::Cut => "cut".into(),
        Event::Confirmed { step, .. } => format!("proven: {step} spanned the cut"),
        Event::Unproven { step, error } => format!("not proven: {step}: {}", error.message),
        Event::Released { step, .. } => format!("let go: {step}"),
        Event::StillHeld { step, error } => format!("STILL HELD: {step}: {}", error.message),
        Event::Committing => "committing".into(),
        Event::Committed { point } => format!("committed: {point}"),
        Event::CommitUnseen { error } => error.message.clone(),
        Event::Disposed { step } => format!("removed what {step} made"),
        Event::LeftBehind { step, error } => format!("left behind: {step}: {}", error.message),
        Event::TakenOver => "taken over: the process of this run is gone".into(),
        Event::Finished { success } => {
            format!("finished: {}", if *success { "success" } else { "no success" })
        }
    }
}

/// Lets go of whatever dead runs still hold.
pub async fn recover(
    global: &Global,
    run: Option<&str>,
    means: Means,
    repository: &OptionalRepository,
    place: &Place,
) -> Result<u8> {
    let repository: Option<Arc<dyn Repository>> = match &repository.repository {
        Some(location) => {
            let arguments =
                arguments::Repository { repository: location.clone(), password: repository.password.clone() };
            Some(Arc::new(open(&arguments).await?))
        }
        None => None,
    };
    let host =
        wiring::host(&StateDir::of_user()?, repository, Arc::new(NoObserver), Duration::from_secs(10))?;
    let run = match run {
        Some(run) => Some(find(run, journals(place).await?.as_ref()).await?),
        None => None,
    };
    let recovered = match place.on {
        On::Local => recover_runs(&host, run.as_ref(), means).await?,
        On::Kubernetes => Box::pin(kubernetes::recover(global, host, place, run.as_ref(), means)).await?,
    };
    output::result(global, &recovered, || {
        if recovered.is_empty() {
            return "no run has died; nothing is held".into();
        }
        recovered.iter().map(describe).collect()
    })?;
    let held = recovered.iter().flat_map(|run| run.still_held.iter().map(move |held| (run, held))).next();
    if let Some((run, held)) = held {
        output::print_error(
            &format!("run {} still holds {held}", run.run),
            Some(&format!(
                "Let it go by hand, then run `standstill recover --run {} --let-go-by-hand`.",
                run.run
            )),
        );
        return Ok(STILL_HELD);
    }
    Ok(output::DONE)
}

fn describe(recovered: &Recovered) -> String {
    let list =
        |items: &[String], none: &str| if items.is_empty() { none.to_owned() } else { items.join(", ") };
    let mut text = format!(
        "run {} ({} of {}) had died\n  let go or removed now: {}\n",
        recovered.run,
        recovered.action,
        recovered.application,
        list(&recovered.undone, "nothing, all was gone already"),
    );
    for left in &recovered.left_behind {
        text.push_str(&format!("  left behind: {left}\n"));
    }
    for held in &recovered.still_held {
        text.push_str(&format!("  STILL HELD: {held}\n"));
    }
    text
}
