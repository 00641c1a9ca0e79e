//! Journals in the cluster: a ConfigMap for each run, and a Lease that says that its writer lives.
//!
//! ```text
//!   ConfigMap standstill-journal-RUN    data: {"000000": entry, "000001": entry, …}
//!   Lease     standstill-journal-RUN    renewed by the writer; gone or not renewed: the run is dead
//! ```
//!
//! Each append is written for the version of the ConfigMap that the writer knows. Whoever takes a journal over changes
//! that version, so an earlier writer that comes back finds itself fenced off by its next append.

mod entries;
mod writer;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::ResourceExt;
use serde_json::json;
use standstill_core::{
    Error, ErrorKind, Result,
    journal::{Entry, Event, Journal, JournalStore, RunState, RunSummary},
    point::RunId,
};

use self::{
    entries::{By, lines, summary},
    writer::Writer,
};
use crate::{
    client::{Cluster, Objects},
    lease::{HeldLease, Leases, Taken, Wanted, is_free},
    names,
};

/// How many journals of finished runs are kept of each application.
const KEPT_RUNS: usize = 20;

/// The [`names::STATE`] of a run that has not ended, whether its process lives or not.
const RUNNING: &str = "running";

/// Journals in the target's namespace.
#[derive(Clone)]
pub struct ClusterJournals {
    maps: Objects<ConfigMap>,
    leases: Leases,
    namespace: String,
    /// Whether old journals are removed when all are listed next: a run does that once, and looking does not.
    prunes: Arc<AtomicBool>,
}

impl ClusterJournals {
    /// The journals of the cluster's namespace.
    pub fn new(cluster: &Cluster) -> Self {
        let namespace = cluster.namespace().to_owned();
        Self { maps: cluster.objects(), leases: Leases::new(cluster), namespace, prunes: Arc::default() }
    }

    /// Waits until the Leases of journals that were dropped are gone from the cluster, so that their runs are seen
    /// to have ended.
    pub async fn settle(&self, within: Duration) {
        self.leases.settle(within).await;
    }

    async fn lease(&self, run: &RunId) -> Result<HeldLease> {
        let wanted = Wanted {
            name: name(run),
            // Unlike the run, a process that takes it over is another holder.
            holder: RunId::generate().to_string(),
            labels: names::labels(run, names::JOURNAL),
            about: BTreeMap::new(),
        };
        match self.leases.take(&wanted).await? {
            Taken::Held(lease) => Ok(lease),
            Taken::By(_) => Err(Error::new(ErrorKind::Locked, format!("the process of run {run} lives"))
                .remedy(format!(
                    "Wait for it to end; `standstill logs {run} --on kubernetes` shows what it does."
                ))),
        }
    }

    async fn map(&self, run: &RunId) -> Result<ConfigMap> {
        self.maps.find(&name(run)).await?.ok_or_else(|| {
            Error::input(format!("there is no run {run} in the namespace {}", self.namespace))
                .remedy("`standstill runs --on kubernetes` lists them.")
        })
    }

    /// All journals, oldest first, and the Leases of their writers and of locks.
    async fn all(&self) -> Result<(Vec<ConfigMap>, Vec<Lease>)> {
        let journals = names::of_role(names::JOURNAL);
        let both = names::of_roles(&[names::JOURNAL, names::LOCK]);
        let (mut maps, leases) = tokio::try_join!(self.maps.list(&journals), self.leases.list(&both))?;
        // Runs are named by the time at which they began.
        maps.sort_by_key(ResourceExt::name_any);
        Ok((maps, leases))
    }

    /// Whether the journal of any run does not say that it has ended.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub(crate) async fn has_unfinished(&self) -> Result<bool> {
        let running = format!("{},{}={RUNNING}", names::of_role(names::JOURNAL), names::STATE);
        Ok(!self.maps.list(&running).await?.is_empty())
    }

    /// Removes the oldest journals of finished runs, what is left of runs that died before their first entry, and
    /// Leases that nobody renews and that say nothing any more.
    async fn prune(&self, maps: &[ConfigMap], leases: &[Lease]) -> Result<()> {
        for map in surplus(maps, |map| is_alive(map, leases)) {
            self.maps.delete(&map.name_any()).await?;
        }
        for lease in ended(maps, leases, Timestamp::now()) {
            self.leases.remove_when_free(lease.clone());
        }
        Ok(())
    }

    /// Removes the locks of a dead run: nobody else would. They were renewed beside the journal's Lease, so one may end
    /// some seconds after that, for which nobody waits here: something may be held.
    async fn remove_locks(&self, run: &RunId) -> Result<()> {
        let selector = format!("{},{}={run}", names::of_role(names::LOCK), names::RUN);
        let locks: Vec<Lease> = self.leases.list(&selector).await?;
        for lock in locks {
            self.leases.remove_when_free(lock);
        }
        Ok(())
    }
}

#[async_trait]
impl JournalStore for ClusterJournals {
    async fn create(&self, run: &RunId) -> Result<Box<dyn Journal>> {
        let lease = self.lease(run).await?;
        let mut labels = names::labels(run, names::JOURNAL);
        labels.insert(names::STATE.to_owned(), RUNNING.to_owned());
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name(run), "labels": labels},
            "data": {},
        });
        let map = self.maps.create_new(&manifest).await?.ok_or_else(|| {
            Error::failed(format!("run {run} has begun before: its pod was replaced while it ran"))
                .remedy("Start a new run; it recovers what this one left.")
        })?;
        self.prunes.store(true, Ordering::Relaxed);
        Ok(Box::new(Writer::new(run, By::Run, self.maps.clone(), &map, lease)))
    }

    async fn runs(&self) -> Result<Vec<RunSummary>> {
        let (maps, leases) = self.all().await?;
        if self.prunes.swap(false, Ordering::Relaxed)
            && let Err(error) = self.prune(&maps, &leases).await
        {
            tracing::debug!("old journals are not removed now: {}", error.chain());
        }
        Ok(maps.iter().filter_map(|map| summary(map, is_alive(map, &leases))).collect())
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>> {
        entries::entries(&self.map(run).await?)
    }

    async fn take_over(&self, run: &RunId) -> Result<Box<dyn Journal>> {
        self.map(run).await?;
        let lease = self.lease(run).await?;
        // Read again: until the Lease was taken its writer may have lived.
        let map = self.map(run).await?;
        let journal = Writer::new(run, By::Recovery, self.maps.clone(), &map, lease);
        journal.append(&Event::TakenOver).await?;
        if let Err(error) = self.remove_locks(run).await {
            tracing::warn!("locks of run {run} are not removed now: {}", error.chain());
        }
        Ok(Box::new(journal))
    }
}

/// The oldest journals of finished runs, and those of runs that died before their first entry; `maps` are ordered, oldest
/// first. One whose entries are not understood is none of these: a newer version wrote it, and may hold something.
fn surplus(maps: &[ConfigMap], is_alive: impl Fn(&ConfigMap) -> bool) -> Vec<&ConfigMap> {
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    let is_surplus = |map: &&ConfigMap| {
        let alive = is_alive(map);
        match summary(map, alive) {
            None => !alive && lines(map).is_empty(),
            Some(summary) if matches!(summary.state, RunState::Succeeded | RunState::Failed) => {
                let count = kept.entry(summary.application).or_default();
                *count += 1;
                *count > KEPT_RUNS
            }
            Some(_) => false,
        }
    };
    maps.iter().rev().filter(is_surplus).collect()
}

/// The Leases that nobody renews and that say nothing any more, or soon: also those of a run that died when its end was
/// noted already, on a target that no other run may ever work on. Those of a run that is to be recovered stay until then.
fn ended<'a>(
    maps: &'a [ConfigMap],
    leases: &'a [Lease],
    now: Timestamp,
) -> impl Iterator<Item = &'a Lease> + 'a {
    let run = |labels: &BTreeMap<String, String>| labels.get(names::RUN).cloned();
    // As if nobody wrote to any of them: a run that has not ended is dead then.
    let state = |map: &ConfigMap| Some((run(map.labels())?, summary(map, false)?.state));
    let states: BTreeMap<String, RunState> = maps.iter().filter_map(state).collect();
    leases.iter().filter(move |lease| match run(lease.labels()).and_then(|run| states.get(&run).copied()) {
        Some(RunState::Dead) => false,
        Some(RunState::Succeeded | RunState::Failed) => true,
        _ => is_free(lease, now),
    })
}

/// Whether the writer of a journal renews its Lease.
fn is_alive(map: &ConfigMap, leases: &[Lease]) -> bool {
    let lease = leases.iter().find(|lease| lease.name_any() == map.name_any());
    lease.is_some_and(|lease| !is_free(lease, Timestamp::now()))
}

/// The name of a run's journal and of its Lease.
fn name(run: &RunId) -> String {
    names::of_run(names::JOURNAL, run)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
