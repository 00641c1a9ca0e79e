//! Asking beforehand, by dry runs, whether the cluster would accept what a snapshot and its mover are made of: a quota
//! or an admission rule that refuses them is found out before anything is held.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use standstill_core::{
    Result,
    point::{KeptSnapshot, RunId},
    runtime::{CaptureAbility, CaptureMode, Captured, SnapshotIntent, Snapshotter, Volume},
};
use tokio_util::sync::CancellationToken;

use super::{Mover, manifests, source};
use crate::{record::Record, snapshot, target::Owner};

/// A snapshotter whose snapshots are stored by movers.
pub(crate) struct Rehearsed {
    pub(crate) inner: Arc<dyn Snapshotter>,
    pub(crate) mover: Mover,
}

impl Rehearsed {
    /// Has the cluster say what it would accept of what this intent is made of, if it is one of the cluster's.
    async fn rehearse(&self, intent: &SnapshotIntent) -> Result<()> {
        let (Mover { cluster, settings, .. }, volume) = (&self.mover, &intent.volume);
        let Some(record) = Record::from_value(&intent.record)? else { return Ok(()) };
        let Some((kind, taken, snapshot)) = snapshot::asked_for(&record, settings.owner.as_ref()) else {
            return Ok(());
        };
        let claims = cluster.objects::<PersistentVolumeClaim>();
        let claim = self.mover.claim(&snapshot.claim).await?;
        let owner = settings.data_owner.unwrap_or(Owner { user: 0, group: None });
        let mut source = source(claim, None, &snapshot, owner)?;
        source.mount.clone_from(&volume.path);
        let record = super::record(cluster, "rehearsal", &snapshot.run);
        let snapshots = cluster.dynamic(&kind);
        let moved = manifests::claim(&record, settings, &source);
        let (pods, pod) = (cluster.objects::<Pod>(), manifests::pod(&record, settings, &source));
        let (taken, claim, pod) =
            tokio::join!(snapshots.rehearse(&taken), claims.rehearse(&moved), pods.rehearse(&pod));
        let refused = |what: &str| format!("{what} of the volume {} would be refused", volume.name);
        taken.map_err(|error| error.during(&refused("the snapshot")))?;
        claim.map_err(|error| error.during(&refused("the claim for the mover")))?;
        pod.map_err(|error| error.during(&refused("the mover")))
    }
}

#[async_trait]
impl Snapshotter for Rehearsed {
    async fn abilities(&self, volume: &Volume) -> Result<Vec<CaptureAbility>> {
        self.inner.abilities(volume).await
    }

    async fn intend(&self, volume: &Volume, mode: CaptureMode, run: &RunId) -> Result<SnapshotIntent> {
        let intent = self.inner.intend(volume, mode, run).await?;
        self.rehearse(&intent).await?;
        Ok(intent)
    }

    async fn intend_together(&self, volumes: &[Volume], run: &RunId) -> Result<Vec<SnapshotIntent>> {
        let intents = self.inner.intend_together(volumes, run).await?;
        for intent in &intents {
            self.rehearse(intent).await?;
        }
        Ok(intents)
    }

    async fn capture(
        &self,
        intent: &SnapshotIntent,
        tolerate_changes: bool,
        cancel: &CancellationToken,
    ) -> Result<Captured> {
        self.inner.capture(intent, tolerate_changes, cancel).await
    }

    fn keeps(&self) -> bool {
        self.inner.keeps()
    }

    async fn keep(&self, captured: &Captured, cancel: &CancellationToken) -> Result<KeptSnapshot> {
        self.inner.keep(captured, cancel).await
    }
}
