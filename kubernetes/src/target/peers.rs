//! The pods that a target is found among, where they differ by the role of their databases alone.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use standstill_core::{Error, Result};

use super::{TargetPod, is_ready};
use crate::client::Cluster;

/// How they are found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peers {
    /// Their labels, as the API takes them in a query.
    pub selector: String,
    /// What their names begin with.
    pub prefix: String,
}

impl Peers {
    /// All of them, by their names.
    pub(super) async fn pods(&self, cluster: &Cluster) -> Result<Vec<Pod>> {
        let mut pods = cluster.objects::<Pod>().list(&self.selector).await?;
        pods.retain(|pod| pod.name_any().starts_with(&self.prefix));
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// Those that are ready now.
    pub(crate) async fn ready(&self, cluster: &Cluster) -> Result<Vec<TargetPod>> {
        self.pods(cluster).await?.iter().filter(|pod| is_ready(pod)).map(TargetPod::of).collect()
    }
}

impl TargetPod {
    /// A pod that runs.
    pub(super) fn of(pod: &Pod) -> Result<Self> {
        let name = pod.name_any();
        let missing = |what: &str| {
            Error::input(format!("the pod {name} has no {what}"))
                .remedy("Wait until it runs; look at it by `kubectl describe pod`.")
        };
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        Ok(Self {
            uid: pod.uid().unwrap_or_default(),
            address: address.ok_or_else(|| missing("address"))?,
            node: node.ok_or_else(|| missing("node"))?,
            name,
        })
    }
}
