//! What a journal's ConfigMap holds, and what can be read from it.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use standstill_core::{
    Error, Result,
    journal::{Entry, Event, RunSummary},
};

/// What all entries together may take: a ConfigMap holds at most 1 MiB.
const ROOM: usize = 1000 * 1024;

/// What they may take where a run notes what it does on its way. The rest is for how it ends, and for whoever takes its
/// journal over: a journal without any room could never be finished, and no other run could begin.
const ON_THE_WAY: usize = 700 * 1024;

/// Who writes a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The run itself.
    Run,
    /// Whoever took it over.
    Recovery,
}

impl By {
    /// What all entries may take together with this one.
    const fn room(self, event: &Event) -> usize {
        match (self, event) {
            (Self::Run, Event::Intent { .. } | Event::Done { .. } | Event::Released { .. }) => ON_THE_WAY,
            _ => ROOM,
        }
    }
}

/// The key of the N-th entry. Keys of this width sort as their numbers do.
pub(super) fn key(index: usize) -> String {
    format!("{index:06}")
}

/// The lines of a journal, in order.
pub(super) fn lines(journal: &ConfigMap) -> Vec<&str> {
    journal.data.iter().flatten().map(|(_, line)| line.as_str()).collect()
}

/// All entries, in order.
pub(super) fn entries(journal: &ConfigMap) -> Result<Vec<Entry>> {
    let name = journal.name_any();
    lines(journal)
        .iter()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|cause| {
                Error::failed(format!("entry {index} of the journal {name} is not understood"))
                    .remedy("Use the version of Standstill that wrote it.")
                    .because(cause)
            })
        })
        .collect()
}

/// An entry as it is kept, written by this writer.
///
/// # Errors
/// When it has no room beside the `taken` bytes of those before it.
pub(super) fn line(entry: &Entry, taken: usize, by: By) -> Result<String> {
    let line = serde_json::to_string(entry)
        .map_err(|cause| Error::failed("an event cannot be written").because(cause))?;
    let room = by.room(&entry.event);
    if line.len() + taken > room {
        return Err(Error::failed(format!(
            "the journal of the run would have {} bytes, and its ConfigMap has room for {room}",
            line.len() + taken
        ))
        .remedy("Let the steps declare fewer outputs and facts, or split the blueprint."));
    }
    Ok(line)
}

/// A run as its journal shows it. `alive`: whether its process renews its Lease.
pub(super) fn summary(journal: &ConfigMap, alive: bool) -> Option<RunSummary> {
    let entries = lines(journal).into_iter().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
    RunSummary::of(entries, || alive)
}
