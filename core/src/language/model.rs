//! The types of a blueprint. The JSON Schema of the language is made from them, so their comments are its help texts.
//!
//! They hold what the author wrote, templates unrendered and without positions; positions are kept beside them, by
//! path (see `source`).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::step::Step;

/// A value that may be or contain a template: text, a number or a boolean.
///
/// A text that is exactly one `{{ … }}` keeps the type of what it renders to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub Value);

impl Template {
    /// A template from text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Value::String(text.into()))
    }
}

impl JsonSchema for Template {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// The version of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version; it may still change.
    #[serde(rename = "standstill.dev/v1alpha1")]
    V1Alpha1,
}

/// The kind of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A blueprint.
    Blueprint,
}

/// Declares how an application is brought to a consistent state, captured, let go, restored and checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blueprint {
    /// The version of the language.
    pub api_version: ApiVersion,
    /// The kind of the document.
    pub kind: Kind,
    /// The blueprint's name.
    pub metadata: Metadata,
    /// What it declares.
    pub spec: Spec,
}

/// The blueprint's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name: lower-case letters, digits and hyphens. Recovery points carry it.
    pub name: String,
}

/// What a blueprint declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// One line that says what it protects and how.
    pub summary: String,
    /// What a user sets, with `--set` or a values file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Parameter>,
    /// How hooks reach the database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connections: BTreeMap<String, ConnectionSpec>,
    /// Directories of the target that are captured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// Programs that steps call, found on this machine before anything is held.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, ProgramSpec>,
    /// What can be done: `backup`, `restore`, `verify` and any of the author's own.
    pub actions: BTreeMap<String, Action>,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameter {
    /// Its type.
    #[serde(rename = "type")]
    pub ty: ParameterType,
    /// Its value when none is given. A secret has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether it may be left out. What uses it is then left out too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The only values that it may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ParameterType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A path.
    Path,
    /// A duration such as `10s` or `1h30m`.
    Duration,
    /// A list of texts.
    List,
    /// A secret. It is in no template; it reaches a connection or a process by `{parameter: NAME}`.
    Secret,
}

/// How a hook reaches the database: `hook`, and the settings that this hook knows. A secret setting is written
/// `{parameter: NAME}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionSpec(pub Map<String, Value>);

impl ConnectionSpec {
    /// The name of its hook; empty if there is none (which lint reports).
    pub fn hook(&self) -> &str {
        self.0.get("hook").and_then(Value::as_str).unwrap_or_default()
    }
}

impl JsonSchema for ConnectionSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Connection".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "How a hook reaches the database: `hook`, and the settings that this hook knows.",
            "type": "object",
            "properties": {"hook": {"type": "string", "description": "The hook."}},
            "required": ["hook"],
            "additionalProperties": true
        })
    }
}

/// A directory of the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// Its path, as the database itself sees it.
    pub path: Template,
}

/// A program that steps call as `{{ programs.NAME }}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgramSpec {
    /// Its file name, where that is not the name by which steps call it (which has no hyphens): `mariadb-dump`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Directories to look in before `PATH`; empty ones are passed over. On Kubernetes the image's own `PATH` is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<Template>,
}

/// An action: phases in a fixed order. `backup` has preflight, prepare, quiesce, capture, recover, store and cleanup;
/// every other action has preflight, steps and cleanup.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Action {
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The ceiling for the time that writes wait (30s by default). At the ceiling everything is released and the run fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_freeze: Option<Template>,
    /// The ceiling for holds that block no writes (6h by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_hold: Option<Template>,
    /// How long a hold may outlive a runner that died (10s by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Template>,
    /// What a failed proof leads to: the run fails (the default), or the recovery point says `crash` if the capture was atomic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_quiesce_failure: Option<OnQuiesceFailure>,
    /// Places that this action restores into.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, ActionVolume>,
    /// Reads only, before anything is touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preflight: Vec<Step>,
    /// Slow work before any hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<Step>,
    /// Acquires holds, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quiesce: Vec<Step>,
    /// All `snapshot` steps together, then the others in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capture: Vec<Step>,
    /// Runs after the holds were released (in reverse order, which is implied).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recover: Vec<Step>,
    /// Uploads what was captured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub store: Vec<Step>,
    /// What the action does (not of `backup`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Always runs last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleanup: Vec<Step>,
}

/// What a failed proof leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnQuiesceFailure {
    /// The run fails.
    Fail,
    /// If the capture was atomic, the recovery point says `crash`.
    CrashConsistent,
}

/// A place that an action restores into.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionVolume {
    /// The volume that it is like: same owner and, on Kubernetes, same size and class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
    /// Its path; a scratch volume has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Template>,
    /// Whether it must be empty (or absent) before anything is written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
    /// Whether the run makes it and removes it at the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scratch: bool,
}

/// A phase of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Reads only.
    Preflight,
    /// Slow work before any hold.
    Prepare,
    /// Acquires holds.
    Quiesce,
    /// Captures.
    Capture,
    /// After the holds were released.
    Recover,
    /// Uploads.
    Store,
    /// What an action other than `backup` does.
    Steps,
    /// Always last.
    Cleanup,
}

impl Phase {
    /// The phases of `backup`, in order.
    pub const BACKUP: [Self; 7] = [
        Self::Preflight,
        Self::Prepare,
        Self::Quiesce,
        Self::Capture,
        Self::Recover,
        Self::Store,
        Self::Cleanup,
    ];
    /// The phases of every other action, in order.
    pub const OTHER: [Self; 3] = [Self::Preflight, Self::Steps, Self::Cleanup];

    /// The phases of an action, in order.
    pub fn of_action(action: &str) -> &'static [Self] {
        if action == "backup" { &Self::BACKUP } else { &Self::OTHER }
    }

    /// Its name, as the language writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Prepare => "prepare",
            Self::Quiesce => "quiesce",
            Self::Capture => "capture",
            Self::Recover => "recover",
            Self::Store => "store",
            Self::Steps => "steps",
            Self::Cleanup => "cleanup",
        }
    }
}

impl Action {
    /// The steps of a phase.
    pub fn phase(&self, phase: Phase) -> &[Step] {
        match phase {
            Phase::Preflight => &self.preflight,
            Phase::Prepare => &self.prepare,
            Phase::Quiesce => &self.quiesce,
            Phase::Capture => &self.capture,
            Phase::Recover => &self.recover,
            Phase::Store => &self.store,
            Phase::Steps => &self.steps,
            Phase::Cleanup => &self.cleanup,
        }
    }
}
