//! Waiting for objects: they are read once, and then watched.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use kube::{
    Resource,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use standstill_core::{ErrorKind, Result};

use super::{Objects, explain};

/// How long one watch lasts before the object is read again.
const WATCH: Duration = Duration::from_mins(1);
/// How long to wait after a watch that broke.
const PAUSE: Duration = Duration::from_millis(250);

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
    K: Resource + Clone + DeserializeOwned + Debug,
{
    /// Waits until `judge` says that an object (or its absence) is what is waited for; `None` when that did not
    /// happen within the time. What `judge` fails with ends the wait. An API server that is away for a while is
    /// waited for, too.
    pub async fn wait<T>(
        &self,
        name: &str,
        within: Duration,
        judge: impl FnMut(Option<&K>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.wait_since(name, None, within, judge).await
    }

    /// As [`Objects::wait`], for an object that is known in a version: what was judged then, or need not be, is not
    /// read again.
    pub(crate) async fn wait_since<T>(
        &self,
        name: &str,
        version: Option<String>,
        within: Duration,
        judge: impl FnMut(Option<&K>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let one = Selection { name: Some(name), labels: "" };
        self.wait_selected(one, version, within, judge).await
    }

    /// As [`Objects::wait`], for the first object with these labels.
    pub async fn wait_for<T>(
        &self,
        labels: &str,
        within: Duration,
        judge: impl FnMut(Option<&K>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.wait_selected(Selection { name: None, labels }, None, within, judge).await
    }

    async fn wait_selected<T>(
        &self,
        selection: Selection<'_>,
        mut since: Option<String>,
        within: Duration,
        mut judge: impl FnMut(Option<&K>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let deadline = Instant::now() + within;
        loop {
            let looked = match since.take() {
                Some(version) => self.follow_until(selection, &version, deadline, &mut judge).await,
                None => self.look(selection, deadline, &mut judge).await,
            };
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
        self.follow_until(selection, &version, deadline, judge).await
    }

    async fn follow_until<T>(
        &self,
        selection: Selection<'_>,
        version: &str,
        deadline: Instant,
        judge: &mut impl FnMut(Option<&K>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let left = deadline.saturating_duration_since(Instant::now()).min(WATCH);
        let watched = tokio::time::timeout(left, self.follow(selection, version, judge)).await;
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
