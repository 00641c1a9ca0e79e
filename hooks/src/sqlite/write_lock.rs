//! The hold that keeps writers out: a holder process has the lock, a witness process proves it.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Hold, HookContext, Receipt},
    point::{Evidence, Outputs},
    units::milliseconds,
};

use super::{
    arguments::{self, FactsWanted},
    client::start,
    facts,
    task::{
        Count, Held, HoldOrder, HoldTask, Owner, StillHeld, Task, Watched, WitnessOrder, WitnessTask,
        Witnessed,
    },
};
use crate::helper::Link;

/// How long a helper may take to end after it let go: at most this, and less under a short lease.
const END: Duration = Duration::from_secs(1);

/// Takes the lock. When it is cancelled or fails, the helpers see end of file and let go at once.
pub(super) async fn acquire(
    context: &HookContext,
    arguments: arguments::WriteLock,
    owner: Owner,
) -> Result<Acquired> {
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => {
            Err(Error::cancelled(format!("cancelled before {} was locked", owner.database.file.display())))
        }
        acquired = take(context, arguments, &owner) => acquired,
    }
}

async fn take(context: &HookContext, arguments: arguments::WriteLock, owner: &Owner) -> Result<Acquired> {
    let wait = arguments.wait_for.duration()?;
    // A release that takes longer than the lease counts as failed, however long ago the lock was let go.
    let count_within = arguments.facts_within.duration()?.min(context.lease / 3);
    let holder = Task::Hold(HoldTask {
        owner: owner.clone(),
        lease_milliseconds: milliseconds(context.lease),
        wait_milliseconds: milliseconds(wait),
    });
    let witness = Task::Witness(WitnessTask {
        owner: owner.clone(),
        lease_milliseconds: milliseconds(context.lease),
        sync: arguments.sync,
        tables: (arguments.facts == FactsWanted::Exact).then_some(arguments.tables),
        count_milliseconds: milliseconds(count_within),
    });
    // Both processes are up before writers start to wait.
    let (holder, witness) = tokio::join!(start(context, &holder), start(context, &witness));
    let (mut holder, mut witness) = (holder?, witness?);

    let sent = Instant::now();
    let held: Held = holder.request(HoldOrder::Acquire, wait + context.lease).await?;
    // The wait was measured from the receipt of the order, which was not before it was sent.
    let since = sent + Duration::from_micros(held.waited_microseconds);
    let watched: Watched = witness.request(WitnessOrder::Watch, context.lease).await?;

    let outputs = Outputs::from([
        ("journalMode".to_owned(), held.journal_mode.as_str().into()),
        ("pageCount".to_owned(), held.page_count.into()),
    ]);
    let acquired = WriteLock {
        holder,
        witness,
        file: owner.database.file.clone(),
        held,
        watched,
        lease: context.lease,
        count_within,
        state: State::On,
    };
    Ok(Acquired { hold: Box::new(acquired), outputs, since })
}

/// Compares what holder and witness see with what they saw when the lock was taken.
///
/// The holder took the lock once, in the transaction that is still open, so if it is the kernel's owner of the lock
/// now it has been so all the time. That the write is refused alone would not do: somebody else may have the lock.
fn prove(held: Held, watched: Watched, inside: StillHeld, outside: Witnessed) -> Result<Evidence, String> {
    if !outside.refused {
        return Err("another process was allowed to write".to_owned());
    }
    if let Some(owner) = outside.owner
        && owner != held.pid
    {
        return Err(format!("process {owner} has it, not the holder {}", held.pid));
    }
    if outside.data_version != watched.data_version {
        return Err("somebody committed while it was held".to_owned());
    }
    if inside.page_count != held.page_count {
        return Err("the number of pages changed while it was held".to_owned());
    }
    Ok(Evidence::of("journalMode", held.journal_mode.as_str())
        .and("pageCount", inside.page_count)
        .and("dataVersion", outside.data_version)
        .and("writeRefused", true)
        .and("lockOwner", outside.owner.map_or(Value::Null, Into::into))
        .and("heldMillisecondsAtConfirm", inside.held_milliseconds))
}

/// The hold.
struct WriteLock {
    holder: Link,
    witness: Link,
    file: PathBuf,
    held: Held,
    watched: Watched,
    lease: Duration,
    count_within: Duration,
    state: State,
}

enum State {
    On,
    /// Let go in order; facts may still be counted, unless that was tried before.
    LetGo {
        receipt: Box<Receipt>,
        counted: bool,
    },
    /// Everything is over.
    Done(Box<Receipt>),
    Lapsed,
}

impl WriteLock {
    /// The deadline of one order: it must leave room for another attempt within the lease.
    fn patience(&self) -> Duration {
        self.lease / 4
    }

    /// How long a helper may take to end.
    fn end(&self) -> Duration {
        END.min(self.lease / 10)
    }

    fn lapsed(&self, why: &str) -> Error {
        Error::lapsed(format!("the write lock on {} cannot be proven: {why}", self.file.display())).remedy(
            "Run the backup again; if it happens again, look for what ends or stops helper processes.",
        )
    }

    /// Lets go of the lock, and of the witness' reader where that keeps writers waiting too.
    async fn let_go(&mut self) -> Result<()> {
        let patience = self.patience();
        let (released, yielded) = tokio::join!(
            self.holder.request::<StillHeld>(HoldOrder::Release, patience),
            self.witness.request::<()>(WitnessOrder::Yield, patience),
        );
        let mut counted = false;
        if let Err(error) = yielded {
            tracing::warn!(error = error.chain(), "the witness of a write lock does not answer; it is ended");
            let end = self.end();
            self.witness.close(end).await?;
            counted = true;
        }
        let held = match released {
            Ok(held) => held,
            Err(error) => {
                // Whatever the holder still had ends with its process.
                let end = self.end();
                self.holder.close(end).await?;
                self.state = State::Lapsed;
                return Err(self.lapsed("the holder did not let go in order").because(error));
            }
        };
        let receipt = Box::new(Receipt {
            evidence: Evidence::of("heldMilliseconds", held.held_milliseconds),
            outputs: Outputs::new(),
            facts: Vec::new(),
            released: Instant::now(),
            froze: None,
        });
        self.state = State::LetGo { receipt, counted };
        Ok(())
    }

    /// Counts what keeps nobody waiting any more. A failure costs facts, never the backup.
    async fn count(&mut self) -> Vec<Count> {
        match self.witness.request(WitnessOrder::Count, self.count_within + self.patience()).await {
            Ok(counts) => counts,
            Err(error) => {
                tracing::warn!(error = error.chain(), file = %self.file.display(), "the rows were not counted");
                Vec::new()
            }
        }
    }

    async fn end_helpers(&mut self) {
        let end = self.end();
        let (holder, witness) = tokio::join!(self.holder.close(end), self.witness.close(end));
        for error in [holder.err(), witness.err()].into_iter().flatten() {
            tracing::warn!(error = error.chain(), "a helper of a write lock did not end in order");
        }
    }
}

#[async_trait]
impl Hold for WriteLock {
    async fn renew(&mut self) -> Result<()> {
        match self.state {
            State::On => {}
            State::LetGo { .. } | State::Done(_) => return Ok(()),
            State::Lapsed => return Err(self.lapsed("it was let go")),
        }
        let patience = self.patience();
        let (holder, witness) = tokio::join!(
            self.holder.request::<()>(HoldOrder::Renew, patience),
            self.witness.request::<()>(WitnessOrder::Renew, patience),
        );
        holder.and(witness)
    }

    async fn confirm(&mut self) -> Result<Evidence> {
        if !matches!(self.state, State::On) {
            return Err(self.lapsed("it was let go"));
        }
        let patience = self.patience();
        let (inside, outside) = tokio::join!(
            self.holder.request::<StillHeld>(HoldOrder::Confirm, patience),
            self.witness.request::<Witnessed>(WitnessOrder::Confirm, patience),
        );
        let inside = inside.map_err(|error| self.lapsed("the holder does not say so").because(error))?;
        let outside = outside.map_err(|error| self.lapsed("the witness does not say so").because(error))?;
        prove(self.held, self.watched, inside, outside).map_err(|why| self.lapsed(&why))
    }

    async fn release(&mut self) -> Result<Receipt> {
        if matches!(self.state, State::On) {
            self.let_go().await?;
        }
        if let State::LetGo { counted, .. } = &mut self.state {
            let tried = std::mem::replace(counted, true);
            let counts = if tried { Vec::new() } else { self.count().await };
            let facts = facts::of(&self.file, &counts);
            self.end_helpers().await;
            if let State::LetGo { receipt, .. } = std::mem::replace(&mut self.state, State::Lapsed) {
                self.state = State::Done(Box::new(Receipt { facts, ..*receipt }));
            }
        }
        match &self.state {
            State::Done(receipt) => Ok(receipt.as_ref().clone()),
            _ => Err(self.lapsed("it was let go")),
        }
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        if matches!(self.state, State::On) {
            tracing::error!(
                "the write lock on {} was dropped unreleased; its holder lets go now",
                self.file.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::task::JournalMode, *};

    const HELD: Held = Held { pid: 7, journal_mode: JournalMode::Wal, page_count: 3, waited_microseconds: 0 };
    const WATCHED: Watched = Watched { data_version: 5 };
    const INSIDE: StillHeld = StillHeld { held_milliseconds: 1, page_count: 3 };
    const OUTSIDE: Witnessed = Witnessed { data_version: 5, refused: true, owner: Some(7) };

    fn why(inside: StillHeld, outside: Witnessed) -> String {
        prove(HELD, WATCHED, inside, outside).unwrap_err()
    }

    #[test]
    fn a_lock_that_all_agree_on_is_proven() {
        let evidence = prove(HELD, WATCHED, INSIDE, OUTSIDE).unwrap();
        assert_eq!(evidence.get("lockOwner").unwrap(), 7);
        assert_eq!(evidence.get("writeRefused").unwrap(), true);
    }

    #[test]
    fn a_lock_is_not_proven_where_anybody_could_write() {
        assert!(why(INSIDE, Witnessed { refused: false, ..OUTSIDE }).contains("allowed to write"));
    }

    #[test]
    fn a_refusal_because_of_somebody_elses_lock_proves_nothing() {
        assert!(why(INSIDE, Witnessed { owner: Some(8), ..OUTSIDE }).contains("process 8 has it"));
    }

    #[test]
    fn a_commit_seen_from_outside_proves_a_gap() {
        assert!(why(INSIDE, Witnessed { data_version: 6, ..OUTSIDE }).contains("somebody committed"));
        assert!(why(StillHeld { page_count: 4, ..INSIDE }, OUTSIDE).contains("number of pages"));
    }
}
