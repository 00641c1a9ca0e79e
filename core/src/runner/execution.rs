//! The shell around the machine: performs what is next, and notes what happened.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    COMMIT, RunReport, TARGET, commit,
    holds::LiveHold,
    machine::{Next, next},
    members::Members,
    report::report,
    roles,
    scope::{as_seen_by, scope_of},
    steps::{self, Performed},
    target,
    tasks::{ended_early, unbroken},
    world::{Host, StepContext, World, locked},
};
use crate::{
    Error, ErrorKind, Result,
    hook::{Moment, Undone},
    journal::{Event, Failure, Undo},
    language::{OnQuiesceFailure, Phase},
    plan::RunPlan,
    point::RunId,
    secret::Secret,
    units::show_duration,
};

/// How long letting go is tried before a person must do it.
pub(super) const RELEASE_DEADLINE: Duration = Duration::from_mins(2);
/// How long the journal may take for its last lines.
const FLUSH: Duration = Duration::from_secs(5);
/// How long a journal counts as this run's after it was seen to be.
const KNOWN: Duration = Duration::from_secs(5);
/// How long steps that were abandoned may take to end before what they left is removed.
const ABANDONED: Duration = Duration::from_secs(30);

/// Runs an action from its beginning to its end.
///
/// # Guarantees
/// Whatever happens — an error, `cancel`, a ceiling — every hold that was attempted is let go before this returns, or
/// the report says [`ErrorKind::StillHeld`].
///
/// # Cancellation
/// By `cancel`. Dropping the future instead is like a crash: holds end within their lease, and `recover` cleans up.
///
/// # Errors
/// Only when the journal cannot be begun; everything later is in the report.
pub async fn run(
    host: Host,
    plan: impl Into<RunPlan>,
    run: RunId,
    cancel: CancellationToken,
) -> Result<RunReport> {
    let plan = plan.into();
    let journal = host.journals.create(&run).await?;
    let started = Event::Started {
        run: run.clone(),
        request: Box::new(plan.request.clone()),
        standstill: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let members = Members::new(&host, plan, &run, journal, Vec::new()).await?;
    members.first().ledger.record(started).await?;
    let recovered = finish(&members, cancel).await;
    report(&members, recovered).await
}

/// What the loop undid, for people: the step, and what was found.
pub(super) type UndoneSteps = Vec<(String, Undone)>;

/// Does what is next until nothing is.
pub(super) async fn finish(members: &Members, cancel: CancellationToken) -> UndoneSteps {
    let (outline, world) = (members.plan.outline(), members.first());
    let mut execution =
        Execution { members, world, cancel, abandoned: Vec::new(), undone: Mutex::default(), ours: None };
    loop {
        let events = world.ledger.events();
        let next = next(&outline, &events);
        if execution.is_fenced(&next, &events).await {
            continue;
        }
        match next {
            Next::Done => return execution.undone(),
            Next::Target => execution.target().await,
            Next::Perform(steps) => execution.perform(&steps).await,
            Next::Cut => {
                locked(&world.meter).cut_at = Some(jiff::Timestamp::now());
                world.ledger.note(Event::Cut);
            }
            Next::Confirm(step) => execution.confirm(step).await,
            Next::Release(steps) => execution.release(&steps).await,
            Next::PutBack { steps, wait } => execution.put_back(&steps, wait).await,
            Next::Commit => execution.commit().await,
            Next::Settle => world.ledger.note(commit::settle(world).await),
            Next::Dispose(step) => execution.dispose(step).await,
            Next::Leave => {
                execution.stop_services().await;
                world.ledger.flush(None, FLUSH).await;
                return execution.undone();
            }
            Next::Finish { success } => {
                execution.stop_services().await;
                world.ledger.flush(Some(Event::Finished { success }), FLUSH).await;
            }
        }
    }
}

/// A run that is being performed.
pub(super) struct Execution<'a> {
    pub(super) members: &'a Members,
    /// The first of them, for what they share.
    pub(super) world: &'a Arc<World>,
    pub(super) cancel: CancellationToken,
    abandoned: Vec<JoinHandle<()>>,
    undone: Mutex<UndoneSteps>,
    /// When the journal was seen to be this run's.
    ours: Option<Instant>,
}

impl Execution<'_> {
    fn undone(self) -> UndoneSteps {
        self.undone.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_undone(&self, step: &str, undone: Undone) {
        locked(&self.undone).push((step.to_owned(), undone));
    }

    /// Whether a run that stops is found to be fenced off, before it does more than let go: what it would do then, whoever
    /// took its journal over has done, and others work there now. Where that cannot be known it goes on.
    async fn is_fenced(&mut self, next: &Next<'_>, events: &[Event]) -> bool {
        let does_more =
            matches!(next, Next::Perform(_) | Next::PutBack { .. } | Next::Settle | Next::Dispose(_));
        let stops = |event: &Event| matches!(event, Event::Stopped { .. } | Event::Failed { .. });
        let known = self.ours.is_some_and(|seen| seen.elapsed() < KNOWN);
        if !does_more || known || !events.iter().any(stops) {
            return false;
        }
        let asked = tokio::time::timeout(FLUSH, self.world.ledger.journal().is_ours()).await;
        match asked {
            Ok(Err(error)) if error.kind() == ErrorKind::Fenced => {
                self.stop(&error);
                true
            }
            _ => {
                self.ours = Some(Instant::now());
                false
            }
        }
    }

    pub(super) fn failed(&self, step: &str, error: &Error) {
        self.world.ledger.note(Event::Failed { step: step.to_owned(), error: Failure::from(error) });
    }

    async fn target(&mut self) {
        let found = tokio::select! {
            found = target::find(self.members) => found,
            () = self.cancelled_beside_a_recovery() => Err(cancelled()),
        };
        if let Err(error) = found {
            self.failed(TARGET, &error);
        }
    }

    /// Waits until the run is cancelled and does not recover a dead one: what that may hold is let go, or it is said that it
    /// could not be.
    async fn cancelled_beside_a_recovery(&self) {
        self.cancel.cancelled().await;
        let mut recovering = self.world.recovering.subscribe();
        // It can only fail when nobody could recover anything any more.
        drop(recovering.wait_for(|recovering| !recovering).await);
    }

    /// Does steps at the same time. A signal, a ceiling or a lapsed hold ends the wait for them at once: letting go
    /// comes first.
    async fn perform(&mut self, ids: &[&str]) {
        if let Err(error) = self.recheck(ids).await {
            for id in ids {
                self.failed(id, &error);
            }
            return;
        }
        let token = CancellationToken::new();
        let started = Moment::now();
        let mut tasks = Vec::new();
        let mut phase = None;
        for id in ids {
            let world = self.members.of(id);
            let Some(step) = world.plan.step(id) else { continue };
            phase = Some(step.phase);
            let context = StepContext {
                world: Arc::clone(world),
                scope: Arc::new(as_seen_by(&scope_of(world), &step.volumes)),
                step: Arc::new(step.clone()),
                cancel: token.clone(),
            };
            tasks.push(tokio::spawn(perform_and_note(context)));
        }
        // What recovers and cleans up is not ended by what ended the run; its own timeouts bound it.
        let ends_early = !matches!(phase, Some(Phase::Recover | Phase::Cleanup));
        let interrupted =
            || async { if ends_early { self.interrupted().await } else { std::future::pending().await } };
        if let Some((error, left)) = ended_early(tasks, interrupted).await {
            // First why, or a step that notes its own end at once would be taken for the reason.
            self.stop(&error);
            token.cancel();
            self.abandoned.extend(left);
        }
        if let Some(phase) = phase {
            locked(&self.world.meter).phase(phase, started);
        }
    }

    /// Right before the first step that may hold anything: whether each database still has the role that is asked of it.
    async fn recheck(&self, ids: &[&str]) -> Result<()> {
        let quiesces = |id: &str| self.members.step(id).is_some_and(|step| step.phase == Phase::Quiesce);
        let done = |event: &Event| matches!(event, Event::Done { step, .. } if quiesces(step));
        if !ids.iter().any(|id| quiesces(id)) || self.world.ledger.events().iter().any(done) {
            return Ok(());
        }
        let asking = async {
            for world in self.members.iter() {
                roles::recheck(world).await.map_err(|error| match &world.plan.request.member {
                    Some(member) => error.during(&format!("the member {member}")),
                    None => error,
                })?;
            }
            Ok(())
        };
        tokio::select! {
            asked = asking => asked,
            () = self.cancel.cancelled() => Err(cancelled()),
        }
    }

    /// Waits until something ends the run early.
    async fn interrupted(&self) -> Error {
        let holds: Vec<Arc<LiveHold>> = locked(&self.world.holds).values().cloned().collect();
        let lapses = async {
            let mut lapses = tokio::task::JoinSet::new();
            for hold in holds {
                lapses.spawn(hold.lapse.clone().wait());
            }
            match lapses.join_next().await {
                Some(Ok(error)) => error,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            error = self.too_long(None) => error,
            error = lapses => error,
        }
    }

    /// Waits until the run is cancelled, or a hold has been on for as long as it may; but for this one.
    pub(super) async fn too_long(&self, but: Option<&str>) -> Error {
        let ceiling = locked(&self.world.meter).ceiling(but);
        let at_ceiling = async {
            match ceiling {
                Some((instant, name, limit)) => {
                    tokio::time::sleep_until(instant.into()).await;
                    Error::failed(format!("{name} was reached: the hold was on for {}", show_duration(limit)))
                        .remedy(format!("Find out what took so long, or set `{name}` higher."))
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = at_ceiling => error,
            () = self.cancel.cancelled() => cancelled(),
        }
    }

    /// Notes why the run ends early.
    pub(super) fn stop(&self, error: &Error) {
        self.world.ledger.note(Event::Stopped { error: Failure::from(error) });
    }

    /// How long one call to a hold may take: writes may wait for it.
    pub(super) fn hold_deadline(&self, step: &str) -> Duration {
        let found = locked(&self.world.meter).blocks_writes(step);
        let plan = &self.members.of(step).plan;
        let planned = || plan.step(step)?.hold.map(|hold| hold.blocks_writes);
        if found.or_else(planned).unwrap_or_default() { plan.limits.lease } else { Duration::from_mins(30) }
    }

    async fn confirm(&mut self, step: &str) {
        let live = locked(&self.world.holds).get(step).cloned();
        let deadline = self.hold_deadline(step);
        let confirmed = match live {
            // Writes may wait meanwhile, for this hold or for another one.
            Some(live) => tokio::select! {
                confirmed = self.world.thread.confirm(&live, deadline) => confirmed,
                error = self.too_long(None) => return self.stop(&error),
            },
            None => Err(Error::lapsed("the hold is not on")),
        };
        let step = step.to_owned();
        match confirmed {
            Ok(evidence) => self.world.ledger.note(Event::Confirmed { step, evidence }),
            Err(error)
                if self.members.of(&step).plan.on_quiesce_failure == OnQuiesceFailure::CrashConsistent
                    && error.kind() != ErrorKind::Cancelled =>
            {
                self.world.ledger.note(Event::Unproven { step, error: Failure::from(&error) });
            }
            Err(error) => self.failed(&step, &error),
        }
    }

    async fn commit(&mut self) {
        let prepared = tokio::select! {
            prepared = commit::prepare(self.members) => prepared,
            () = self.cancel.cancelled() => Err(cancelled()),
        };
        match prepared {
            Ok(point) => self.world.ledger.note(commit::write(self.world, &point, &self.cancel).await),
            Err(error) => self.failed(COMMIT, &error),
        }
    }

    async fn dispose(&mut self, step: &str) {
        self.stop_services().await;
        let deadline = tokio::time::Instant::now() + ABANDONED;
        for task in self.abandoned.drain(..) {
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                tracing::warn!("a step that was ended goes on; what it leaves is removed by the next run");
            }
        }
        let step = step.to_owned();
        match undo(self.members.of(&step), &step).await {
            Ok(undone) => {
                self.note_undone(&step, undone);
                self.world.ledger.note(Event::Disposed { step });
            }
            Err(error) => self.world.ledger.note(Event::LeftBehind { step, error: Failure::from(&error) }),
        }
    }

    async fn stop_services(&self) {
        for world in self.members.iter() {
            let services: Vec<_> = std::mem::take(&mut *locked(&world.services)).into_iter().collect();
            for (name, running) in services.into_iter().rev() {
                if let Err(error) = running.service.stop().await {
                    tracing::warn!("the service {name} could not be ended: {}", error.chain());
                }
            }
        }
    }
}

fn cancelled() -> Error {
    Error::cancelled("the run was cancelled").remedy("Nothing is held. Start it again when you like.")
}

/// Does a step and notes how it ended, also when nobody waits for it any more.
async fn perform_and_note(context: StepContext) {
    let step = context.step.id.clone();
    let ledger = Arc::clone(&context.world.ledger);
    ledger.note(match unbroken(steps::perform(context)).await {
        Ok(Performed { outputs, facts, checks, artifacts }) => {
            Event::Done { step, outputs, facts, checks, artifacts }
        }
        Err(error) => Event::Failed { step, error: Failure::from(&error) },
    });
}

/// Undoes what a step intended, from its record alone.
pub(super) async fn undo(world: &Arc<World>, step: &str) -> Result<Undone> {
    let events = world.ledger.events();
    // The last one: what was intended before it was disposed of before it.
    let intent = events.iter().rev().find_map(|event| match event {
        Event::Intent { step: intended, undo, .. } if intended == step => Some(undo.clone()),
        _ => None,
    });
    match intent {
        None => Ok(Undone::AlreadyGone),
        Some(Undo::Strays) => {
            let repository = world.repository()?;
            let removed = repository.discard_strays(Some(&world.run)).await?;
            Ok(if removed > 0 { Undone::LetGo } else { Undone::AlreadyGone })
        }
        Some(Undo::Runtime { record, secrets }) => {
            let target = world.target();
            let secrets: BTreeMap<String, Secret> = secrets
                .iter()
                .filter_map(|(name, parameter)| Some((name.clone(), target.secrets.get(parameter)?.clone())))
                .collect();
            world.host.runtime.dispose(&record, &secrets).await
        }
        Some(Undo::Hold { hook, connection, volume, record }) => {
            let planned = world.plan.step(step).cloned();
            let planned = planned.ok_or_else(|| Error::failed(format!("{step} is not in the plan")))?;
            let context = StepContext {
                world: Arc::clone(world),
                scope: Arc::new(world.plan.static_scope()),
                step: Arc::new(planned),
                cancel: CancellationToken::new(),
            };
            let hook_context = context.hook_context(&hook, connection.as_deref(), volume.as_deref(), None)?;
            let hook = world.hook(&hook)?;
            let undoing = async move { hook.undo(&record, &hook_context).await };
            world.thread.within(RELEASE_DEADLINE, "undoing the hold", undoing).await
        }
    }
}
