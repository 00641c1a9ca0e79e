//! What a step makes outside of this process for its own work alone: in the journal before it is made, and gone when the
//! work has ended, or with the run.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ledger::Ledger;
use crate::{
    Error, Result,
    journal::{Event, Undo},
    runtime::Runtime,
};

/// Something that a step makes, under an id of its own in the journal.
pub(super) struct Temporary<'a> {
    pub(super) runtime: &'a dyn Runtime,
    pub(super) ledger: &'a Ledger,
    pub(super) id: &'a str,
    /// What it is, for people, and what has to be reached again where it cannot be removed.
    pub(super) what: String,
    pub(super) within: &'static str,
}

impl Temporary<'_> {
    /// Removes what an attempt left that ran out of time: it must not go on beside the next one.
    pub(super) async fn remove_earlier(&self) -> Result<()> {
        match self.ledger.open(self.id) {
            Some(left) => self.dispose(&left).await,
            None => Ok(()),
        }
    }

    /// Does the work that makes it, and removes it at once, not at the end of the run. Where that does not succeed, or
    /// this future is dropped, another attempt, the end of the run or `recover` does it.
    pub(super) async fn during<T>(&self, record: Value, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.intend(&record).await?;
        let done = work.await;
        self.try_to_dispose(&record).await;
        done
    }

    /// The same, for work that has it end by itself: where that succeeds, the end of the run removes what is left, and
    /// nothing waits for that until then.
    pub(super) async fn until_the_end<T>(
        &self,
        record: Value,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.intend(&record).await?;
        let done = work.await;
        if done.is_err() {
            self.try_to_dispose(&record).await;
        }
        done
    }

    /// Removes it where it can be.
    pub(super) async fn try_to_remove(&self) {
        if let Some(left) = self.ledger.open(self.id) {
            self.try_to_dispose(&left).await;
        }
    }

    async fn intend(&self, record: &Value) -> Result<()> {
        let undo = Undo::Runtime { record: record.clone(), secrets: BTreeMap::new() };
        self.ledger.intend(self.id, undo, false).await
    }

    async fn try_to_dispose(&self, record: &Value) {
        if let Err(error) = self.dispose(record).await {
            tracing::warn!("{}; it is tried again later", error.chain());
        }
    }

    async fn dispose(&self, record: &Value) -> Result<()> {
        self.runtime.dispose(record, &BTreeMap::new()).await.map_err(|error| {
            Error::failed(format!("{} could not be removed", self.what))
                .remedy(format!("Run `standstill recover` once {} can be reached again.", self.within))
                .because(error)
        })?;
        self.ledger.note(Event::Disposed { step: self.id.to_owned() });
        Ok(())
    }
}
