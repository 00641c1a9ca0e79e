//! Captures, and what is stored of them and restored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{As, Environment, HookStep};
use crate::{language::model::Template, runtime::CaptureMode};

/// Captures a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotStep {
    /// The volume.
    pub volume: String,
    /// How: `auto` (the default) is the first of atomic, live and copy that every hold tolerates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CaptureMode>,
}

/// What is kept of a capture instead of being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Keep {
    /// The snapshot itself, where it is.
    Snapshot,
}

/// Stores a captured volume (`from`), or restores one (`to`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeStep {
    /// What is stored: `captures.NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The artifact.
    pub artifact: String,
    /// The volume that it is restored to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// A directory inside the volume that it is restored to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<String>,
    /// Patterns of files that are not stored. Without a slash a pattern matches a name at any depth; `dir/*` leaves
    /// the directory itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Files that are read after all others, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<String>,
    /// `snapshot`: nothing is stored, and the storage's own snapshot is kept as the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
}

/// Stores files that a hook gathered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilesStep {
    /// The output that names them: `steps.NAME.OUTPUT`.
    pub from: String,
    /// The artifact.
    pub artifact: String,
}

/// The output of a command or of a hook's verb into an artifact (in `backup`), or an artifact into a command's standard
/// input (elsewhere).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamStep {
    /// A list: the step is done for each `item` of it. Outside `backup`, left out, an artifact `NAME/*` stands for
    /// every artifact below `NAME/`, with `item.name` and `item.artifact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<Template>,
    /// The artifact; with `forEach` its name must hold `{{ item… }}`.
    pub artifact: Template,
    /// The command; `command` or `hook` is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<Template>,
    /// A verb that gives a stream. Only in `backup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookStep>,
    /// Where: `runner` (beside the target, the default), `target` or `services.NAME`.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
    /// Who the command runs as; `volumeOwner` needs `volume`.
    #[serde(default, rename = "as", skip_serializing_if = "As::is_runner")]
    pub run_as: As,
    /// The volume whose owner `volumeOwner` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Whether the command by itself takes a consistent copy and proves it by its exit status 0 (`pg_basebackup`). A
    /// backup that holds nothing is called application-consistent only if every artifact comes from such a stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub consistent: bool,
    /// What the last line of the command's output begins with when it is complete (`-- Dump completed`); an output
    /// that ends otherwise is not stored, whatever the exit status says. Only in `backup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_line: Option<String>,
    /// What the last line of the command's standard error holds when all went well (`completed OK!`); otherwise its
    /// output is not stored, whatever the exit status says. Only in `backup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<String>,
}
