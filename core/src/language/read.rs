//! From a text to the model.

use serde_json::Value;

use super::{
    diagnostic::{Diagnostic, as_error},
    model::Blueprint,
    schema,
    shape::{self, InTheModel},
    source::{Path, Source},
};
use crate::Result;

impl Blueprint {
    /// The digest of a blueprint's text, which recovery points carry: BLAKE3 in hexadecimal.
    pub fn digest(text: &str) -> String {
        digest(text)
    }
}

/// The digest of a blueprint's text: BLAKE3 in hexadecimal.
pub fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Reads a blueprint that was linted before, such as one that a recovery point carries: its shape is checked, its
/// meaning is not.
///
/// # Errors
/// [`crate::ErrorKind::Input`] when it is not a blueprint.
pub fn read(origin: &str, text: &str) -> Result<Blueprint> {
    let source = Source::parse(origin, text).map_err(|faults| as_error(origin, &faults))?;
    typed(&source).map_err(|faults| as_error(origin, &faults))
}

/// Checks a document's shape and makes the model of it.
pub(super) fn typed(source: &Source) -> Result<Blueprint, Vec<Diagnostic>> {
    let faults = shape::check(source, &Path::root(), source.root(), schema::of_blueprint(), &InTheModel);
    if faults.is_empty() { model(source, source.to_value()) } else { Err(faults) }
}

/// The model of a document whose shape was checked.
fn model(source: &Source, value: Value) -> Result<Blueprint, Vec<Diagnostic>> {
    serde_json::from_value(value).map_err(|cause| {
        let position = Some(source.position(&Path::root()));
        let remedy = "Compare it with the JSON Schema that `standstill schema` prints.";
        vec![Diagnostic::error("wrong-shape", &Path::root(), position, cause.to_string(), remedy)]
    })
}
