//! A server of the action's own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{As, Environment};
use crate::language::model::Template;

/// A server that lives until the action ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceStep {
    /// Whose programs it is made of. It runs where the action runs: on Kubernetes in the run's pod, which has the
    /// target's image then, beside the copy that it serves. A command in another image is a step `pod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ServiceImage>,
    /// Who it runs as.
    #[serde(default, rename = "as", skip_serializing_if = "As::is_runner")]
    pub run_as: As,
    /// The volumes that it uses; the first one's owner is `volumeOwner`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// What `services.NAME.port` is, unless something else listens there. By default a free one is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Template>,
    /// Where it may be reached from.
    #[serde(default)]
    pub listen: Listen,
    /// Its command.
    pub command: Vec<Template>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
    /// When it is ready.
    pub ready: Ready,
    /// How it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// Whose programs a service is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ServiceImage {
    /// The target's own: a copy is served by the version of the server that wrote it.
    Target,
}

/// Where a service may be reached from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Listen {
    /// Only from its own machine or pod.
    #[default]
    Loopback,
}

/// When a service is ready: a hook's verb that succeeds, or a command that ends with status 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ready {
    /// A verb: `HOOK/VERB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// A command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<Template>>,
    /// How long it may take (5m by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Template>,
}

/// How a service is ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stop {
    /// The signal that asks it to end (TERM by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<StopSignal>,
    /// How long it may take before it is killed (30s by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Template>,
}

/// A signal that asks a server to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
}
