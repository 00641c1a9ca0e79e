//! `exec`, and what all commands share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::language::model::Template;

/// Environment variables of a process: text, or `{parameter: NAME}` for a secret.
pub type Environment = BTreeMap<String, EnvironmentValue>;

/// A value of an environment variable: text, or `{parameter: NAME}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvironmentValue(pub Value);

impl EnvironmentValue {
    /// The secret parameter that it names, if it does.
    pub fn parameter(&self) -> Option<&str> {
        self.0.as_object()?.get("parameter")?.as_str()
    }
}

impl JsonSchema for EnvironmentValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EnvironmentValue".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Text, or `{parameter: NAME}` for a secret parameter.",
            "anyOf": [
                {"type": ["string", "number", "boolean"]},
                {
                    "type": "object",
                    "properties": {"parameter": {"type": "string", "description": "A secret parameter."}},
                    "required": ["parameter"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// Who a process runs as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum As {
    /// The runner's own user.
    #[default]
    Runner,
    /// The numeric owner of the first volume in question.
    VolumeOwner,
}

impl As {
    /// Whether it is the default.
    pub const fn is_runner(&self) -> bool {
        matches!(self, Self::Runner)
    }
}

/// A command in the target's place, or in a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecStep {
    /// Program and arguments; never a shell line.
    pub command: Vec<Template>,
    /// Where: `target`, `runner` (beside the target) or `services.NAME`. By default `target` in a backup, and `runner`
    /// elsewhere and with `as: volumeOwner`.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
    /// Who the command runs as; `volumeOwner` needs `volume`. In a service it is always the service's own user.
    #[serde(default, rename = "as", skip_serializing_if = "As::is_runner")]
    pub run_as: As,
    /// The volume whose owner `volumeOwner` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// An expression over `result` (`exitCode`, `stdout`, `stderr`) that must hold; by default the exit status must be 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-expression" = true))]
    pub expect: Option<String>,
}
