//! The arguments of each verb, and their JSON Schemas.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use standstill_core::{Error, Result, point::Fact, units::parse_duration};

use super::task::Method;

/// A duration as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Span(String);

impl Span {
    /// The duration.
    pub(super) fn duration(&self) -> Result<Duration> {
        parse_duration(&self.0)
    }

    fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Which facts are gathered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum FactsWanted {
    /// The rows of each table, as of the quiesced moment.
    #[default]
    Exact,
    /// None.
    None,
}

fn yes() -> bool {
    true
}

fn tables() -> u32 {
    200
}

fn rows() -> u32 {
    1000
}

fn wait_for() -> Span {
    Span::of("5s")
}

fn facts_within() -> Span {
    Span::of("20s")
}

fn max_block() -> Span {
    Span::of("1s")
}

/// Arguments of `ready`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Ready {
    /// The database file, relative to the volume.
    pub file: PathBuf,
    /// Whether a write lock will be taken, which needs permission to write.
    #[serde(default = "yes")]
    pub writable: bool,
}

/// Arguments of `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    /// The database file, relative to the volume.
    pub file: PathBuf,
}

/// Arguments of `write-lock`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WriteLock {
    /// The database file, relative to the volume.
    pub file: PathBuf,
    /// How long to wait for a writer that has the lock.
    #[serde(default = "wait_for")]
    pub wait_for: Span,
    /// Whether the files are written to the disk inside the hold, which a snapshot of the block device needs. It
    /// makes writes wait for the disk.
    #[serde(default)]
    pub sync: bool,
    /// Which facts are gathered.
    #[serde(default)]
    pub facts: FactsWanted,
    /// The number of tables whose rows are counted at most, in the order of their names.
    #[serde(default = "tables")]
    pub tables: u32,
    /// How long counting may go on after the release, but never longer than a third of the lease; what is not
    /// counted by then is a fact without a bound.
    #[serde(default = "facts_within")]
    pub facts_within: Span,
}

/// Arguments of `online-backup`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OnlineBackup {
    /// The database file, relative to the volume.
    pub file: PathBuf,
    /// How the copy is made.
    #[serde(default)]
    pub method: Method,
    /// For how long the copy may keep commits waiting; it does so in rollback-journal mode only.
    #[serde(default = "max_block")]
    pub max_block: Span,
    /// Whether the copy is checked in full at once.
    #[serde(default = "yes")]
    pub integrity: bool,
    /// Which facts are gathered.
    #[serde(default)]
    pub facts: FactsWanted,
    /// The number of tables whose rows are counted at most, in the order of their names.
    #[serde(default = "tables")]
    pub tables: u32,
}

/// Arguments of `compare-facts`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CompareFacts {
    /// The database file, relative to the volume.
    pub file: PathBuf,
    /// The facts of the recovery point: `"{{ point.facts }}"`.
    pub facts: Vec<Fact>,
}

/// Arguments of `query`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Query {
    /// The database file, relative to the volume.
    pub file: PathBuf,
    /// One statement that only reads.
    pub sql: String,
    /// The number of rows that it may have.
    #[serde(default = "rows")]
    pub limit: u32,
}

/// Reads a verb's arguments.
pub(super) fn parse<T: DeserializeOwned>(verb: &str, arguments: &Value) -> Result<T> {
    let arguments =
        if arguments.is_null() { Value::Object(serde_json::Map::new()) } else { arguments.clone() };
    serde_json::from_value(arguments).map_err(|cause| {
        Error::input(format!("the arguments of sqlite/{verb} are wrong"))
            .remedy("Correct the step's `with`; `standstill lint` shows where.")
            .because(cause)
    })
}

/// The JSON Schema of a verb's arguments.
pub(super) fn schema<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_filled_in() {
        let lock: WriteLock = parse("write-lock", &json!({"file": "app.db"})).unwrap();
        assert_eq!(lock.facts, FactsWanted::Exact);
        assert_eq!(lock.wait_for.duration().unwrap(), Duration::from_secs(5));
        assert!(!lock.sync);
    }

    #[test]
    fn an_unknown_argument_is_refused_by_name() {
        let error = parse::<File>("checkpoint", &json!({"file": "app.db", "mode": "full"})).unwrap_err();
        assert_eq!(error.kind(), standstill_core::ErrorKind::Input);
        assert!(error.chain().contains("unknown field `mode`"), "{}", error.chain());
    }

    #[test]
    fn schemas_name_every_argument_and_allow_no_other() {
        let schema = schema::<WriteLock>();
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["required"], json!(["file"]));
        assert!(schema["properties"]["waitFor"].is_object());
    }
}
