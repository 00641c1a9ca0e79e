//! Coordination Leases: who is alive, and who holds a lock.
//!
//! A Lease names its holder and when it was last renewed. One that was not renewed for its duration (and some more,
//! because clocks differ) is free. Whoever takes it writes with the version that it saw, so of two only one gets it;
//! the other, and an earlier holder that comes back, learn it by their next write.

mod held;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{ResourceExt, api::DeleteParams, api::Preconditions};
use serde_json::json;
use standstill_core::Result;
use tokio_util::task::TaskTracker;

use crate::client::{Cluster, Objects};

pub(crate) use held::HeldLease;

/// How long a holder that stopped renewing keeps a Lease.
pub(crate) const DURATION: Duration = Duration::from_secs(15);
/// How far the clocks of two machines may differ.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// The Leases of a namespace.
#[derive(Clone)]
pub(crate) struct Leases {
    objects: Objects<Lease>,
    /// Releases that go on after their holder was dropped.
    releasing: TaskTracker,
}

/// A Lease that is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Its name.
    pub(crate) name: String,
    /// Who wants it.
    pub(crate) holder: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// What people should know about it.
    pub(crate) about: BTreeMap<String, String>,
}

/// What became of a wish.
pub(crate) enum Taken {
    /// It is held now.
    Held(HeldLease),
    /// This holder has it.
    By(String),
}

impl Leases {
    /// Of the cluster's namespace.
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self { objects: cluster.objects(), releasing: TaskTracker::new() }
    }

    /// Takes a Lease that is free, without waiting.
    pub(crate) async fn take(&self, wanted: &Wanted) -> Result<Taken> {
        // Two tries: it may go away between being seen and being read.
        for _ in 0..2 {
            let began = Instant::now();
            if let Some(lease) = self.objects.create_new(&manifest(wanted)).await? {
                return Ok(Taken::Held(HeldLease::keep(self, lease, began)));
            }
            let Some(present) = self.objects.find(&wanted.name).await? else { continue };
            if !is_free(&present, Timestamp::now()) {
                return Ok(Taken::By(holder(&present)));
            }
            let began = Instant::now();
            if let Some(lease) = self.objects.replace(&taken_from(present, wanted)).await? {
                return Ok(Taken::Held(HeldLease::keep(self, lease, began)));
            }
        }
        let present = self.objects.find(&wanted.name).await?;
        Ok(Taken::By(present.as_ref().map_or_else(|| "another process".to_owned(), holder)))
    }

    /// All Leases with these labels.
    pub(crate) async fn list(&self, labels: &str) -> Result<Vec<Lease>> {
        self.objects.list(labels).await
    }

    /// Removes a Lease whose holder is dead as soon as it has ended, in the background, unless somebody renews it until
    /// then: it has another version then.
    pub(crate) fn remove_when_free(&self, lease: Lease) {
        let objects = self.objects.clone();
        self.releasing.spawn(async move {
            tokio::time::sleep(until_free(&lease, Timestamp::now())).await;
            if let Err(error) = remove_version(&objects, &lease).await {
                tracing::debug!("the lease {} is left: {}", lease.name_any(), error.chain());
            }
        });
    }

    /// Waits until what was let go is gone from the cluster, too, so that the next run need not wait for its end.
    pub(crate) async fn settle(&self, within: Duration) {
        self.releasing.close();
        if tokio::time::timeout(within, self.releasing.wait()).await.is_err() {
            tracing::warn!("a lease could not be removed in time; it ends by itself after {DURATION:?}");
        }
        self.releasing.reopen();
    }
}

/// Removes a Lease that its holder, who renews it no more, lets go. One that somebody else has taken since is left alone. A
/// renewal that was broken off may have come through after all: the version is another one then, and the holder the same.
async fn let_go(objects: &Objects<Lease>, lease: &Lease) -> Result<()> {
    if remove_version(objects, lease).await? {
        return Ok(());
    }
    match objects.find(&lease.name_any()).await? {
        Some(present) if present.uid() == lease.uid() && holder(&present) == holder(lease) => {
            remove_version(objects, &present).await.map(drop)
        }
        _ => Ok(()),
    }
}

/// Whether it is gone now; not if it has another version.
async fn remove_version(objects: &Objects<Lease>, lease: &Lease) -> Result<bool> {
    let preconditions = Preconditions { uid: lease.uid(), resource_version: lease.resource_version() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match objects.delete_with(&lease.name_any(), &parameters).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == standstill_core::ErrorKind::Failed => Ok(false),
        Err(error) => Err(error),
    }
}

fn manifest(wanted: &Wanted) -> serde_json::Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": wanted.name, "labels": wanted.labels, "annotations": wanted.about},
        "spec": spec(wanted, 0),
    })
}

fn spec(wanted: &Wanted, transitions: i32) -> LeaseSpec {
    let now = Some(MicroTime(Timestamp::now()));
    LeaseSpec {
        holder_identity: Some(wanted.holder.clone()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: now.clone(),
        renew_time: now,
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}

/// A free Lease as its next holder writes it, in the version that was seen.
fn taken_from(mut present: Lease, wanted: &Wanted) -> Lease {
    let transitions = present.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
    present.spec = Some(spec(wanted, transitions.saturating_add(1)));
    present.metadata.labels = Some(wanted.labels.clone());
    present.metadata.annotations = Some(wanted.about.clone());
    present
}

/// Who holds it.
pub(crate) fn holder(lease: &Lease) -> String {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default()
}

/// Whether nobody holds it any more.
pub(crate) fn is_free(lease: &Lease, now: Timestamp) -> bool {
    until_free(lease, now).is_zero()
}

/// How long it is held on if nobody renews it.
fn until_free(lease: &Lease, now: Timestamp) -> Duration {
    let Some(spec) = &lease.spec else { return Duration::ZERO };
    let (Some(holder), Some(renewed)) = (&spec.holder_identity, &spec.renew_time) else {
        return Duration::ZERO;
    };
    if holder.is_empty() {
        return Duration::ZERO;
    }
    let duration = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(0).into());
    Duration::try_from(duration + SKEW - now.duration_since(renewed.0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, age: i64) -> Lease {
        let wanted = Wanted {
            name: "a".into(),
            holder: holder.into(),
            labels: BTreeMap::new(),
            about: BTreeMap::new(),
        };
        let mut lease: Lease = serde_json::from_value(manifest(&wanted)).unwrap();
        let renewed = Timestamp::now() - SignedDuration::from_secs(age);
        lease.spec.as_mut().unwrap().renew_time = Some(MicroTime(renewed));
        lease
    }

    #[test]
    fn a_lease_is_free_only_after_its_duration_and_the_skew_of_clocks() {
        let now = Timestamp::now();
        assert!(!is_free(&lease("run", 0), now));
        assert!(!is_free(&lease("run", 19), now));
        assert!(is_free(&lease("run", 21), now));
        assert!(is_free(&lease("", 0), now));
        assert!(!is_free(&lease("run", -60), now), "a clock that is ahead is no reason to take it");
    }

    #[test]
    fn whoever_takes_a_lease_over_keeps_the_version_that_was_seen() {
        let mut present = lease("dead", 60);
        present.metadata.resource_version = Some("7".into());
        let wanted = Wanted {
            name: "a".into(),
            holder: "new".into(),
            labels: BTreeMap::from([("run".into(), "new".into())]),
            about: BTreeMap::new(),
        };
        let taken = taken_from(present, &wanted);
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!((holder(&taken).as_str(), taken.spec.unwrap().lease_transitions), ("new", Some(1)));
        assert_eq!(taken.metadata.labels.unwrap()["run"], "new");
    }
}
