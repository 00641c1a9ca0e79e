//! Expressions that must hold, at once or in the end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExecStep, QueryStep};
use crate::language::model::Template;

/// An expression that must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckStep {
    /// The expression.
    #[schemars(extend("x-expression" = true))]
    pub that: String,
    /// What to say when it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Template>,
}

/// Waits until an expression holds over the result of something that is asked again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitStep {
    /// An expression over `result`.
    #[schemars(extend("x-expression" = true))]
    pub until: String,
    /// Asks by a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecStep>,
    /// Asks the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryStep>,
    /// How long to wait between two attempts (1s by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Template>,
}
