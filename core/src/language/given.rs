//! Values that a document gives for a blueprint's parameters, checked where they are written.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    diagnostic::Diagnostic,
    model::Blueprint,
    source::{Path, Source},
    suggest,
    template::is_template,
};
use crate::plan::{Given, check_value};

/// What is wrong with values for the parameters of a blueprint: unknown names, and values that they do not take. What
/// is to be rendered first is taken as it is.
pub(super) fn faults(
    source: &Source,
    path: &Path,
    blueprint: &Blueprint,
    values: &BTreeMap<String, Value>,
) -> Vec<Diagnostic> {
    let declared = &blueprint.spec.parameters;
    let mut faults = Vec::new();
    for (name, value) in values {
        let path = path.key(name);
        let Some(parameter) = declared.get(name) else {
            let message = format!("the blueprint {} has no parameter `{name}`", blueprint.metadata.name);
            let remedy = suggest::remedy(name, "parameter", declared.keys().map(String::as_str));
            let position = source.key_position(&path);
            faults.push(Diagnostic::error("unknown-parameter", &path, Some(position), message, remedy));
            continue;
        };
        if value.as_str().is_some_and(is_template) {
            continue;
        }
        if let Err(error) = check_value(name, parameter, &Given::Value(value.clone())) {
            let (position, remedy) = (source.position(&path), error.remedy_text().unwrap_or_default());
            faults.push(Diagnostic::error("wrong-value", &path, Some(position), error.to_string(), remedy));
        }
    }
    faults
}
