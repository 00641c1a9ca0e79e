//! What may be claimed of a backup: never more than was proven.

use std::collections::BTreeMap;

use super::{
    members::Members,
    world::{World, locked},
};
use crate::{
    Error, Result,
    journal::Event,
    language::OnQuiesceFailure,
    plan::Plan,
    point::{Consistency, Evidence, HoldReport},
    runtime::CaptureMode,
};

/// The proof of a run's consistency; a recovery point is made of nothing less.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) consistency: Consistency,
    pub(super) holds: Vec<HoldReport>,
}

impl Proof {
    /// Looks at everything that happened. Of a group, every member must be proven by itself.
    ///
    /// # Errors
    /// When nothing, or not enough, proves that the copy is consistent.
    pub(super) fn of(members: &Members) -> Result<Self> {
        let mut whole = Self { consistency: Consistency::Application, holds: Vec::new() };
        for world in members.iter() {
            let one = Self::of_member(world)?;
            if one.consistency == Consistency::Crash {
                whole.consistency = Consistency::Crash;
            }
            whole.holds.extend(one.holds);
        }
        Ok(whole)
    }

    fn of_member(world: &World) -> Result<Self> {
        let holds = holds(world);
        let every_hold = holds.iter().all(|hold| hold.evidence.is_some());
        let consistency = match (holds.is_empty(), every_hold) {
            (false, true) if proves_application(world, &holds) => Consistency::Application,
            (false, true) => Consistency::Crash,
            (true, _) if only_consistent_streams(&world.plan) => Consistency::Application,
            _ if accepts_crash(world) => Consistency::Crash,
            (true, _) => {
                let of =
                    world.plan.request.member.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
                return Err(Error::failed(format!("nothing proves that the copy{of} is consistent"))
                    .remedy("Add a hold to `quiesce`, or accept a crash-consistent copy with `onQuiesceFailure: crash-consistent`."));
            }
            (false, false) => {
                return Err(Error::lapsed("a hold was not proven to have spanned the cut")
                    .remedy("Run the backup again; the log says which hold lapsed and why."));
            }
        };
        Ok(Self { consistency, holds })
    }
}

/// Whether one of the holds proves more than that all files are of one moment. What an author's own commands prove, the
/// author says by using them.
fn proves_application(world: &World, holds: &[HoldReport]) -> bool {
    holds.iter().any(|hold| match hold.hook.split_once('/') {
        Some((hook, verb)) => {
            world.hook(hook).is_ok_and(|hook| hook.proves(verb) == Consistency::Application)
        }
        None => true,
    })
}

/// The holds of a member, each with its evidence if both its confirmation and its release gave some.
pub(super) fn holds(world: &World) -> Vec<HoldReport> {
    let (mut confirmed, mut released) = (BTreeMap::new(), BTreeMap::new());
    for event in world.ledger.events() {
        match event {
            Event::Confirmed { step, evidence } => {
                confirmed.insert(step, evidence);
            }
            Event::Released { step, evidence: Some(evidence), .. } => {
                released.insert(step, evidence);
            }
            _ => {}
        }
    }
    let meter = locked(&world.meter);
    let holds = world.plan.steps.iter().filter_map(|step| Some((step, step.hold?, meter.times(&step.id)?)));
    holds
        .map(|(step, traits, (acquired_at, released_at))| HoldReport {
            step: world.plan.qualified(step.label()),
            hook: step.what(),
            kind: traits.kind,
            blocks_writes: meter.blocks_writes(&step.id).unwrap_or(traits.blocks_writes),
            acquired_at,
            released_at,
            evidence: both(confirmed.get(&step.id), released.get(&step.id)),
        })
        .collect()
}

fn both(confirmed: Option<&Evidence>, released: Option<&Evidence>) -> Option<Evidence> {
    Some(confirmed?.clone().merge(released?.clone()))
}

/// Whether everything that is stored comes from commands that take a consistent copy by themselves.
fn only_consistent_streams(plan: &Plan) -> bool {
    let mut streams = plan.steps.iter().filter_map(|step| step.step.stream.as_ref()).peekable();
    let trees = plan.steps.iter().any(|step| step.step.volume.is_some() || step.step.files.is_some());
    streams.peek().is_some() && !trees && streams.all(|stream| stream.consistent)
}

/// Whether the author accepts a crash-consistent copy, and every capture was atomic.
fn accepts_crash(world: &World) -> bool {
    let captures = locked(&world.captures);
    world.plan.on_quiesce_failure == OnQuiesceFailure::CrashConsistent
        && captures.len() == 1
        && captures.values().all(|capture| capture.captured.mode == CaptureMode::Atomic)
}
