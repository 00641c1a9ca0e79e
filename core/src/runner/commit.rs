//! The commit: one write, last, made of nothing less than the proof.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    COMMIT,
    members::Members,
    proof::Proof,
    world::{World, locked},
};
use crate::{
    Error, Result,
    journal::{Event, Failure},
    language::Blueprint,
    point::{Fact, Freeze, Outputs, PointMember, RecoveryPoint, StoredArtifact},
    units::{milliseconds, show_duration},
};

/// How long a commit may go on after the run was cancelled.
const WRITTEN: Duration = Duration::from_mins(1);

/// Builds the recovery point, and notes that it is about to be committed.
pub(super) async fn prepare(members: &Members) -> Result<RecoveryPoint> {
    let (point, world) = (point(members)?, members.first());
    if point.artifacts.is_empty() {
        return Err(Error::failed("nothing was stored, so there is nothing to commit")
            .remedy("Add a `volume`, `files` or `stream` step that stores something."));
    }
    still_alone(members).await?;
    world.ledger.record(Event::Committing).await?;
    Ok(point)
}

/// Commits it. What was begun is not abandoned when the run is cancelled: its thread would write on, while what it names
/// is removed.
pub(super) async fn write(world: &World, point: &RecoveryPoint, cancel: &CancellationToken) -> Event {
    let repository = match world.repository() {
        Ok(repository) => repository,
        Err(error) => return failed(&error),
    };
    let mut written = pin!(repository.commit(point));
    let ended = tokio::select! {
        ended = &mut written => Ok(ended),
        () = cancel.cancelled() => tokio::time::timeout(WRITTEN, written).await,
    };
    match ended {
        Ok(Ok(())) => committed(world),
        // It may have been reached before the error: what is there decides.
        Ok(Err(error)) => match is_there(world).await {
            Ok(true) => committed(world),
            Ok(false) => failed(&error),
            Err(_) => unseen(error),
        },
        Err(_) => unseen(Error::failed(format!(
            "it had not ended {} after the run was cancelled",
            show_duration(WRITTEN)
        ))),
    }
}

fn committed(world: &World) -> Event {
    Event::Committed { point: world.run.clone() }
}

fn failed(error: &Error) -> Event {
    Event::Failed { step: COMMIT.to_owned(), error: Failure::from(error) }
}

fn unseen(cause: Error) -> Event {
    let error = Error::failed("whether the run reached its commit could not be seen").because(cause).remedy(
        "Everything that it may have committed stays. The next backup looks again, and so does `standstill recover` with \
         its repository.",
    );
    Event::CommitUnseen { error: Failure::from(&error) }
}

/// Whether no other run can have worked on a target meanwhile.
async fn still_alone(members: &Members) -> Result<()> {
    for world in members.iter() {
        let locks = Arc::clone(&world.target().locks);
        for lock in locks.iter() {
            if !lock.is_held().await {
                let message = "the lock on the target was lost, so another run may have worked on it";
                return Err(Error::failed(message).remedy("Run the backup again."));
            }
        }
    }
    Ok(())
}

/// Whether the recovery point of this run is in the repository.
///
/// # Errors
/// When that cannot be seen.
async fn is_there(world: &World) -> Result<bool> {
    let points = world.repository()?.points().await?;
    Ok(points.iter().any(|listed| listed.point.id == world.run))
}

/// Says whether a commit that the journal does not know the end of was reached.
pub(super) async fn settle(world: &World) -> Event {
    if let (Some(wanted), Some(given)) = (&world.plan.request.repository, &world.host.repository)
        && wanted.trim_end_matches('/') != given.location().trim_end_matches('/')
    {
        let text = format!("its repository is {wanted}, and this is {}", given.location());
        return unseen(Error::failed(text));
    }
    match is_there(world).await {
        Ok(true) => committed(world),
        Ok(false) => failed(&Error::failed("the run ended before its commit")),
        Err(cause) => unseen(cause),
    }
}

/// The recovery point that this run has earned.
fn point(members: &Members) -> Result<RecoveryPoint> {
    let proof = Proof::of(members)?;
    let (plan, request, world) = (&members.plan, &members.plan.request, members.first());
    let gathered = Gathered::of(members);
    let meter = locked(&world.meter);
    let freeze = Freeze {
        milliseconds: milliseconds(meter.freeze()),
        maximum_milliseconds: milliseconds(plan.limits.max_freeze),
    };
    // Of a group, each member knows its own database.
    let probe = world.target().probe.clone().filter(|_| !plan.is_group());
    Ok(RecoveryPoint {
        id: world.run.clone(),
        name: request.application.clone(),
        blueprint: plan.name.clone(),
        blueprint_digest: Blueprint::digest(&request.blueprint_text),
        blueprint_text: request.blueprint_text.clone(),
        parameters: request.parameters.clone(),
        cut_at: meter.cut_at.ok_or_else(|| Error::failed("the run has no cut"))?,
        started_at: meter.started_at,
        consistency: proof.consistency,
        freeze,
        holds: proof.holds,
        outputs: gathered.recorded,
        artifacts: gathered.artifacts,
        facts: gathered.facts,
        version: probe.as_ref().map(|probe| probe.version.clone()),
        identity: probe.map(|probe| probe.identity),
        members: members.iter().filter_map(|world| member(world)).collect(),
        standstill: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// What the recovery point of a group says of one of its members.
fn member(world: &World) -> Option<PointMember> {
    let (plan, probe) = (&world.plan, world.target().probe.clone());
    Some(PointMember {
        name: plan.request.member.clone()?,
        blueprint: plan.blueprint.metadata.name.clone(),
        blueprint_digest: Blueprint::digest(&plan.request.blueprint_text),
        blueprint_text: plan.request.blueprint_text.clone(),
        parameters: plan.request.parameters.clone(),
        version: probe.as_ref().map(|probe| probe.version.clone()),
        identity: probe.map(|probe| probe.identity),
    })
}

/// What the steps of a run left.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) recorded: BTreeMap<String, Outputs>,
    pub(super) artifacts: Vec<StoredArtifact>,
    pub(super) facts: Vec<Fact>,
}

impl Gathered {
    /// Gathers from everything that happened.
    pub(super) fn of(members: &Members) -> Self {
        let mut gathered = Self::default();
        for event in members.first().ledger.events() {
            match event {
                Event::Done { step, outputs, facts, artifacts, .. } => {
                    gathered.artifacts.extend(artifacts);
                    gathered.take(members, &step, outputs, facts);
                }
                Event::Released { step, outputs, facts, .. } => gathered.take(members, &step, outputs, facts),
                _ => {}
            }
        }
        gathered
    }

    fn take(&mut self, members: &Members, step: &str, outputs: Outputs, facts: Vec<Fact>) {
        let plan = &members.of(step).plan;
        let facts = facts.into_iter().map(|fact| Fact { name: plan.qualified(&fact.name), ..fact });
        self.facts.extend(facts);
        let Some(step) = plan.step(step) else { return };
        let wanted = outputs.into_iter().filter(|(name, _)| step.step.record.contains(name));
        let wanted: Outputs = wanted.collect();
        if !wanted.is_empty() {
            self.recorded.entry(plan.qualified(step.label())).or_default().extend(wanted);
        }
    }
}
