//! Tests of a blueprint: an application to try it on, and how what was restored is read.
//!
//! ```yaml
//! apiVersion: standstill.dev/v1alpha1
//! kind: Test
//! metadata: {name: paused}
//! spec:
//!   summary: Every number that kv acknowledged is in the copy
//!   given:
//!     parameters: {directory: "{{ place }}/data", lease: 3s}
//!     prepare: [[mkdir, "{{ params.directory }}"]]
//!     service: {command: [kv, serve, "{{ params.directory }}"], ready: [kv, "{{ params.directory }}", PING]}
//!     write: [kv, "{{ params.directory }}", SET, "{{ number }}"]
//!   then:
//!     restore: {directory: "{{ copy }}"}
//!     read: [cut, -d, ";", -f1, "{{ copy }}/data"]
//! ```

mod lint;

use std::{collections::BTreeMap, sync::LazyLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::lint::lint_test;
use super::{
    diagnostic::as_error_of,
    model::{ApiVersion, Template},
    read::typed_by,
    schema,
    source::{NodeValue, Source},
};
use crate::Result;

/// The kind of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TestKind {
    /// A test of a blueprint.
    Test,
}

/// A test of the blueprint in whose `tests/` folder it is: given an application that is written to, a backup of it is
/// restored, read and verified, also when runs are killed and stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlueprintTest {
    /// The version of the language.
    pub api_version: ApiVersion,
    /// The kind of the document.
    pub kind: TestKind,
    /// The test's name.
    pub metadata: TestName,
    /// What it declares.
    pub spec: TestSpec,
}

/// The test's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestName {
    /// The name: lower-case letters, digits and hyphens.
    pub name: String,
}

/// What a test declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestSpec {
    /// One line that says what is tested.
    pub summary: String,
    /// The application, and who writes to it.
    pub given: TestGiven,
    /// How a backup of it is restored and read.
    pub then: TestThen,
}

/// The application, and who writes to it. Templates know `place` (an empty directory of the test's own), `port` (a
/// free port of the loopback address) and `folder` (the blueprint's); those of commands also `params`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestGiven {
    /// Values for the blueprint's parameters. A short `lease` makes the test quick.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Value>,
    /// Commands that make the application's data, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<Vec<Template>>,
    /// The application, if it is a server. It runs as long as the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<TestService>,
    /// Writes the number `number`; exit status 0 acknowledges it. It is run for 1, 2, 3, … as fast as it ends, and must
    /// wait as long as the application makes it wait.
    #[schemars(length(min = 1))]
    pub write: Vec<Template>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestService {
    /// Starts it; it must stay in the foreground.
    #[schemars(length(min = 1))]
    pub command: Vec<Template>,
    /// Exits with status 0 once the server can be written to.
    #[schemars(length(min = 1))]
    pub ready: Vec<Template>,
}

/// How a backup is restored and read. Templates also know `copy`: where to restore to, which is not there yet; and
/// `copyPort`: another free port, for a server to restore into.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestThen {
    /// Commands that make a place for a server to restore into, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<Vec<Template>>,
    /// A server to restore into, where the blueprint does that. It runs until the copy was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<TestService>,
    /// Values for `restore`, over those of the backup.
    pub restore: BTreeMap<String, Value>,
    /// Prints every number that is in the restored copy, one on a line.
    #[schemars(length(min = 1))]
    pub read: Vec<Template>,
}

/// JSON Schema (2020-12) of a test.
pub fn test_schema() -> Value {
    of_test().clone()
}

fn of_test() -> &'static Value {
    static SCHEMA: LazyLock<Value> =
        LazyLock::new(|| schema::of_type::<BlueprintTest>("test", "Standstill test of a blueprint"));
    &SCHEMA
}

/// Whether a document says that it is a test.
pub fn is_test(source: &Source) -> bool {
    source.root().get("kind").is_some_and(|kind| kind.value == NodeValue::Text("Test".to_owned()))
}

/// Reads a test: its shape is checked, its meaning is not.
///
/// # Errors
/// [`crate::ErrorKind::Input`] when it is not a test.
pub fn read_test(origin: &str, text: &str) -> Result<BlueprintTest> {
    let read = Source::parse(origin, text).and_then(|source| typed_by(&source, of_test()));
    read.map_err(|faults| as_error_of("test", origin, &faults))
}
