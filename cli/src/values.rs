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
    /// Parameter values, by name. A secret is `{env: NAME}`, `{file: PATH}` or, on Kubernetes,
    /// `{secret: {name: NAME, key: KEY}}`.
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
    /// Where the target is, on Kubernetes.
    #[serde(default)]
    target: BTreeMap<String, String>,
}

/// The prefix of what says where the target is: `--set target.workload=statefulset/pg`.
const TARGET: &str = "target.";

/// Reads where the target is, from the values file first, then from each `--set target.NAME=VALUE` over it.
pub fn target(values: &Values) -> Result<BTreeMap<String, String>> {
    let mut target = match &values.values {
        Some(path) => read(path)?.target,
        None => BTreeMap::new(),
    };
    let pairs = values.set.iter().filter_map(|pair| pair.strip_prefix(TARGET)?.split_once('='));
    target.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Ok(target)
}

/// A run on this machine has no target in a cluster; values that say so were meant for another one.
pub fn on_this_machine(values: &Values) -> Result<()> {
    if target(values)?.is_empty() {
        return Ok(());
    }
    Err(Error::input("the values say where the target is in a cluster, and the run is on this machine")
        .remedy("Add `--on kubernetes`, or leave `target` out of the values."))
}

/// Reads what was given: the values file first, then each `--set` over it.
pub fn given(values: &Values) -> Result<BTreeMap<String, Given>> {
    let mut given = match &values.values {
        Some(path) => {
            let parameters = read(path)?.parameters.into_iter();
            parameters.map(|(name, value)| (name, Given::Value(value))).collect()
        }
        None => BTreeMap::new(),
    };
    for pair in values.set.iter().filter(|pair| !pair.starts_with(TARGET)) {
        let (name, text) = pair.split_once('=').ok_or_else(|| {
            Error::input(format!("`--set {pair}` has no `=`")).remedy("Write `--set NAME=VALUE`.")
        })?;
        given.insert(name.to_owned(), Given::Text(text.to_owned()));
    }
    Ok(given)
}

fn read(path: &Path) -> Result<ValuesFile> {
    let origin = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| {
        Error::input(format!("the values file {origin} cannot be read"))
            .remedy("Check its path.")
            .because(cause)
    })?;
    let source = Source::parse(&origin, &text)
        .map_err(|diagnostics| standstill_core::language::as_error(&origin, &diagnostics))?;
    // The cause is left out: it could quote a secret that was written in plain text.
    serde_json::from_value(source.to_value()).map_err(|_| {
        Error::input(format!("{origin} is not a values file"))
            .remedy("Write `parameters:` and below it one line `NAME: VALUE` for each parameter (and `target:` likewise).")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(set: &[&str]) -> Values {
        Values { set: set.iter().map(|pair| (*pair).to_owned()).collect(), values: None }
    }

    #[test]
    fn where_the_target_is_does_not_count_among_the_parameters() {
        let values = values(&["target.workload=pod/db", "host=db", "target.container=app"]);
        assert_eq!(given(&values).unwrap().into_keys().collect::<Vec<_>>(), ["host"]);
        let target = target(&values).unwrap();
        assert_eq!((target["workload"].as_str(), target["container"].as_str()), ("pod/db", "app"));
    }

    #[test]
    fn a_target_in_a_cluster_is_refused_for_a_run_on_this_machine() {
        assert!(on_this_machine(&values(&["host=db"])).is_ok());
        let error = on_this_machine(&values(&["target.workload=pod/db"])).unwrap_err();
        assert!(error.remedy_text().unwrap().contains("--on kubernetes"));
    }
}
