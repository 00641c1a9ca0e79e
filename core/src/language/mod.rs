//! The blueprint language: types, parsing with positions, lint, templates, JSON Schema.
//!
//! ```text
//!   text ──source──▶ tree with positions ──shape──▶ typed model ──lint──▶ diagnostics
//!                                                        └──template──▶ rendered values
//! ```

mod diagnostic;
mod given;
mod group;
mod lint;
mod model;
mod read;
mod schema;
mod scope;
mod shape;
mod source;
mod step;
mod suggest;
mod template;
mod testing;

pub use diagnostic::{Diagnostic, Position, Severity, as_error, as_error_of};
pub use group::{
    Group, GroupKind, GroupMember, GroupName, GroupSpec, group_schema, is_group, lint_group, read_group,
};
pub use lint::{check, lint};
pub(crate) use lint::{is_artifact_name, is_name};
pub use model::*;
pub use read::{digest, read};
pub use schema::schema;
pub use scope::Scope;
pub use source::{Key, Node, NodeValue, Path, Segment, Source};
pub use step::*;
pub use template::{
    evaluate, holds, is_template, references, references_of_expression, render, render_text, render_value,
    sole_path,
};
pub use testing::{
    BlueprintTest, TestGiven, TestKind, TestName, TestService, TestSpec, TestThen, is_test, lint_test,
    read_test, test_schema,
};
