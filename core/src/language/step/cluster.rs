//! Changes of the cluster around the target: `scale` and `kube`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::language::model::Template;

/// Changes how many pods a workload of the target's namespace has, and waits until they are gone or ready. In a
/// backup there are as many as before as soon as everything is let go, elsewhere at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleStep {
    /// The workload: `statefulset/NAME` or `deployment/NAME`.
    pub workload: Template,
    /// How many pods it is to have.
    pub replicas: Template,
    /// Whether a run that succeeds leaves it so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

/// Changes an object of the target's namespace (`apply`, `patch` or `delete`), or waits for one (`until`). What was
/// changed is put back as soon as everything is let go, in another action than `backup` at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeStep {
    /// The version of its API, with the group where it has one: `v1`, `apps/v1`.
    pub api_version: String,
    /// Its kind: `ConfigMap`.
    pub kind: String,
    /// The plural by which the API serves the kind (`configmaps`), where it is not made by the rules of English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plural: Option<String>,
    /// Its name.
    pub name: Template,
    /// Fields that it is to have; it is made where it is not there (a server-side apply).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<Map<String, Value>>,
    /// Fields that are changed (a JSON merge patch): lists are replaced, and null removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Map<String, Value>>,
    /// Removes it, and waits until it is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
    /// Waits until this holds over `result`: `found`, and `object` where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-expression" = true))]
    pub until: Option<String>,
    /// Whether a run that succeeds leaves what was changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}
