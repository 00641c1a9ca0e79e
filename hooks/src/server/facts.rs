//! How facts are asked for, and what is said of those that cannot be had.

use std::{collections::BTreeMap, fmt::Display};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use standstill_core::point::{Bound, Fact};

/// What a fact about a table's rows begins with.
pub(crate) const ROWS: &str = "rows ";

/// How facts are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Mode {
    /// Not at all.
    None,
    /// Before and after the cut.
    #[default]
    Bounded,
    /// As of the cut.
    Exact,
}

/// The number of tables that are counted when nothing else is said.
pub(crate) fn usual_tables() -> u32 {
    100
}

/// How long a counting may take when nothing else is said.
pub(crate) fn usual_time() -> String {
    "30s".into()
}

/// A fact for people: what was not counted, and why; none where everything was.
pub(crate) fn left_out<N: Display>(name: impl Into<String>, reasons: &BTreeMap<N, String>) -> Option<Fact> {
    let value: Value = reasons.iter().map(|(table, reason)| json!(format!("{table}: {reason}"))).collect();
    (!reasons.is_empty()).then(|| Fact { name: name.into(), value, bound: Bound::None })
}
