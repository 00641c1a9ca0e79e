//! Finding the target of a backup, which a run that died may have scaled away.

use std::{sync::Arc, time::Duration};

use standstill_core::{
    ErrorKind, Result,
    journal::{JournalStore, RunState},
    secret::Secret,
};
use standstill_kubernetes::{Cluster, ClusterJournals, Target, TargetValues, launch};
use standstill_repository::{Location, Repository};

use super::{here::recover_from_here, launch::Printer};

/// The repository of the run that looks for its target.
pub struct Store<'a> {
    /// Where it is.
    pub location: &'a Location,
    /// Its password.
    pub password: &'a Secret,
}

/// How long a target may take to be back that a run had scaled away.
const BACK: Duration = Duration::from_mins(3);
/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// Finds the target of a backup, or all that may be meant. One that is not there may have been scaled away by a run that
/// died: such runs are recovered first.
pub(super) async fn find(
    cluster: &Cluster,
    where_it_is: &TargetValues,
    store: &Store<'_>,
    quiet: bool,
) -> Result<Vec<Target>> {
    let error = match Target::find_all(cluster, where_it_is).await {
        Err(error) if error.kind() == ErrorKind::Input => error,
        found => return found,
    };
    let cluster = cluster.in_namespace(where_it_is.namespace.as_deref().unwrap_or(cluster.namespace()));
    let runs = ClusterJournals::new(&cluster).runs().await.unwrap_or_default();
    let mut recovered = false;
    for summary in runs.iter().filter(|summary| summary.state == RunState::Dead) {
        tracing::warn!("{error}; the run {} has died, and is recovered first", summary.run);
        // Whether a dead run reached its commit is seen in the repository.
        let repository = Arc::new(Repository::open(store.location, store.password).await?);
        let from_here = recover_from_here(&cluster, Some(repository), &summary.run).await?;
        recovered |= match from_here {
            Some(_) => true,
            None => launch::recover(&cluster, &summary.run, &mut Printer::new(quiet)).await?.is_some(),
        };
    }
    if !recovered {
        return Err(error);
    }
    let deadline = tokio::time::Instant::now() + BACK;
    loop {
        let found = Target::find_all(&cluster, where_it_is).await;
        if found.is_ok() || tokio::time::Instant::now() > deadline {
            return found;
        }
        tokio::time::sleep(LOOK).await;
    }
}
