//! The members of a run: one for each target. The machine orders their steps together; each step sees its own member.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::sync::watch;

use super::{
    holds::HoldThread,
    ledger::Ledger,
    meter::Meter,
    target::Target,
    world::{Host, World},
};
use crate::{
    Result,
    journal::{Event, Journal},
    plan::{Plan, PlannedStep, RunPlan},
    point::RunId,
};

/// What a member works with: what all do, but in its own place.
async fn of_member(host: &Host, member: &Plan, run: &RunId) -> Result<Host> {
    let mut host = host.clone();
    if let Some(name) = &member.request.member
        && let Some(runtime) = host.runtime.of_member(run, name).await?
    {
        host.runtime = runtime;
    }
    Ok(host)
}

/// The members of a run, in the order in which they are quiesced. They share its ledger, holds and measures. A run of
/// one blueprint has one member.
pub(super) struct Members {
    pub(super) plan: RunPlan,
    first: Arc<World>,
    others: Vec<Arc<World>>,
}

impl Members {
    /// Makes them, over a journal with the events that it holds already.
    ///
    /// # Errors
    /// When there is no thread for the holds, or when the place of a member cannot be looked up.
    pub(super) async fn new(
        host: &Host,
        plan: RunPlan,
        run: &RunId,
        journal: Box<dyn Journal>,
        events: Vec<Event>,
    ) -> Result<Self> {
        let ledger = Ledger::new(journal, events, Arc::clone(&host.observer));
        let (thread, meter) = (Arc::new(HoldThread::start()?), Arc::new(Mutex::new(Meter::new(plan.limits))));
        let (holds, recovering) = (Arc::default(), Arc::new(watch::Sender::new(false)));
        let world = |member: &Plan, host: Host| {
            Arc::new(World {
                plan: Arc::new(member.clone()),
                host,
                run: run.clone(),
                ledger: Arc::clone(&ledger),
                thread: Arc::clone(&thread),
                meter: Arc::clone(&meter),
                holds: Arc::clone(&holds),
                target: Mutex::new(Arc::new(Target::default())),
                services: Mutex::new(BTreeMap::new()),
                captures: Mutex::new(BTreeMap::new()),
                recovering: Arc::clone(&recovering),
            })
        };
        let of_first = world(plan.members().0, of_member(host, plan.members().0, run).await?);
        let mut others = Vec::new();
        for member in plan.members().1 {
            others.push(world(member, of_member(host, member, run).await?));
        }
        Ok(Self { plan, first: of_first, others })
    }

    /// The first one, for what they all share.
    pub(super) const fn first(&self) -> &Arc<World> {
        &self.first
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<World>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The member that a step, or what a step made, is of; the first one for what they share.
    pub(super) fn of(&self, id: &str) -> &Arc<World> {
        let member = id.split_once('/').map(|(member, _)| member);
        let found = self.iter().find(|world| world.plan.request.member.as_deref() == member);
        found.unwrap_or(&self.first)
    }

    /// A step of any of them.
    pub(super) fn step(&self, id: &str) -> Option<&PlannedStep> {
        self.of(id).plan.step(id)
    }
}
