//! Dying at a chosen point of the journal: for the crash matrix, in test builds only.
//!
//! `STANDSTILL_FAILPOINT=N:before|after:kill|stop` sends this process SIGKILL or SIGSTOP before or after its N-th
//! append (from 0) to the journal of a new run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rustix::process::{Signal, getpid, kill_process};
use standstill_core::{
    Error, Result,
    journal::{Entry, Event, Journal, JournalStore, RunSummary},
    point::RunId,
};

#[derive(Debug, Clone, Copy)]
struct Failpoint {
    append: usize,
    after: bool,
    signal: Signal,
}

impl Failpoint {
    fn of_environment() -> Result<Option<Self>> {
        let Ok(text) = std::env::var("STANDSTILL_FAILPOINT") else { return Ok(None) };
        let wrong = || {
            Error::input(format!("STANDSTILL_FAILPOINT={text} is not a failpoint"))
                .remedy("Write N:before|after:kill|stop.")
        };
        let parts: Vec<&str> = text.split(':').collect();
        let [append, when, how] = parts.as_slice() else { return Err(wrong()) };
        Ok(Some(Self {
            append: append.parse().map_err(|_| wrong())?,
            after: match *when {
                "before" => false,
                "after" => true,
                _ => return Err(wrong()),
            },
            signal: match *how {
                "kill" => Signal::KILL,
                "stop" => Signal::STOP,
                _ => return Err(wrong()),
            },
        }))
    }

    fn reach(self, append: usize, after: bool) {
        if self.append == append && self.after == after {
            // Nothing can be done if this process may not signal itself.
            let _ = kill_process(getpid(), self.signal);
        }
    }
}

/// Journals whose new ones die at the failpoint.
pub struct FailingJournals {
    inner: Arc<dyn JournalStore>,
    failpoint: Option<Failpoint>,
}

impl FailingJournals {
    /// With the failpoint of the environment, if there is one.
    pub fn new(inner: Arc<dyn JournalStore>) -> Result<Self> {
        Ok(Self { inner, failpoint: Failpoint::of_environment()? })
    }
}

#[async_trait]
impl JournalStore for FailingJournals {
    async fn create(&self, run: &RunId) -> Result<Box<dyn Journal>> {
        let inner = self.inner.create(run).await?;
        Ok(match self.failpoint {
            Some(failpoint) => Box::new(FailingJournal { inner, failpoint, appends: AtomicUsize::new(0) }),
            None => inner,
        })
    }

    async fn runs(&self) -> Result<Vec<RunSummary>> {
        self.inner.runs().await
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>> {
        self.inner.read(run).await
    }

    async fn take_over(&self, run: &RunId) -> Result<Box<dyn Journal>> {
        self.inner.take_over(run).await
    }
}

struct FailingJournal {
    inner: Box<dyn Journal>,
    failpoint: Failpoint,
    appends: AtomicUsize,
}

#[async_trait]
impl Journal for FailingJournal {
    async fn append(&self, event: &Event) -> Result<()> {
        self.append_all(std::slice::from_ref(event)).await
    }

    /// Entries that are appended together are reached together.
    async fn append_all(&self, events: &[Event]) -> Result<()> {
        let first = self.appends.fetch_add(events.len(), Ordering::SeqCst);
        let reach =
            |after| (first..first + events.len()).for_each(|append| self.failpoint.reach(append, after));
        reach(false);
        let outcome = self.inner.append_all(events).await;
        reach(true);
        outcome
    }

    fn gathers(&self) -> Duration {
        self.inner.gathers()
    }

    async fn is_ours(&self) -> Result<()> {
        self.inner.is_ours().await
    }
}
