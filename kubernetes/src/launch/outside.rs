//! A run on a machine outside of the cluster: what it keeps in the cluster besides its journal.
//!
//! ```text
//!   ConfigMap standstill-run-RUN: the orders ──owns──▶ the repository's credentials, snapshots, movers
//! ```
//!
//! There is no Job that everything could go with, so it goes with the orders. They are removed when the run has ended;
//! those of a run that died stay until it is recovered, which is done by them.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Secret as ClusterSecret};
use kube::ResourceExt;
use serde_json::{Value, json};
use standstill_core::{
    Result,
    journal::{JournalStore, RunState},
    point::RunId,
};

use super::{Launch, Orders, manifests, of_launch, recovery};
use crate::{client::Cluster, journal::ClusterJournals, names};

/// The role of the orders of such a run.
const OUTSIDE: &str = "outside";
/// How long the orders of a run that has no journal are taken for those of one that is about to begin.
const BEGINS: SignedDuration = SignedDuration::from_mins(10);

/// Makes what a run from outside needs before it begins: with `credentials` also a Secret with the repository's, for
/// movers. It returns what owns everything that the run makes (an `ownerReference`).
///
/// # Errors
/// What the API server refuses. What was made until then is removed again.
pub async fn begin(cluster: &Cluster, launch: &Launch, credentials: bool) -> Result<Value> {
    let mut manifest = manifests::orders(launch, None)?;
    manifest["metadata"]["labels"][names::ROLE] = json!(OUTSIDE);
    let orders = cluster.objects::<ConfigMap>().create(&manifest).await?;
    let owner = manifests::owner("v1", "ConfigMap", &orders);
    if credentials {
        let mut secret = manifests::secret(launch, &owner);
        secret["metadata"]["labels"][names::ROLE] = json!(OUTSIDE);
        if let Err(error) = cluster.objects::<ClusterSecret>().create(&secret).await {
            let _ = end(cluster, &launch.orders.run).await;
            return Err(error);
        }
    }
    Ok(owner)
}

/// Removes it again, with everything that it owns.
///
/// # Errors
/// What the API server refuses.
pub async fn end(cluster: &Cluster, run: &RunId) -> Result<()> {
    cluster.objects::<ConfigMap>().delete(&of_launch(run)).await.map(drop)
}

/// The orders of a run from outside; `None` for one that was a Job, or whose orders are gone.
///
/// # Errors
/// When the API server cannot be asked, or the orders are not understood.
pub async fn orders(cluster: &Cluster, run: &RunId) -> Result<Option<Orders>> {
    let found = cluster.objects::<ConfigMap>().find(&of_launch(run)).await?;
    found.filter(is_outside).map(|orders| recovery::read(&orders)).transpose()
}

fn is_outside(orders: &ConfigMap) -> bool {
    orders.labels().get(names::ROLE).is_some_and(|role| role == OUTSIDE)
}

/// Removes the orders of runs from outside that have ended, or never began.
pub(super) async fn tidy(cluster: &Cluster) -> Result<()> {
    let maps = cluster.objects::<ConfigMap>();
    let found = maps.list(&names::of_role(OUTSIDE)).await?;
    if found.is_empty() {
        return Ok(());
    }
    let runs = ClusterJournals::new(cluster).runs().await?;
    for orders in found {
        let run = orders.labels().get(names::RUN).map(String::as_str).unwrap_or_default();
        let state = runs.iter().find(|summary| summary.run.as_str() == run).map(|summary| summary.state);
        if has_ended(state, orders.creation_timestamp().map(|time| time.0), Timestamp::now()) {
            maps.delete(&orders.name_any()).await?;
        }
    }
    Ok(())
}

fn has_ended(state: Option<RunState>, made: Option<Timestamp>, now: Timestamp) -> bool {
    match state {
        Some(state) => !matches!(state, RunState::Running | RunState::Dead),
        None => made.is_some_and(|made| now.duration_since(made) > BEGINS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_orders_of_a_run_that_has_ended_or_never_began_are_removed() {
        let now = Timestamp::now();
        let ago = |minutes| Some(now - SignedDuration::from_mins(minutes));
        for state in [RunState::Running, RunState::Dead] {
            assert!(!has_ended(Some(state), ago(60), now));
        }
        for state in [RunState::Succeeded, RunState::Failed] {
            assert!(has_ended(Some(state), ago(0), now));
        }
        assert!(!has_ended(None, ago(9), now), "it may be about to begin");
        assert!(has_ended(None, ago(11), now));
        assert!(!has_ended(None, None, now));
    }
}
