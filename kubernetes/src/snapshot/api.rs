//! The API of volume snapshots (`snapshot.storage.k8s.io`), as far as it is used here.
//!
//! It is no part of Kubernetes itself but installed beside it, in one of two versions that hardly differ.

use std::time::Duration;

use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde::Deserialize;
use standstill_core::{Error, Result};

use crate::client::{Cluster, explain};

/// The group of the API.
pub(crate) const GROUP: &str = "snapshot.storage.k8s.io";
/// The versions that are known, the better one first.
pub(crate) const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// The API of snapshots of several volumes at once.
pub(crate) const GROUP_OF_GROUPS: &str = "groupsnapshot.storage.k8s.io";
/// The versions of it that are known, the better one first. In the alpha version it is not told which snapshot is of
/// which claim.
pub(crate) const VERSIONS_OF_GROUPS: [&str; 3] = ["v1", "v1beta2", "v1beta1"];

/// A kind of the API, in a version.
fn kind(version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, version, kind), plural)
}

fn kind_of_groups(version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP_OF_GROUPS, version, kind), plural)
}

/// Snapshots of several claims at once: in their namespace.
pub(crate) fn groups(version: &str) -> ApiResource {
    kind_of_groups(version, "VolumeGroupSnapshot", "volumegroupsnapshots")
}

/// What the storage has of them: of no namespace.
pub(crate) fn group_contents(version: &str) -> ApiResource {
    kind_of_groups(version, "VolumeGroupSnapshotContent", "volumegroupsnapshotcontents")
}

/// Snapshots: in the namespace of the claim.
pub(crate) fn snapshots(version: &str) -> ApiResource {
    kind(version, "VolumeSnapshot", "volumesnapshots")
}

/// Their classes: of no namespace.
pub(crate) fn classes(version: &str) -> ApiResource {
    kind(version, "VolumeSnapshotClass", "volumesnapshotclasses")
}

/// What the storage has of them: of no namespace.
pub(crate) fn contents(version: &str) -> ApiResource {
    kind(version, "VolumeSnapshotContent", "volumesnapshotcontents")
}

/// How long the list of the classes may take.
const LIST: Duration = Duration::from_secs(15);

/// All classes; `None` where the API server does not know this version of them.
pub(crate) async fn list_classes(cluster: &Cluster, version: &str) -> Result<Option<Vec<DynamicObject>>> {
    list(cluster, &classes(version)).await
}

/// All classes for groups; `None` where the API server does not know this version of them.
pub(crate) async fn list_group_classes(
    cluster: &Cluster,
    version: &str,
) -> Result<Option<Vec<DynamicObject>>> {
    list(cluster, &kind_of_groups(version, "VolumeGroupSnapshotClass", "volumegroupsnapshotclasses")).await
}

async fn list(cluster: &Cluster, kind: &ApiResource) -> Result<Option<Vec<DynamicObject>>> {
    let classes = cluster.dynamic_global(kind);
    let attempt = classes.attempt("list", None);
    match tokio::time::timeout(LIST, classes.api().list(&ListParams::default())).await {
        Ok(Ok(list)) => Ok(Some(list.items)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(cause)) => Err(explain(attempt, cause)),
        Err(_) => Err(attempt.timed_out(LIST)),
    }
}

/// The status of a snapshot, of one claim or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SnapshotStatus {
    /// The content that it is bound to.
    #[serde(alias = "boundVolumeGroupSnapshotContentName")]
    pub(crate) bound_volume_snapshot_content_name: Option<String>,
    /// When the storage cut it.
    pub(crate) creation_time: Option<Timestamp>,
    /// Whether volumes can be made of it.
    pub(crate) ready_to_use: Option<bool>,
    /// How large a volume must be at least that is made of it.
    pub(crate) restore_size: Option<String>,
    /// What the driver complained of last.
    pub(crate) error: Option<Complaint>,
}

/// An error of a snapshot or of its content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Complaint {
    /// In the driver's words.
    pub(crate) message: Option<String>,
}

impl Complaint {
    /// The words, whatever is there.
    pub(crate) fn words(&self) -> &str {
        self.message.as_deref().unwrap_or("an error without a message")
    }
}

impl SnapshotStatus {
    /// The status of a snapshot; of one that nobody has looked at yet it is empty.
    pub(crate) fn of(snapshot: &DynamicObject) -> Result<Self> {
        part(snapshot, "status")
    }
}

/// What a content says about its snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContentSpec {
    /// The snapshot that it belongs to.
    #[serde(alias = "volumeGroupSnapshotRef")]
    pub(crate) volume_snapshot_ref: SnapshotRef,
}

/// A reference to a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct SnapshotRef {
    /// Its name.
    pub(crate) name: Option<String>,
    /// Its namespace.
    pub(crate) namespace: Option<String>,
    /// Its unique id; absent until it is bound.
    pub(crate) uid: Option<String>,
}

impl ContentSpec {
    /// The spec of a content.
    pub(crate) fn of(content: &DynamicObject) -> Result<Self> {
        part(content, "spec")
    }
}

/// One part of an object, or an empty one.
fn part<T: Default + for<'de> Deserialize<'de>>(object: &DynamicObject, key: &str) -> Result<T> {
    let Some(value) = object.data.get(key).filter(|value| !value.is_null()) else { return Ok(T::default()) };
    T::deserialize(value).map_err(|cause| {
        Error::failed(format!("the {key} of {} is not understood", object.name_any()))
            .remedy("Check that the snapshot controller is of a version that fits its resources.")
            .because(cause)
    })
}
