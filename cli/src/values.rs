//! Parameter values from the command line and from a values file.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::Value;
use standstill_core::{Error, Result, language::Source, plan::Given};

use crate::arguments::Values;

/// A values file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ValuesFile {
    /// Parameter values, by name. A secret is `{env: NAME}` or `{file: PATH}`.
    parameters: BTreeMap<String, Value>,
}

/// Reads what was given: the values file first, then each `--set` over it.
pub fn given(values: &Values) -> Result<BTreeMap<String, Given>> {
    let mut given = match &values.values {
        Some(path) => read(path)?,
        None => BTreeMap::new(),
    };
    for pair in &values.set {
        let (name, text) = pair.split_once('=').ok_or_else(|| {
            Error::input(format!("`--set {pair}` has no `=`")).remedy("Write `--set NAME=VALUE`.")
        })?;
        given.insert(name.to_owned(), Given::Text(text.to_owned()));
    }
    Ok(given)
}

fn read(path: &Path) -> Result<BTreeMap<String, Given>> {
    let origin = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| {
        Error::input(format!("the values file {origin} cannot be read"))
            .remedy("Check its path.")
            .because(cause)
    })?;
    let source = Source::parse(&origin, &text)
        .map_err(|diagnostics| standstill_core::language::as_error(&origin, &diagnostics))?;
    // The cause is left out: it could quote a secret that was written in plain text.
    let file: ValuesFile = serde_json::from_value(source.to_value()).map_err(|_| {
        Error::input(format!("{origin} is not a values file"))
            .remedy("Write `parameters:` and below it one line `NAME: VALUE` for each parameter.")
    })?;
    Ok(file.parameters.into_iter().map(|(name, value)| (name, Given::Value(value))).collect())
}
