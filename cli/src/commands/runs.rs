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
    repository::{for_recovery, open},
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
            let opened = for_recovery(location, open(&arguments)).await;
            opened.map(|repository| Arc::new(repository) as Arc<dyn Repository>)
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
    Ok(see_to(&recovered))
}

/// Says what somebody has to see to; the exit status. What is held counts more than what could not be recovered.
fn see_to(recovered: &[Recovered]) -> u8 {
    let mut status = output::DONE;
    for (run, failure) in recovered.iter().filter_map(|run| Some((&run.run, run.failure.as_ref()?))) {
        output::print_error(
            &format!("run {run} could not be recovered: {}", failure.message),
            failure.remedy.as_deref(),
        );
        if status == output::DONE {
            status = failure.kind.exit_status();
        }
    }
    let held = recovered.iter().flat_map(|run| run.still_held.iter().map(move |held| (run, held))).next();
    if let Some((run, held)) = held {
        output::print_error(
            &format!("run {} still holds {held}", run.run),
            Some(&format!(
                "Let it go by hand, then run `standstill recover --run {} --let-go-by-hand`.",
                run.run
            )),
        );
        status = STILL_HELD;
    }
    status
}

fn describe(recovered: &Recovered) -> String {
    if let Some(failure) = &recovered.failure {
        return format!(
            "run {} ({} of {}) had died\n  NOT RECOVERED: {}\n",
            recovered.run, recovered.action, recovered.application, failure.message
        );
    }
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

#[cfg(test)]
mod tests {
    use standstill_core::ErrorKind;

    use super::*;

    fn recovered(still_held: &[&str], failure: Option<Error>) -> Recovered {
        let summary = RunSummary {
            run: RunId::generate(),
            started_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            action: "backup".to_owned(),
            application: "shop".to_owned(),
            identities: Vec::new(),
            state: RunState::Dead,
        };
        let of_run = match failure {
            Some(error) => Recovered::failed(&summary, &error),
            None => Recovered::nothing(&summary),
        };
        Recovered { still_held: still_held.iter().map(|held| (*held).to_owned()).collect(), ..of_run }
    }

    #[test]
    fn what_is_held_decides_the_status_and_then_the_first_that_could_not_be_recovered() {
        let (let_go, held) = (|| recovered(&[], None), || recovered(&["the pause"], None));
        let failed = |kind| recovered(&[], Some(Error::new(kind, "its journal is not understood")));
        assert_eq!(see_to(&[]), 0);
        assert_eq!(see_to(&[let_go(), let_go()]), 0);
        assert_eq!(see_to(&[let_go(), failed(ErrorKind::Failed), failed(ErrorKind::Input)]), 1);
        assert_eq!(see_to(&[failed(ErrorKind::Input), failed(ErrorKind::Failed), let_go()]), 2);
        assert_eq!(see_to(&[failed(ErrorKind::Input), held(), let_go()]), 3);
    }

    #[test]
    fn a_run_that_could_not_be_recovered_is_not_said_to_hold_nothing() {
        let text = describe(&recovered(&[], Some(Error::failed("line 3 is not understood"))));
        assert!(text.ends_with(" had died\n  NOT RECOVERED: line 3 is not understood\n"), "{text}");
    }
}
