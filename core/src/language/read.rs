//! From a text to the model.

use serde::de::DeserializeOwned;
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
    typed_by(source, schema::of_blueprint())
}

/// As [`typed`], for a document of another kind.
pub(super) fn typed_by<T: DeserializeOwned>(
    source: &Source,
    schema: &'static Value,
) -> Result<T, Vec<Diagnostic>> {
    let faults = shape::check(source, &Path::root(), source.root(), schema, &InTheModel);
    if faults.is_empty() { model(source, source.to_value()) } else { Err(faults) }
}

/// The model of a document whose shape was checked.
fn model<T: DeserializeOwned>(source: &Source, value: Value) -> Result<T, Vec<Diagnostic>> {
    serde_json::from_value(value).map_err(|cause| {
        let position = Some(source.position(&Path::root()));
        let remedy = "Compare it with the JSON Schema that `standstill schema` prints.";
        vec![Diagnostic::error("wrong-shape", &Path::root(), position, cause.to_string(), remedy)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "{apiVersion: standstill.dev/v1alpha1, kind: Blueprint, metadata: {name: a}, \
                         spec: {summary: nothing, actions: {}}}";

    #[test]
    fn a_blueprint_is_read_without_hooks() {
        let blueprint = read("b.yaml", SMALL).unwrap();
        assert_eq!(blueprint.metadata.name, "a");
        assert_eq!(serde_json::to_value(&blueprint).unwrap()["spec"]["summary"], "nothing");
    }

    #[test]
    fn what_is_no_blueprint_is_one_error_with_its_place_and_a_remedy() {
        let error =
            read("b.yaml", &SMALL.replace("summary", "sumary").replace("metadata", "meta")).unwrap_err();
        insta::assert_snapshot!(error, @"the blueprint b.yaml:1:56 is wrong: there is no key `meta` here (and 2 more)");
        insta::assert_snapshot!(error.remedy_text().unwrap_or_default(), @"Use one of: metadata.");
        let error = read("b.yaml", "a: [").unwrap_err();
        insta::assert_snapshot!(error, @"the blueprint b.yaml:1:4 is wrong: this is not YAML: unclosed bracket '['");
    }

    #[test]
    fn the_digest_is_blake3() {
        assert_eq!(Blueprint::digest(""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }
}
