//! How many pods a workload is to have.

use std::fmt::Debug;

use k8s_openapi::api::autoscaling::v1::Scale;
use kube::{
    Resource,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use standstill_core::Result;

use super::{Objects, explain};

impl<K> Objects<K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    /// The scale of a workload, if it is there.
    pub(crate) async fn scale(&self, name: &str) -> Result<Option<Scale>> {
        let asked = async {
            match self.api().get_scale(name).await {
                Ok(scale) => Ok(Some(scale)),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.scaling("get", name, asked).await
    }

    /// Scales a workload that is known in a version; `None` when it has another one, or is gone.
    pub(crate) async fn scale_to(&self, name: &str, version: &str, replicas: i32) -> Result<Option<Scale>> {
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}});
        let patched = async {
            match self.api().patch_scale(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(scale) => Ok(Some(scale)),
                Err(kube::Error::Api(status)) if status.code == 404 || status.is_conflict() => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.scaling("patch", name, patched).await
    }

    /// A request on the subresource, under the name that permissions have for it: `statefulsets/scale.apps`.
    async fn scaling<T>(
        &self,
        verb: &str,
        name: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T> {
        let (plural, group) = self.resource.split_once('.').unwrap_or((&self.resource, ""));
        let resource = format!("{plural}/scale.{group}");
        let attempt = self.attempt(verb, Some(name)).of(&resource);
        match tokio::time::timeout(super::REQUEST, request).await {
            Ok(answer) => answer.map_err(|cause| explain(attempt, cause)),
            Err(_) => Err(attempt.timed_out(super::REQUEST)),
        }
    }
}
