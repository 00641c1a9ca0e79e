//! What happened in this run: visible at once to the machine, written behind to the journal.
//!
//! Only what creates an obligation waits for the disk ([`Ledger::intend`]). Everything else is queued in order, so
//! that a slow or full disk never keeps a database held.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::world::Observer;
use crate::{
    Error, ErrorKind, Result,
    journal::{Event, Failure, Journal, Undo},
};

type Written = oneshot::Sender<Result<()>>;
/// An event, and who waits until it and all before it are durable.
type Order = (Option<Event>, Option<Written>);

/// The events of a run.
pub(super) struct Ledger {
    events: Mutex<Vec<Event>>,
    queue: mpsc::UnboundedSender<Order>,
    journal: Arc<dyn Journal>,
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
        let journal: Arc<dyn Journal> = journal.into();
        let writing = Arc::clone(&journal);
        let ledger = Arc::new(Self { events: Mutex::new(events), queue, journal, observer });
        tokio::spawn(write(writing, orders, Arc::downgrade(&ledger)));
        ledger
    }

    /// The journal, to ask whether it is still this run's.
    pub(super) fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal)
    }

    /// All events so far.
    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The record of what was intended under an id and has not been disposed of since.
    pub(super) fn open(&self, id: &str) -> Option<Value> {
        self.all_open(|step| step == id).remove(id)
    }

    /// The same of all ids that are meant.
    pub(super) fn all_open(&self, is_meant: impl Fn(&str) -> bool) -> BTreeMap<String, Value> {
        let mut open = BTreeMap::new();
        for event in self.events() {
            match event {
                Event::Intent { step, undo: Undo::Runtime { record, .. }, .. } if is_meant(&step) => {
                    open.insert(step, record);
                }
                Event::Disposed { step } => {
                    open.remove(&step);
                }
                _ => {}
            }
        }
        open
    }

    fn show(&self, event: Event) {
        self.observer.event(&event);
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Notes what happened. It is written behind; nobody waits for it.
    pub(super) fn note(&self, event: Event) {
        // A closed queue means that the journal failed; that was noted when it happened.
        let _ = self.queue.send((Some(event.clone()), None));
        self.show(event);
    }

    /// Writes the intent of an effect and its undo. Only after `Ok` may the effect happen.
    pub(super) async fn intend(&self, step: &str, undo: Undo, keep: bool) -> Result<()> {
        self.record(Event::Intent { step: step.to_owned(), undo, keep }).await
    }

    /// Writes an event that something depends on, and waits until it and all before it are durable.
    pub(super) async fn record(&self, event: Event) -> Result<()> {
        self.written(Some(event.clone())).await?;
        self.show(event);
        Ok(())
    }

    async fn written(&self, event: Option<Event>) -> Result<()> {
        let (written, outcome) = oneshot::channel();
        let queued = self.queue.send((event, Some(written)));
        match (queued, outcome.await) {
            (Ok(()), Ok(written)) => written,
            _ => Err(Error::failed("the journal cannot be written any more")
                .remedy("See the earlier message about the journal; nothing was begun after it.")),
        }
    }

    /// Waits until everything noted so far is durable, and a last event if there is one, but not longer than `within`.
    /// Time in which this whole process was stopped does not count: the journal had no chance then.
    pub(super) async fn flush(&self, last: Option<Event>, within: Duration) {
        let written = tokio::select! {
            written = self.written(last.clone()) => written,
            () = awake_for(within) => Err(Error::failed(format!("it took longer than {within:?}"))),
        };
        if let Err(error) = written {
            tracing::warn!("the end of the run could not be written to its journal: {}", error.chain());
        }
        if let Some(last) = last {
            self.show(last);
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
    journal: Arc<dyn Journal>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    ledger: std::sync::Weak<Ledger>,
) {
    while let Some(first) = orders.recv().await {
        let batch = gather(first, &mut orders, journal.gathers()).await;
        let (events, waiting): (Vec<Option<Event>>, Vec<Option<Written>>) = batch.into_iter().unzip();
        let events: Vec<Event> = events.into_iter().flatten().collect();
        let outcome = if events.is_empty() { Ok(()) } else { journal.append_all(&events).await };
        for written in waiting.into_iter().flatten() {
            let _ =
                written.send(outcome.as_ref().copied().map_err(|error| Error::from(&Failure::from(error))));
        }
        if let Err(error) = &outcome {
            let error = stop(error);
            tracing::error!("{}", error.message);
            if let Some(ledger) = ledger.upgrade() {
                ledger.show(Event::Stopped { error });
            }
            return;
        }
    }
}

/// The events that are appended together: with one that somebody waits for, only those that are queued already.
async fn gather(first: Order, orders: &mut mpsc::UnboundedReceiver<Order>, within: Duration) -> Vec<Order> {
    let mut batch = vec![first];
    if within.is_zero() {
        return batch;
    }
    let until = tokio::time::Instant::now() + within;
    loop {
        while let Ok(more) = orders.try_recv() {
            batch.push(more);
        }
        if batch.iter().any(|(_, written)| written.is_some()) {
            return batch;
        }
        match tokio::time::timeout_at(until, orders.recv()).await {
            Ok(Some(more)) => batch.push(more),
            Ok(None) | Err(_) => return batch,
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::runner::NoObserver;

    /// A fake: remembers what was appended together.
    #[derive(Clone, Default)]
    struct Batches(Arc<Mutex<Vec<usize>>>, Duration);

    #[async_trait]
    impl Journal for Batches {
        async fn append(&self, event: &Event) -> Result<()> {
            self.append_all(std::slice::from_ref(event)).await
        }

        async fn append_all(&self, events: &[Event]) -> Result<()> {
            self.0.lock().unwrap().push(events.len());
            Ok(())
        }

        fn gathers(&self) -> Duration {
            self.1
        }
    }

    fn ledger(gathers: Duration) -> (Arc<Ledger>, Batches) {
        let journal = Batches(Arc::default(), gathers);
        (Ledger::new(Box::new(journal.clone()), Vec::new(), Arc::new(NoObserver)), journal)
    }

    fn batches(journal: &Batches) -> Vec<usize> {
        journal.0.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_gathered_until_somebody_waits() {
        let (ledger, journal) = ledger(Duration::from_mins(1));
        for _ in 0..3 {
            ledger.note(Event::Cut);
            tokio::task::yield_now().await;
        }
        assert_eq!(batches(&journal), [0; 0]);
        ledger.record(Event::TakenOver).await.unwrap();
        assert_eq!(batches(&journal), [4], "durable before the record returns");
    }

    #[tokio::test]
    async fn nothing_is_kept_back_for_ever() {
        let (ledger, journal) = ledger(Duration::from_millis(1));
        ledger.note(Event::Cut);
        while batches(&journal).is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(batches(&journal), [1]);
    }

    #[tokio::test]
    async fn an_end_without_a_last_event_waits_for_all_before_it() {
        let (ledger, journal) = ledger(Duration::from_mins(1));
        ledger.note(Event::Cut);
        ledger.flush(None, Duration::from_mins(1)).await;
        assert_eq!(batches(&journal), [1]);
        ledger.flush(None, Duration::from_mins(1)).await;
        assert_eq!(batches(&journal), [1], "nothing is written for it");
    }

    #[tokio::test]
    async fn a_journal_that_gathers_nothing_gets_each_event_by_itself() {
        let (ledger, journal) = ledger(Duration::ZERO);
        for _ in 0..3 {
            ledger.note(Event::Cut);
        }
        ledger.record(Event::TakenOver).await.unwrap();
        assert_eq!(batches(&journal), [1; 4]);
    }
}
