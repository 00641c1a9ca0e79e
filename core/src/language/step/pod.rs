//! `pod`: a command in a pod of its own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Environment;
use crate::language::model::Template;

/// A command in a pod of its own, which is removed when the command has ended. On one machine it is a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodStep {
    /// On Kubernetes: the image, or `target` for the target's own. On one machine the programs are its own.
    pub image: Template,
    /// Program and arguments; never a shell line.
    pub command: Vec<Template>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
    /// In a backup: the volumes that it reads, at the paths where the database has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// The pod security profile that it stands under.
    #[serde(default, skip_serializing_if = "PodSecurity::is_restricted")]
    pub security: PodSecurity,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<PodResources>,
    /// An expression over `result` (`exitCode`, `stdout`, `stderr`) that must hold; by default the exit status must be 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-expression" = true))]
    pub expect: Option<String>,
}

/// A pod security profile, as Kubernetes' Pod Security Standards have them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PodSecurity {
    /// As the owner of the database's files, without any capability, on a root that is only read.
    #[default]
    Restricted,
    /// As the image's own user, on a root that can be written to.
    Baseline,
}

impl PodSecurity {
    /// Whether it is the default.
    pub const fn is_restricted(&self) -> bool {
        matches!(self, Self::Restricted)
    }
}

/// What a pod may use, in Kubernetes' quantities.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodResources {
    /// What it asks for of processors (10m by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Template>,
    /// What it asks for of memory, and the most that it gets (256Mi by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Template>,
}
