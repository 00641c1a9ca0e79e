//! What the journal knows about a keeper in the target's container.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standstill_core::{
    keeper::{KeeperSpec, ReleaseRecord},
    point::RunId,
    units::milliseconds,
};

use super::Container;
use crate::client::Cluster;

/// What is needed to let go of a keeper's hold when its runner is dead. None of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeeperRecord {
    /// The run.
    pub(crate) run: RunId,
    /// The step.
    pub(crate) name: String,
    /// The namespace of the pod.
    pub(crate) namespace: String,
    /// The pod. One of the same name that came later may have the same state on its volume.
    pub(crate) pod: String,
    /// The container.
    pub(crate) container: String,
    /// The deadline for each single command or answer, in milliseconds.
    pub(crate) timeout_milliseconds: u64,
    /// How to let go without the keeper.
    pub(crate) release: ReleaseRecord,
}

impl KeeperRecord {
    /// The record of a keeper that is about to be started.
    pub(crate) fn new(
        spec: &KeeperSpec,
        run: &RunId,
        container: &Container,
    ) -> standstill_core::Result<Self> {
        Ok(Self {
            run: run.clone(),
            name: spec.name.clone(),
            namespace: container.cluster.namespace().to_owned(),
            pod: container.pod.clone(),
            container: container.name.clone(),
            timeout_milliseconds: milliseconds(spec.timeout),
            release: ReleaseRecord::of(&spec.program)?,
        })
    }

    /// The container.
    pub(super) fn container(&self, cluster: &Cluster) -> Container {
        let cluster = cluster.in_namespace(&self.namespace);
        Container { cluster, pod: self.pod.clone(), name: self.container.clone() }
    }

    /// By what the keeper's processes are found again: nobody else's are called so.
    pub(super) fn mark(&self) -> String {
        let digest = blake3::hash(self.name.as_bytes()).to_hex();
        format!("{}-{}", self.run, digest.get(..8).unwrap_or_default())
    }

    /// The deadline for each single command or answer.
    pub(super) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_milliseconds)
    }
}
