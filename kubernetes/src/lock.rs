//! One run per target at a time, in the whole namespace.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use standstill_core::{
    Error, ErrorKind, Result,
    lock::{LockGuard, TargetLock},
    point::RunId,
};

use crate::{
    client::Cluster,
    lease::{DURATION, HeldLease, Leases, Taken, Wanted},
    names,
};

/// Locks on database identities, as Leases in the target's namespace. They are renewed while they are held, and end by
/// themselves when their process does not renew them any more.
#[derive(Clone)]
pub struct ClusterLocks(Leases);

impl ClusterLocks {
    /// The locks of the cluster's namespace.
    pub fn new(cluster: &Cluster) -> Self {
        Self(Leases::new(cluster))
    }

    /// Waits until locks that were dropped are gone from the cluster.
    pub async fn settle(&self, within: Duration) {
        self.0.settle(within).await;
    }
}

#[async_trait]
impl TargetLock for ClusterLocks {
    async fn acquire(&self, identity: &str, run: &RunId) -> Result<Box<dyn LockGuard>> {
        let wanted = Wanted {
            name: name(identity),
            holder: run.to_string(),
            labels: names::labels(run, names::LOCK),
            about: BTreeMap::from([(names::IDENTITY.to_owned(), identity.to_owned())]),
        };
        match self.0.take(&wanted).await? {
            Taken::Held(lease) => Ok(Box::new(ClusterLock(lease))),
            Taken::By(holder) => {
                Err(Error::new(ErrorKind::Locked, format!("run {holder} is working on {identity}")).remedy(
                    format!(
                        "Wait for it to end; `standstill logs {holder} --on kubernetes` shows what it does."
                    ),
                ))
            }
        }
    }
}

struct ClusterLock(HeldLease);

#[async_trait]
impl LockGuard for ClusterLock {
    async fn is_held(&self) -> bool {
        // One that cannot be renewed for as long as it lasts is lost by then.
        matches!(tokio::time::timeout(DURATION, self.0.prove()).await, Ok(Ok(())))
    }
}

/// The identity may hold anything, so its digest names the Lease.
fn name(identity: &str) -> String {
    let digest = blake3::hash(identity.as_bytes()).to_hex();
    format!("standstill-lock-{}", digest.get(..40).unwrap_or(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_named_after_the_whole_identity() {
        assert_eq!(name("postgresql/1").len(), 56);
        assert_ne!(name("postgresql/1"), name("postgresql/2"));
    }
}
