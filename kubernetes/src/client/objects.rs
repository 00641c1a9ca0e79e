//! Objects of one kind: get, list, create, replace, delete.

use std::{fmt::Debug, future::Future, time::Duration};

use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use standstill_core::{Error, Result};

use super::{Attempt, admission::stands_in_the_way, explain};

/// The deadline of one request. Watches, logs and exec have their own.
pub(super) const REQUEST: Duration = Duration::from_secs(15);

/// Objects of one kind in one namespace, or of none.
#[derive(Clone)]
pub struct Objects<K> {
    pub(super) api: Api<K>,
    pub(super) resource: String,
    namespace: Option<String>,
}

impl<K> Objects<K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    /// The objects, for requests that have no method here (`exec`, `logs`).
    pub fn api(&self) -> &Api<K> {
        &self.api
    }

    /// One object.
    ///
    /// # Errors
    /// Also when it is not there ([`standstill_core::ErrorKind::Input`]).
    pub async fn get(&self, name: &str) -> Result<K> {
        self.request("get", Some(name), self.api.get(name)).await
    }

    /// One object, if it is there.
    pub async fn find(&self, name: &str) -> Result<Option<K>> {
        self.request("get", Some(name), self.api.get_opt(name)).await
    }

    /// All objects with these labels (`app=db,tier=1`; all objects for an empty text).
    pub async fn list(&self, labels: &str) -> Result<Vec<K>> {
        let parameters = ListParams::default().labels(labels);
        Ok(self.request("list", None, self.api.list(&parameters)).await?.items)
    }

    /// Removes an object, and what it owns in the background. `false`: it was not there.
    pub async fn delete(&self, name: &str) -> Result<bool> {
        self.delete_with(name, &DeleteParams::background()).await
    }

    /// Removes an object with preconditions or a grace period. `false`: it was not there.
    pub async fn delete_with(&self, name: &str, parameters: &DeleteParams) -> Result<bool> {
        let deleted = async {
            match self.api.delete(name, parameters).await {
                Ok(_) => Ok(true),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.request("delete", Some(name), deleted).await
    }

    /// Changes some fields of an object (a JSON merge patch, which custom resources understand too).
    pub async fn merge(&self, name: &str, patch: &Value) -> Result<K> {
        let parameters = PatchParams::default();
        self.request("patch", Some(name), self.api.patch(name, &parameters, &Patch::Merge(patch))).await
    }

    /// Changes an object by a patch of any kind.
    pub(crate) async fn patch(
        &self,
        name: &str,
        parameters: &PatchParams,
        patch: &Patch<&Value>,
    ) -> Result<K> {
        self.request("patch", Some(name), self.api.patch(name, parameters, patch)).await
    }

    /// As [`Objects::merge`], for the resource version that the patch names; `None` when the object has another one,
    /// or is gone.
    pub async fn merge_version(&self, name: &str, patch: &Value) -> Result<Option<K>> {
        let patched = async {
            match self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(object) => Ok(Some(object)),
                Err(kube::Error::Api(status)) if status.code == 404 || status.is_conflict() => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.request("patch", Some(name), patched).await
    }
}

impl<K> Objects<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Serialize,
{
    /// Makes an object of its manifest.
    ///
    /// # Errors
    /// Also when one of that name is there already.
    pub async fn create(&self, manifest: &Value) -> Result<K> {
        let object = self.parse(manifest)?;
        let name = object.name_any();
        self.request("create", Some(&name), self.api.create(&PostParams::default(), &object)).await
    }

    /// Makes an object, or says by `None` that one of that name is there already.
    pub async fn create_new(&self, manifest: &Value) -> Result<Option<K>> {
        let object = self.parse(manifest)?;
        let name = object.name_any();
        let created = async {
            match self.api.create(&PostParams::default(), &object).await {
                Ok(object) => Ok(Some(object)),
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.request("create", Some(&name), created).await
    }

    /// Asks whether an object would be accepted, without making it. Quotas and admission rules are asked as they are
    /// when it is made; whatever else stands in the way shows then.
    ///
    /// # Errors
    /// When the object is refused or invalid.
    pub(crate) async fn rehearse(&self, manifest: &Value) -> Result<()> {
        let object = self.parse(manifest)?;
        let name = object.name_any();
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        let asked = async {
            match self.api.create(&parameters, &object).await {
                Err(kube::Error::Api(status))
                    if matches!(status.code, 403 | 422) || stands_in_the_way(&status.message) =>
                {
                    Err(kube::Error::Api(status))
                }
                _ => Ok(()),
            }
        };
        self.request("create", Some(&name), asked).await
    }

    /// Replaces an object whose resource version is given in it; `None` when somebody else changed or removed it
    /// since.
    pub async fn replace(&self, object: &K) -> Result<Option<K>> {
        let name = object.name_any();
        let replaced = async {
            match self.api.replace(&name, &PostParams::default(), object).await {
                Ok(object) => Ok(Some(object)),
                Err(kube::Error::Api(status)) if status.code == 404 || status.is_conflict() => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.request("update", Some(&name), replaced).await
    }

    fn parse(&self, manifest: &Value) -> Result<K> {
        serde_json::from_value(manifest.clone()).map_err(|cause| {
            Error::failed(format!("a manifest for {} is not of that kind", self.resource)).because(cause)
        })
    }
}

impl<K> Objects<K> {
    pub(super) fn new(api: Api<K>, resource: String, namespace: Option<String>) -> Self {
        Self { api, resource, namespace }
    }

    /// A request on these objects, for messages.
    pub(crate) fn attempt<'a>(&'a self, verb: &'a str, name: Option<&'a str>) -> Attempt<'a> {
        Attempt { verb, resource: &self.resource, namespace: self.namespace.as_deref(), name }
    }

    pub(super) async fn request<T>(
        &self,
        verb: &str,
        name: Option<&str>,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(REQUEST, request).await {
            Ok(answer) => answer.map_err(|cause| explain(self.attempt(verb, name), cause)),
            Err(_) => Err(self.attempt(verb, name).timed_out(REQUEST)),
        }
    }
}
