//! Pods that a run makes, and what it makes beside them: made once, and watched until they end.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use standstill_core::{Result, point::RunId};

use super::{End, Standing, deleted};
use crate::{client::Objects, snapshot::own};

/// How long one wait for the end of a pod lasts.
const WAIT: Duration = Duration::from_hours(1);

/// Makes an object of a run, or finds the one that an attempt made whose answer was lost.
pub(crate) async fn make<K>(objects: &Objects<K>, manifest: &Value, name: &str, run: &RunId) -> Result<K>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug,
{
    if let Some(made) = objects.create_new(manifest).await? {
        return Ok(made);
    }
    let found = objects.get(name).await?;
    own(&found, run)?;
    Ok(found)
}

/// Waits until a pod has ended that ran in a version, as `judge` has it.
pub(crate) async fn ended(
    pods: &Objects<Pod>,
    name: &str,
    judge: impl Fn(&Pod) -> Standing,
    mut since: Option<String>,
) -> Result<End> {
    loop {
        let end = pods.wait_since(name, since.take(), WAIT, |pod| match pod.map(&judge) {
            None => Err(deleted(name)),
            Some(Standing::Ended(end)) => Ok(Some(end)),
            Some(_) => Ok(None),
        });
        if let Some(end) = end.await? {
            return Ok(end);
        }
    }
}
