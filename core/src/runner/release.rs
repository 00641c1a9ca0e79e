//! Letting go: of holds, and of what was changed around the target. It is insisted on.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{
    execution::{Execution, RELEASE_DEADLINE, undo},
    world::locked,
};
use crate::{
    Error, ErrorKind, Result,
    hook::Moment,
    journal::{Event, Failure},
    language::{OnQuiesceFailure, Phase},
};

/// What is insisted on.
#[derive(Debug, Clone, Copy)]
enum LetGo {
    /// A hold is let go.
    Hold,
    /// What was changed around the target is put back; whether because the run is stopping.
    Change { stopping: bool },
}

impl LetGo {
    const fn done(self) -> &'static str {
        match self {
            Self::Hold => "let go",
            Self::Change { .. } => "put back",
        }
    }
}

impl Execution<'_> {
    /// Lets holds go, all at the same time: none waits for another one that cannot be let go.
    pub(super) async fn release(&mut self, steps: &[&str]) {
        let started = Moment::now();
        join_all(steps.iter().map(|step| self.release_one(step))).await;
        locked(&self.world.meter).phase(Phase::Recover, started);
    }

    /// By its own release, again and again; then by its undo. Where writes wait for another hold meanwhile, they do so no
    /// longer than they may: then the run stops, and this one is let go together with that.
    async fn release_one(&self, step: &str) {
        let others_may_wait = async {
            let others = locked(&self.world.meter).others_block(step);
            if others { self.too_long(Some(step)).await } else { std::future::pending().await }
        };
        let going = self.is_going();
        let outcome = tokio::select! {
            outcome = self.insist(step, LetGo::Hold) => outcome,
            error = others_may_wait, if going => return self.stop(&error),
        };
        locked(&self.world.holds).remove(step);
        self.world.ledger.note(outcome);
    }

    /// Whether nothing has ended the run early.
    fn is_going(&self) -> bool {
        let ends =
            |event: &Event| matches!(event, Event::Stopped { .. } | Event::Failed { .. } | Event::TakenOver);
        !self.world.ledger.events().iter().any(ends)
    }

    /// Tries again and again to let go, or to put back, until it is done or a person must do it.
    async fn insist(&self, step: &str, what: LetGo) -> Event {
        let deadline = Instant::now() + RELEASE_DEADLINE;
        let mut pause = Duration::from_millis(100);
        loop {
            let tried = match what {
                LetGo::Hold => self.try_release(step).await,
                LetGo::Change { stopping } => self.try_put_back(step, stopping).await,
            };
            let error = match tried {
                Ok(event) => return event,
                Err(error) => error,
            };
            if Instant::now() + pause >= deadline {
                let error = Failure::from(&error.of_kind(ErrorKind::StillHeld));
                return Event::StillHeld { step: step.to_owned(), error };
            }
            tracing::error!("{step} could not be {}, trying again: {}", what.done(), error.chain());
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Puts back what steps changed around the target: all of it first, and then, where somebody has use for it, until
    /// it is as it was.
    pub(super) async fn put_back(&mut self, steps: &[&str], wait: bool) {
        let started = Moment::now();
        let records: Vec<_> =
            steps.iter().map(|step| ((*step).to_owned(), self.world.ledger.open(step))).collect();
        for (step, _) in &records {
            let outcome = self.insist(step, LetGo::Change { stopping: !wait }).await;
            self.world.ledger.note(outcome);
        }
        let surroundings = self.world.host.runtime.surroundings();
        for (step, record) in records.iter().filter(|_| wait) {
            let (Some(surroundings), Some(record)) = (&surroundings, record) else { continue };
            let planned = self.members.of(step).plan.step(step).map(|step| step.timeout);
            let settled = tokio::select! {
                settled = surroundings.settled(record, planned.unwrap_or(RELEASE_DEADLINE)) => settled,
                () = self.cancel.cancelled() => break,
            };
            if let Err(error) = settled {
                tracing::warn!("{step} was put back: {}", error.chain());
            }
        }
        locked(&self.world.meter).phase(Phase::Recover, started);
    }

    async fn try_put_back(&self, step: &str, stopping: bool) -> Result<Event> {
        let undone = tokio::time::timeout(RELEASE_DEADLINE, undo(self.members.of(step), step)).await;
        let undone = undone.map_err(|_| Error::temporary("the cluster does not answer"))??;
        if stopping {
            self.note_undone(step, undone);
        }
        Ok(Event::Disposed { step: step.to_owned() })
    }

    async fn try_release(&self, step: &str) -> Result<Event> {
        let live = locked(&self.world.holds).get(step).cloned();
        let released =
            |evidence, outputs, facts| Event::Released { step: step.to_owned(), evidence, outputs, facts };
        if let Some(live) = live {
            match self.world.thread.release(&live, self.hold_deadline(step)).await {
                Ok(receipt) => {
                    let mut meter = locked(&self.world.meter);
                    meter.released(step, receipt.released);
                    if let Some(froze) = receipt.froze {
                        meter.froze(froze);
                    }
                    return Ok(released(Some(receipt.evidence), receipt.outputs, receipt.facts));
                }
                Err(error) if error.kind() == ErrorKind::HoldLapsed => self.lapsed(step, &error),
                Err(error) => tracing::error!("{step}: {}", error.chain()),
            }
        }
        let undone = undo(self.members.of(step), step).await?;
        locked(&self.world.meter).released(step, Instant::now());
        self.note_undone(step, undone);
        // A hold that its own release could not let go proves nothing.
        let event = released(None, BTreeMap::new(), Vec::new());
        self.lapsed(step, &Error::lapsed(format!("{step} was let go without its proof")));
        Ok(event)
    }

    /// Notes that a hold proves nothing, unless the run fails anyway or accepts that.
    fn lapsed(&self, step: &str, error: &Error) {
        let noted = |event: &Event| match event {
            Event::Failed { step: failed, .. } | Event::Unproven { step: failed, .. } => failed == step,
            Event::Stopped { .. } | Event::TakenOver => true,
            _ => false,
        };
        if self.world.ledger.events().iter().any(noted) {
            return;
        }
        if self.members.of(step).plan.on_quiesce_failure == OnQuiesceFailure::CrashConsistent {
            let error = Failure::from(error);
            self.world.ledger.note(Event::Unproven { step: step.to_owned(), error });
        } else {
            self.failed(step, error);
        }
    }
}
