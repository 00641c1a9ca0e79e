//! What to say about a target that is not there.

use std::fmt::Debug;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Namespace, Pod, Service},
};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use standstill_core::{Error, Result};

use super::Workload;
use crate::client::{Cluster, Objects};

/// How many names are told.
const TOLD: usize = 12;

/// A workload, or what is wrong with its name.
pub(super) async fn found<K>(cluster: &Cluster, workload: &Workload, object: Option<K>) -> Result<K> {
    match object {
        Some(object) => Ok(object),
        None => Err(missing(cluster, workload).await),
    }
}

async fn missing(cluster: &Cluster, workload: &Workload) -> Error {
    if let Some(error) = no_namespace(cluster).await {
        return error;
    }
    let there = match workload {
        Workload::StatefulSet(_) => names(&cluster.objects::<StatefulSet>()).await,
        Workload::Deployment(_) => names(&cluster.objects::<Deployment>()).await,
        Workload::Service(_) => names(&cluster.objects::<Service>()).await,
        Workload::Pod(_) => names(&cluster.objects::<Pod>()).await,
    };
    let (kind, name) = workload.parts();
    Error::input(format!("there is no {kind} {name} in the namespace {}", cluster.namespace()))
        .remedy(told(kind, there))
}

/// Says that the cluster's namespace is not there. Whoever may not look is not told.
pub(super) async fn no_namespace(cluster: &Cluster) -> Option<Error> {
    let name = cluster.namespace();
    if !matches!(cluster.global::<Namespace>().find(name).await, Ok(None)) {
        return None;
    }
    Some(
        Error::input(format!("there is no namespace {name}"))
            .remedy("Check `--namespace` and the context; `kubectl get namespaces` lists them."),
    )
}

/// The names of what there is, as far as that may be seen.
async fn names<K: Resource + Clone + DeserializeOwned + Debug>(objects: &Objects<K>) -> Option<Vec<String>> {
    Some(objects.list("").await.ok()?.iter().map(ResourceExt::name_any).collect())
}

fn told(kind: &str, names: Option<Vec<String>>) -> String {
    match names {
        None => "Check the name and the namespace.".to_owned(),
        Some(names) if names.is_empty() => format!("There is no {kind} at all: check the namespace."),
        Some(names) => {
            let more = if names.len() > TOLD { ", …" } else { "" };
            let some = names.into_iter().take(TOLD).collect::<Vec<_>>().join(", ");
            format!("Check the name and the namespace; there is: {some}{more}.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_instead_is_told_but_not_at_any_length() {
        assert_eq!(
            told("pod", Some(vec!["a".into(), "b".into()])),
            "Check the name and the namespace; there is: a, b."
        );
        let many = (0..20).map(|number| number.to_string()).collect();
        assert!(told("pod", Some(many)).ends_with("11, …."));
        assert!(told("pod", Some(Vec::new())).contains("no pod at all"));
        assert_eq!(told("pod", None), "Check the name and the namespace.");
    }
}
