//! The target: the pod that the database runs in, and what its container mounts where.
//!
//! ```text
//!   values ──▶ workload ──▶ the one ready pod (of several, by its role) ──▶ node, container, image, mounts ──▶ path ⇒ (claim, path in it)
//! ```

mod absent;
mod find;
mod mounts;
mod owner;
mod peers;
mod values;

use serde::{Deserialize, Serialize};

pub(crate) use find::{is_ready, unready};
pub use mounts::{Mount, Source, VolumePath};
pub use owner::Owner;
pub use peers::Peers;
pub use values::{Security, TargetValues, Workload};

/// What a run works on, and what its pods are made like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The namespace.
    pub namespace: String,
    /// What it was found by, for people: `statefulset/pg`.
    pub found_by: String,
    /// The pods among which it is the one of its role; none where it is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Peers>,
    /// The pod; none for a workload that is scaled to nothing, which can still be restored.
    pub pod: Option<TargetPod>,
    /// The container.
    pub container: String,
    /// Its image.
    pub image: String,
    /// How the image is pulled, in the API's words.
    pub pull_policy: Option<String>,
    /// The names of the Secrets that the image is pulled with.
    pub pull_secrets: Vec<String>,
    /// What the container mounts.
    pub mounts: Vec<Mount>,
    /// The numeric user that the container runs as, where the pod says so.
    pub run_as_user: Option<i64>,
    /// Its numeric group, likewise.
    pub run_as_group: Option<i64>,
    /// The taints that the pod may stand beside, as they are written in its specification.
    pub tolerations: Vec<serde_json::Value>,
}

/// The pod of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetPod {
    /// Its name.
    pub name: String,
    /// Its unique id: a pod of the same name that came later is another one.
    pub uid: String,
    /// Its address.
    pub address: String,
    /// The node that it runs on.
    pub node: String,
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
