//! A transfer by another process: what it makes is in the journal before it is made, and gone when it has failed, or with
//! the run.

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{ledger::Ledger, temporary::Temporary};
use crate::{
    Result,
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
    /// Has the transfer performed. What one needs that failed is disposed of at once.
    pub(super) async fn transfer(
        &self,
        remote: &Value,
        spec: &TransferSpec,
        progress: Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<TransferReport> {
        let id = format!("{}{SUFFIX}", self.step);
        // What the steps before needed does not add up with what this one does: a claim as large as its volume each.
        for earlier in self.ledger.all_open(|earlier| earlier.ends_with(SUFFIX) && earlier != id).into_keys()
        {
            self.mover(&earlier).try_to_remove().await;
        }
        let mover = self.mover(&id);
        mover.remove_earlier().await?;
        let runtime = self.runtime;
        let intent = runtime.transfer_intent(remote, spec, self.run).await?;
        let transfer = runtime.transfer(remote, spec, progress, cancel);
        match intent {
            Some(record) => mover.until_the_end(record, transfer).await,
            None => transfer.await,
        }
    }

    fn mover<'m>(&'m self, id: &'m str) -> Temporary<'m> {
        let what = format!("what moved the data of {}", step_of(id));
        Temporary { runtime: self.runtime, ledger: self.ledger, id, what, within: "its place" }
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
