//! Holds of the author's own: `pair` and `session`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Environment;
use crate::language::model::Template;

/// What a hold of the author's own tolerates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Tolerates {
    /// A copy that is not atomic.
    NotAtomic,
    /// Files that vanish or change size while they are read.
    ChangingFiles,
    /// A snapshot of the block device, which does not see what is still in the page cache.
    BlockLevel,
}

/// Commands that acquire, prove and let go, under a lease.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairStep {
    /// How long it is held without a renewal; the action's lease by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Template>,
    /// Whether writes wait while it is held.
    pub blocks_writes: bool,
    /// What it tolerates; by default `notAtomic` where writes wait, and nothing otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerates: Option<Vec<Tolerates>>,
    /// Acquires; exit status 0 means held.
    pub acquire: Vec<Template>,
    /// Proves that it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<PairConfirm>,
    /// Lets go; it must be safe to run again.
    pub release: Vec<Template>,
    /// Where: `target` (the default) or `runner`.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Environment variables of all three.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
}

/// Proves that a pair's hold is on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairConfirm {
    /// The command.
    pub command: Vec<Template>,
    /// An expression over `result` (`exitCode`, `stdout`, `stderr`) that must hold.
    #[schemars(extend("x-expression" = true))]
    pub expect: String,
}

/// An interactive client that is kept open under a keeper.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionStep {
    /// The client.
    pub command: Vec<Template>,
    /// Where: `target` (the default) or `runner`.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Lines to acquire with.
    pub send: Vec<Template>,
    /// A regular expression for the line that says that it is held.
    pub until: String,
    /// A line that is sent at every renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Template>,
    /// Proves that it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<SessionConfirm>,
    /// Lines to let go with.
    pub release: Vec<Template>,
    /// A regular expression for the line that says that it was let go. Without it a client that ends with status 0 after
    /// these lines is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_until: Option<String>,
    /// Whether the state outlives the client, so that a new client must send the release lines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub survives_client: bool,
    /// Whether writes wait while it is held (true by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks_writes: Option<bool>,
    /// What it tolerates; by default `notAtomic` where writes wait, and nothing otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerates: Option<Vec<Tolerates>>,
    /// How long it is held without a renewal; the action's lease by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Template>,
    /// Environment variables of the client.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
}

/// Proves that a session's hold is on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionConfirm {
    /// The line to ask with.
    pub send: Template,
    /// A regular expression for the answer.
    pub until: String,
}
