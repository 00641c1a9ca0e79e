//! What happened in this run: visible at once to the machine, written behind to the journal.
//!
//! Only what creates an obligation waits for the disk ([`Ledger::intend`]). Everything else is queued in order, so
//! that a slow or full disk never keeps a database held.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::world::Observer;
use crate::{
    Error, ErrorKind, Result,
    journal::{Event, Failure, Journal, Undo},
};

type Written = oneshot::Sender<Result<()>>;

/// The events of a run.
pub(super) struct Ledger {
    events: Mutex<Vec<Event>>,
    queue: mpsc::UnboundedSender<(Event, Option<Written>)>,
    observer: Arc<dyn Observer>,
}

impl Ledger {
    /// A ledger over a journal, with the events that it holds already.
    pub(super) fn new(
        journal: Box<dyn Journal>,
        events: Vec<Event>,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        let (queue, orders) = mpsc::unbounded_channel();
        let ledger = Arc::new(Self { events: Mutex::new(events), queue, observer });
        tokio::spawn(write(journal, orders, Arc::downgrade(&ledger)));
        ledger
    }

    /// All events so far.
    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, event: Event) {
        self.observer.event(&event);
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Notes what happened. It is written behind; nobody waits for it.
    pub(super) fn note(&self, event: Event) {
        // A closed queue means that the journal failed; that was noted when it happened.
        let _ = self.queue.send((event.clone(), None));
        self.show(event);
    }

    /// Writes the intent of an effect and its undo. Only after `Ok` may the effect happen.
    pub(super) async fn intend(&self, step: &str, undo: Undo, keep: bool) -> Result<()> {
        self.record(Event::Intent { step: step.to_owned(), undo, keep }).await
    }

    /// Writes an event that something depends on, and waits until it and all before it are durable.
    pub(super) async fn record(&self, event: Event) -> Result<()> {
        let (written, outcome) = oneshot::channel();
        let queued = self.queue.send((event.clone(), Some(written)));
        match (queued, outcome.await) {
            (Ok(()), Ok(Ok(()))) => {
                self.show(event);
                Ok(())
            }
            (Ok(()), Ok(Err(error))) => Err(error),
            _ => Err(Error::failed("the journal cannot be written any more")
                .remedy("See the earlier message about the journal; nothing was begun after it.")),
        }
    }

    /// Waits until everything noted so far is durable, but not longer than `within`. Time in which this whole process
    /// was stopped does not count: the journal had no chance then.
    pub(super) async fn flush(&self, event: Event, within: Duration) {
        let recorded = tokio::select! {
            recorded = self.record(event.clone()) => recorded,
            () = awake_for(within) => Err(Error::failed(format!("it took longer than {within:?}"))),
        };
        if let Err(error) = recorded {
            tracing::warn!("the end of the run could not be written to its journal: {}", error.chain());
            self.show(event);
        }
    }
}

/// Waits for a time that is counted in short slices, so that a stop of this process counts as one slice.
async fn awake_for(time: Duration) {
    const SLICES: u32 = 20;
    for _ in 0..SLICES {
        tokio::time::sleep(time / SLICES).await;
    }
}

/// Appends events in order. After the first failure nothing more is written, and the run is told to stop.
async fn write(
    journal: Box<dyn Journal>,
    mut orders: mpsc::UnboundedReceiver<(Event, Option<Written>)>,
    ledger: std::sync::Weak<Ledger>,
) {
    while let Some((event, written)) = orders.recv().await {
        let outcome = journal.append(&event).await;
        let failed = outcome.as_ref().err().map(stop);
        if let Some(written) = written {
            let _ = written.send(outcome);
        }
        if let Some(error) = failed {
            tracing::error!("{}", error.message);
            if let Some(ledger) = ledger.upgrade() {
                ledger.show(Event::Stopped { error });
            }
            return;
        }
    }
}

fn stop(error: &Error) -> Failure {
    if error.kind() == ErrorKind::Fenced {
        return Failure::from(error);
    }
    Failure {
        kind: ErrorKind::Failed,
        message: format!("the journal cannot be written: {}", error.chain()),
        remedy: Some(
            "Make room on the disk that holds the state directory, then run `standstill recover`.".into(),
        ),
    }
}
