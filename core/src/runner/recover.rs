//! Recovery: a dead run's journal is taken over, and finished by the same loop that would have finished the run.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{
    execution::{UndoneSteps, finish},
    members::Members,
    target::Target,
    world::{Host, World, locked},
};
use crate::{
    Error, ErrorKind, Result,
    hook::Undone,
    journal::{Event, Failure, RunRequest, RunState, RunSummary},
    plan::{Plan, RunPlan},
    point::{Outputs, RecoveryPoint, RunId},
};

/// How long a run that has no lock on its target any more may still be seen to live: its process is just ending, or has
/// died, and in a cluster the Lease of its journal ends some seconds after that of the lock.
const ENDING: Duration = Duration::from_secs(10);
/// How often it is looked whether it is still seen to live.
const LOOK: Duration = Duration::from_millis(500);
/// How long a repository may take to list the recovery points of which a recovery would like to know one.
const LISTED: Duration = Duration::from_secs(30);

/// What was done about a dead run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recovered {
    /// The run.
    pub run: RunId,
    /// Its action.
    pub action: String,
    /// The application's name.
    pub application: String,
    /// What was still held or lying about, and was let go or removed now.
    pub undone: Vec<String>,
    /// What could not be let go: the database may still be held.
    pub still_held: Vec<String>,
    /// What could not be removed, or not be seen.
    pub left_behind: Vec<String>,
    /// Why it could not be recovered. What it holds is not known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Recovered {
    /// A run of which nothing was left.
    pub fn nothing(summary: &RunSummary) -> Self {
        Self {
            run: summary.run.clone(),
            action: summary.action.clone(),
            application: summary.application.clone(),
            undone: Vec::new(),
            still_held: Vec::new(),
            left_behind: Vec::new(),
            failure: None,
        }
    }

    /// A run that could not be recovered.
    pub fn failed(summary: &RunSummary, error: &Error) -> Self {
        Self { failure: Some(Failure::from(error)), ..Self::nothing(summary) }
    }

    /// Whether nothing of it is held or lies about any more.
    pub fn is_whole(&self) -> bool {
        self.still_held.is_empty() && self.left_behind.is_empty() && self.failure.is_none()
    }
}

/// What a recovery does about what an earlier one could not let go, or not put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Tries it again, as it does with all others.
    All,
    /// Takes it for let go: a person did it.
    ByHand,
}

/// Recovers dead runs: all of them, or one. Of all of them, one that cannot be recovered keeps no other from it: it is told
/// in what is returned.
///
/// # Errors
/// When the runs cannot be listed, or the one run is not dead or cannot be recovered.
pub async fn recover(host: &Host, only: Option<&RunId>, means: Means) -> Result<Vec<Recovered>> {
    let runs = host.journals.runs().await?;
    if let Some(run) = only {
        let summary = runs.iter().find(|summary| summary.run == *run);
        let summary = summary.ok_or_else(|| {
            Error::input(format!("there is no run {run}")).remedy("`standstill runs` lists them.")
        })?;
        return match summary.state {
            RunState::Dead => Ok(vec![one(host, summary, None, means).await?]),
            RunState::Running => Err(Error::input(format!("run {run} is still running"))
                .remedy("End its process first; its holds end by themselves within the lease.")),
            RunState::Succeeded | RunState::Failed => Ok(Vec::new()),
        };
    }
    let mut recovered = Vec::new();
    for summary in runs.iter().filter(|summary| summary.state == RunState::Dead) {
        let outcome = one(host, summary, None, means).await;
        recovered.push(outcome.unwrap_or_else(|error| Recovered::failed(summary, &error)));
    }
    Ok(recovered)
}

/// Recovers what dead runs left on the target that a new run is about to work on, and whose lock it has.
///
/// # Errors
/// When something is still held: a new run must not add to that. [`ErrorKind::Locked`] when somebody else is recovering
/// such a run: what it lets go would be the new run's.
pub(super) fn predecessors<'a>(
    world: &'a World,
    identity: Option<&'a str>,
) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
    Box::pin(async move {
        for summary in dead_before(world, identity).await? {
            let heir = identity.map(|identity| Heir { plan: &world.plan, identity });
            world.recovering.send_replace(true);
            let recovered = one(&world.host, &summary, heir.as_ref(), Means::All).await;
            world.recovering.send_replace(false);
            let recovered = recovered?;
            tracing::warn!(
                "run {} had died; undone now: {}",
                recovered.run,
                if recovered.undone.is_empty() {
                    "nothing was left".into()
                } else {
                    recovered.undone.join(", ")
                }
            );
            if let Some(held) = recovered.still_held.first() {
                return Err(Error::new(
                    ErrorKind::StillHeld,
                    format!("run {} died and still holds the database: {held}", recovered.run),
                )
                .remedy(format!("Run `standstill recover --run {}`.", recovered.run)));
            }
        }
        Ok(())
    })
}

/// The dead runs that worked on what this run is about to work on, or may have. Whoever recovers one of them has its journal,
/// but not the lock on the target, so it looks as if that run lived.
async fn dead_before(world: &World, identity: Option<&str>) -> Result<Vec<RunSummary>> {
    let is_on_it = |summary: &RunSummary| {
        identity.is_some_and(|identity| summary.identities.iter().any(|known| known == identity))
    };
    let until = Instant::now() + ENDING;
    loop {
        let mut runs = world.host.journals.runs().await?;
        runs.retain(|summary| summary.run != world.run);
        // Those of which it is not known what they work on have just begun, most likely on something else.
        let living = runs.iter().find(|summary| summary.state == RunState::Running && is_on_it(summary));
        let Some(living) = living else {
            runs.retain(|summary| {
                summary.state == RunState::Dead && (summary.identities.is_empty() || is_on_it(summary))
            });
            return Ok(runs);
        };
        if Instant::now() >= until {
            return Err(being_recovered(&living.run));
        }
        // Nothing tells when a process of somebody else has ended.
        tokio::time::sleep(LOOK).await;
    }
}

fn being_recovered(run: &RunId) -> Error {
    Error::new(
        ErrorKind::Locked,
        format!(
            "run {run}, which worked on the same target, has not ended: it is being recovered, or its process is stopped"
        ),
    )
    .remedy("Wait until it has ended, or end its process, then try again; `standstill runs` shows how the run stands.")
}

/// A new run that finds a dead one.
struct Heir<'a> {
    plan: &'a Plan,
    /// What it works on.
    identity: &'a str,
}

impl Heir<'_> {
    /// Whether this part of the dead run worked on the same database: of a group it is one member.
    fn is_on_that_of(&self, world: &World) -> bool {
        let member = &world.plan.request.member;
        let here = |event: &Event| {
            matches!(event, Event::Target { member: of, identity: Some(identity), .. }
                if of == member && identity == self.identity)
        };
        world.ledger.events().iter().any(here)
    }
}

/// Takes over one dead run and finishes it. The secrets of `heir` do for the database that it works on, too, where the dead
/// run's own cannot be read any more.
async fn one(host: &Host, summary: &RunSummary, heir: Option<&Heir<'_>>, means: Means) -> Result<Recovered> {
    let request = request_of(&summary.run, &events_of(host, &summary.run).await?)?;
    let point = match &request.point {
        Some(id) => point(host, id).await,
        None => None,
    };
    let plan = RunPlan::make(request, point.as_ref(), host.hooks.as_ref())?;
    let journal = host.journals.take_over(&summary.run).await?;
    // Until then somebody else may have written it: the run itself, or whoever recovered it first.
    let mut events = events_of(host, &summary.run).await?;
    if events.iter().any(|event| matches!(event, Event::Finished { .. })) {
        return Ok(Recovered::nothing(summary));
    }
    // Without it the run would be gone on with.
    if events.last() != Some(&Event::TakenOver) {
        events.push(Event::TakenOver);
    }
    let by_hand = if means == Means::ByHand { still_held(&events) } else { BTreeSet::new() };
    let members = Members::new(host, plan, &summary.run, journal, events).await?;
    for world in members.iter() {
        let heir = heir.filter(|heir| heir.is_on_that_of(world)).map(|heir| heir.plan);
        let mut target = Target::for_recovery(world, heir);
        target.scratch = Some(std::env::temp_dir());
        *locked(&world.target) = Arc::new(target);
    }
    for step in by_hand {
        let is_hold = members.of(&step).plan.step(&step).is_some_and(|planned| planned.hold.is_some());
        members.first().ledger.note(if is_hold {
            Event::Released { step, evidence: None, outputs: Outputs::new(), facts: Vec::new() }
        } else {
            Event::Disposed { step }
        });
    }
    let undone = finish(&members, CancellationToken::new()).await;
    Ok(summarise(members.first(), summary, &undone))
}

async fn events_of(host: &Host, run: &RunId) -> Result<Vec<Event>> {
    let entries = host.journals.read(run).await?;
    Ok(entries.into_iter().map(|entry| entry.event).collect())
}

fn request_of(run: &RunId, events: &[Event]) -> Result<RunRequest> {
    match events.first() {
        Some(Event::Started { request, .. }) => Ok((**request).clone()),
        _ => Err(Error::failed(format!("the journal of run {run} does not begin with its start"))
            .remedy("Look at it with `standstill logs`; remove its folder once nothing is held.")),
    }
}

/// The recovery point that a dead run restored or verified, where the repository says it in time: what is held does not wait
/// for it.
async fn point(host: &Host, id: &RunId) -> Option<RecoveryPoint> {
    let repository = host.repository.as_ref()?;
    let listed = tokio::time::timeout(LISTED, repository.points()).await;
    let listed = listed.unwrap_or_else(|_| {
        Err(Error::temporary(format!("the repository {} does not answer", repository.location())))
    });
    match listed {
        Ok(points) => points.into_iter().find(|listed| listed.point.id == *id).map(|listed| listed.point),
        Err(error) => {
            tracing::warn!("{}; recovering without the recovery point {id}", error.chain());
            None
        }
    }
}

/// The steps of which it was said last that they are still held.
fn still_held(events: &[Event]) -> BTreeSet<String> {
    let mut held = BTreeSet::new();
    for event in events {
        match event {
            Event::StillHeld { step, .. } => {
                held.insert(step.clone());
            }
            Event::Released { step, .. } | Event::Disposed { step } => {
                held.remove(step);
            }
            _ => {}
        }
    }
    held
}

fn with_remedy(error: &Failure) -> String {
    error
        .remedy
        .as_ref()
        .map_or_else(|| error.message.clone(), |remedy| format!("{}. {remedy}", error.message))
}

fn summarise(world: &World, summary: &RunSummary, undone: &UndoneSteps) -> Recovered {
    let mut recovered = Recovered::nothing(summary);
    let let_go = undone.iter().filter(|(_, undone)| *undone == Undone::LetGo);
    recovered.undone = let_go.map(|(step, _)| step.clone()).collect();
    // What an earlier recovery said was tried again.
    let events = world.ledger.events();
    let own = events.iter().rposition(|event| matches!(event, Event::TakenOver)).unwrap_or_default();
    for event in events.into_iter().skip(own) {
        match event {
            Event::CommitUnseen { error } => recovered.left_behind.push(with_remedy(&error)),
            Event::StillHeld { step, error } => {
                recovered.still_held.push(format!("{step}: {}", with_remedy(&error)));
            }
            Event::LeftBehind { step, error } => {
                recovered.left_behind.push(format!("{step}: {}", error.message));
            }
            _ => {}
        }
    }
    recovered
}
