//! Objects of one kind: get, list, create, replace, delete, wait.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use standstill_core::{Error, ErrorKind, Result};

use super::{Attempt, explain};

/// The deadline of one request. Watches, logs and exec have their own.
const REQUEST: Duration = Duration::from_secs(15);
/// How long one watch lasts before the object is read again.
const WATCH: Duration = Duration::from_mins(1);
/// How long to wait after a watch that broke.
const PAUSE: Duration = Duration::from_millis(250);

/// Objects of one kind in one namespace, or of none.
#[derive(Clone)]
pub struct Objects<K> {
    api: Api<K>,
    resource: String,
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
    /// Also when it is not there ([`ErrorKind::Input`]).
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

    /// Waits until `judge` says that an object (or its absence) is what is waited for; `None` when that did not
    /// happen within the time. What `judge` fails with ends the wait. An API server that is away for a while is
    /// waited for, too.
    pub async fn wait<T>(
        &self,
        name: &str,
        within: Duration,
        judge: impl FnMut(Option<&K>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let one = Selection { name: Some(name), labels: "" };
        self.wait_selected(one, within, judge).await
    }

    /// As [`Objects::wait`], for the first object with these labels.
    pub async fn wait_for<T>(
        &self,
        labels: &str,
        within: Duration,
        judge: impl FnMut(Option<&K>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.wait_selected(Selection { name: None, labels }, within, judge).await
    }

    async fn wait_selected<T>(
        &self,
        selection: Selection<'_>,
        within: Duration,
        mut judge: impl FnMut(Option<&K>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let deadline = Instant::now() + within;
        loop {
            let looked = self.look(selection, deadline, &mut judge).await;
            match looked {
                Ok(Some(found)) => return Ok(Some(found)),
                Err(error) if error.kind() != ErrorKind::Temporary => return Err(error),
                Ok(None) => {}
                Err(error) => tracing::debug!("waiting for {}: {}", self.resource, error.chain()),
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads what is there, then watches it until the watch ends.
    async fn look<T>(
        &self,
        selection: Selection<'_>,
        deadline: Instant,
        judge: &mut impl FnMut(Option<&K>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let parameters = ListParams::default().fields(&selection.fields()).labels(selection.labels);
        let list = self.request("list", selection.name, self.api.list(&parameters)).await?;
        if let Some(found) = judge(list.items.first())? {
            return Ok(Some(found));
        }
        let version = list.metadata.resource_version.unwrap_or_default();
        let left = deadline.saturating_duration_since(Instant::now()).min(WATCH);
        let watched = tokio::time::timeout(left, self.follow(selection, &version, judge)).await;
        watched.unwrap_or(Ok(None))
    }

    async fn follow<T>(
        &self,
        selection: Selection<'_>,
        version: &str,
        judge: &mut impl FnMut(Option<&K>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let name = selection.name;
        let parameters = WatchParams::default().fields(&selection.fields()).labels(selection.labels);
        let events = self.request("watch", name, self.api.watch(&parameters, version)).await?;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let judged = match event.map_err(|cause| explain(self.attempt("watch", name), cause))? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => judge(Some(&object))?,
                WatchEvent::Deleted(_) => judge(None)?,
                WatchEvent::Bookmark(_) => None,
                // Mostly that the version is too old; the object is read again.
                WatchEvent::Error(_) => return Ok(None),
            };
            if judged.is_some() {
                return Ok(judged);
            }
        }
        Ok(None)
    }
}

/// Which objects are waited for.
#[derive(Debug, Clone, Copy)]
struct Selection<'a> {
    name: Option<&'a str>,
    labels: &'a str,
}

impl Selection<'_> {
    fn fields(&self) -> String {
        self.name.map_or_else(String::new, |name| format!("metadata.name={name}"))
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
