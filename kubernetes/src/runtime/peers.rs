//! The pods that the target was found among, each as a place of its own.

use std::{sync::Arc, time::Duration};

use standstill_core::{Error, Result, runtime::Peer};

use super::{KubernetesRuntime, RuntimeSettings};
use crate::target::{Target, TargetPod};

/// How long looking for them may take.
const LISTED: Duration = Duration::from_secs(10);

impl KubernetesRuntime {
    /// As [`standstill_core::runtime::Runtime::peers`].
    pub(super) async fn peers_of_target(&self) -> Result<Vec<Peer>> {
        let Some(target) = &self.target else { return Ok(Vec::new()) };
        let Some(peers) = &target.peers else { return Ok(Vec::new()) };
        let found = tokio::time::timeout(LISTED, peers.ready(&self.cluster)).await.map_err(|_elapsed| {
            Error::temporary(format!("the pods of {} could not be looked up in time", target.found_by))
                .remedy("Run it again when the API server answers.")
        })?;
        let own = target.pod.as_ref().map(|pod| pod.uid.as_str());
        let peer = |pod: TargetPod| Peer {
            name: pod.name.clone(),
            is_target: Some(pod.uid.as_str()) == own,
            runtime: Arc::new(self.in_place_of(target, pod)),
        };
        Ok(found?.into_iter().map(peer).collect())
    }

    /// The same runtime for another pod of the target's workload, and for nothing else: also a host that stands for
    /// several of them leads to this one.
    fn in_place_of(&self, target: &Target, pod: TargetPod) -> Self {
        let reached = self.reached.another_at(&pod.address);
        let target = Target { pod: Some(pod), ..target.clone() };
        let settings = RuntimeSettings { target: Some(target), ..self.settings.clone() };
        let runtime = Self::new(Arc::clone(&self.inner), self.cluster.clone(), settings);
        Self { reached, only_its_pod: true, ..runtime }
    }
}
