//! Groups: several targets that are backed up at one moment, by one run.
//!
//! ```yaml
//! apiVersion: standstill.dev/v1alpha1
//! kind: Group
//! metadata: {name: shop}
//! spec:
//!   summary: The orders and the index that is made of them
//!   members:
//!     - {name: orders, blueprint: postgresql, parameters: {dataDir: /var/lib/postgresql/15/main}}
//!     - {name: index, blueprint: ./search, parameters: {directory: /var/lib/search}}
//! ```

mod lint;

use std::{collections::BTreeMap, sync::LazyLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::lint::lint_group;
use super::{
    diagnostic::{Diagnostic, as_error_of},
    model::ApiVersion,
    read::typed_by,
    schema,
    source::{NodeValue, Source},
};
use crate::Result;

/// The kind of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GroupKind {
    /// A group.
    Group,
}

/// Several targets that belong together: quiesced in order, captured at one moment, let go in reverse, and kept as one
/// recovery point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// The version of the language.
    pub api_version: ApiVersion,
    /// The kind of the document.
    pub kind: GroupKind,
    /// The group's name.
    pub metadata: GroupName,
    /// What it declares.
    pub spec: GroupSpec,
}

/// The group's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupName {
    /// The name: lower-case letters, digits and hyphens. Recovery points carry it.
    pub name: String,
}

/// What a group declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSpec {
    /// One line that says what belongs together here.
    pub summary: String,
    /// The ceiling for the time that writes to any member wait, from the first hold to the last release; the widest of
    /// the members' by default. Each member's own applies to its holds too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_freeze: Option<String>,
    /// How long a hold on any member may outlive a runner that died; each member's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// The members, in the order in which they are quiesced. They are let go in reverse.
    #[schemars(length(min = 1))]
    pub members: Vec<GroupMember>,
}

/// One target of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupMember {
    /// Its name: lower-case letters, digits and hyphens. Its artifacts and steps are called `NAME/…`, its parameters
    /// are set by `--set NAME.PARAMETER=VALUE`.
    pub name: String,
    /// Its blueprint: a built-in's name, or a path from the group's own folder.
    pub blueprint: String,
    /// Values for its parameters. A secret is `{env: NAME}` or `{file: PATH}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Value>,
}

/// JSON Schema (2020-12) of a group.
pub fn group_schema() -> Value {
    of_group().clone()
}

fn of_group() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schema::of_type::<Group>("group", "Standstill group"));
    &SCHEMA
}

/// Whether a document says that it is a group.
pub fn is_group(source: &Source) -> bool {
    source.root().get("kind").is_some_and(|kind| kind.value == NodeValue::Text("Group".to_owned()))
}

/// Reads a group: its shape is checked, its meaning is not.
///
/// # Errors
/// [`crate::ErrorKind::Input`] when it is not a group.
pub fn read_group(origin: &str, text: &str) -> Result<Group> {
    let read = Source::parse(origin, text).and_then(|source| typed(&source));
    read.map_err(|faults| as_error_of("group", origin, &faults))
}

fn typed(source: &Source) -> Result<Group, Vec<Diagnostic>> {
    typed_by(source, of_group())
}
