//! A transfer by another process: what it makes is in the journal before it is made, and gone when it has ended.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use crate::{
    Error, Result,
    journal::{Event, Undo},
    point::RunId,
    repository::Progress,
    runtime::Runtime,
    transfer::{TransferReport, TransferSpec},
};

/// What the id of a transfer's intent ends with. Before it is the id of its step, which never ends so.
const SUFFIX: &str = "/transfer";

/// The step that an id belongs to: a step's own, or that of its transfer.
pub(super) fn step_of(id: &str) -> &str {
    id.strip_suffix(SUFFIX).unwrap_or(id)
}

/// What a transfer by another process needs of its run.
pub(super) struct Remotely<'a> {
    pub(super) runtime: &'a dyn Runtime,
    pub(super) ledger: &'a Ledger,
    pub(super) run: &'a RunId,
    pub(super) step: &'a str,
}

impl Remotely<'_> {
    /// Has the transfer performed. What it needs is disposed of at once, not at the end of the run; where that does
    /// not succeed, or this future is dropped, the end of the run (or `recover`) does it.
    pub(super) async fn transfer(
        &self,
        remote: &Value,
        spec: &TransferSpec,
        progress: Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<TransferReport> {
        let id = format!("{}{SUFFIX}", self.step);
        if let Some(record) = self.ledger.open(&id) {
            // An attempt that ran out of time: its process must not go on beside the next one's.
            self.dispose(&id, &record).await?;
        }
        let Some(record) = self.runtime.transfer_intent(remote, spec, self.run).await? else {
            return self.runtime.transfer(remote, spec, progress, cancel).await;
        };
        let undo = Undo::Runtime { record: record.clone(), secrets: BTreeMap::new() };
        self.ledger.intend(&id, undo, false).await?;
        let report = self.runtime.transfer(remote, spec, progress, cancel).await;
        if let Err(error) = self.dispose(&id, &record).await {
            tracing::warn!("{}; it is tried again later", error.chain());
        }
        report
    }

    async fn dispose(&self, id: &str, record: &Value) -> Result<()> {
        self.runtime.dispose(record, &BTreeMap::new()).await.map_err(|error| {
            Error::failed(format!("what moved the data of {} could not be removed", self.step))
                .remedy("Run `standstill recover` once its place can be reached again.")
                .because(error)
        })?;
        self.ledger.note(Event::Disposed { step: id.to_owned() });
        Ok(())
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
