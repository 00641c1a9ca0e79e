//! Binding: parameter values of the right type, and where the secret ones come from.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Map, Value};

use crate::{
    Error, Result,
    language::{Blueprint, Parameter, ParameterType, Scope, sole_path},
    secret::SecretReference,
    units::parse_duration,
};

/// A value as a user gave it.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// Text from `--set name=text`.
    Text(String),
    /// A typed value from a values file.
    Value(Value),
}

/// Parameter values, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    /// Values that are not secret; optional ones without a value are absent.
    pub parameters: Map<String, Value>,
    /// Where secret values come from.
    pub secrets: BTreeMap<String, SecretReference>,
}

/// Checks the values that a user gave against the blueprint's parameters, and adds the defaults.
///
/// # Errors
/// [`crate::ErrorKind::Input`]: an unknown parameter, a missing one, a value of the wrong type, a secret in plain text.
pub fn bind(blueprint: &Blueprint, given: &BTreeMap<String, Given>) -> Result<Values> {
    bind_member(blueprint, given, None)
}

/// As [`bind`], for a member of a group: the remedies name its parameters as the command line does.
///
/// # Errors
/// As [`bind`].
pub fn bind_member(
    blueprint: &Blueprint,
    given: &BTreeMap<String, Given>,
    member: Option<&str>,
) -> Result<Values> {
    let parameters = &blueprint.spec.parameters;
    if let Some(unknown) = given.keys().find(|name| !parameters.contains_key(*name)) {
        let known: Vec<&str> = parameters.keys().map(String::as_str).collect();
        return Err(Error::input(format!(
            "the blueprint {} has no parameter `{unknown}`",
            blueprint.metadata.name
        ))
        .remedy(format!("Its parameters are: {}.", known.join(", "))));
    }
    let mut values = Values::default();
    for (name, parameter) in parameters {
        match given.get(name) {
            Some(value) if parameter.ty == ParameterType::Secret => {
                values.secrets.insert(name.clone(), secret(name, value)?);
            }
            Some(value) => {
                values.parameters.insert(name.clone(), typed(name, parameter, value)?);
            }
            None => match &parameter.default {
                Some(default) => {
                    values.parameters.insert(name.clone(), default.clone());
                }
                None if parameter.optional => {}
                None => return Err(missing(blueprint, name, parameter, member)),
            },
        }
    }
    Ok(values)
}

fn missing(blueprint: &Blueprint, name: &str, parameter: &Parameter, member: Option<&str>) -> Error {
    let summary = parameter.summary.as_ref().map_or_else(String::new, |summary| format!(" ({summary})"));
    let set = member.map_or_else(|| name.to_owned(), |member| format!("{member}.{name}"));
    let how = if parameter.ty == ParameterType::Secret {
        format!("Add `--set {set}=@FILE` or `--set {set}=env:NAME`.")
    } else {
        format!("Add `--set {set}=…`.")
    };
    Error::input(format!("the blueprint {} needs the parameter `{name}`{summary}", blueprint.metadata.name))
        .remedy(how)
}

fn secret(name: &str, given: &Given) -> Result<SecretReference> {
    let plain = || {
        Error::input(format!("the parameter `{name}` is a secret and is never given in plain text")).remedy(
            format!("Use `--set {name}=@FILE`, `--set {name}=env:NAME`, or `{{file: …}}` or `{{env: …}}` in the values file."),
        )
    };
    match given {
        Given::Text(text) => {
            if let Some(path) = text.strip_prefix('@') {
                Ok(SecretReference::File(PathBuf::from(path)))
            } else if let Some(variable) = text.strip_prefix("env:") {
                Ok(SecretReference::Env(variable.to_owned()))
            } else if let Some((name, key)) =
                text.strip_prefix("secret:").and_then(|rest| rest.split_once('/'))
            {
                Ok(SecretReference::Secret { name: name.to_owned(), key: key.to_owned() })
            } else {
                Err(plain())
            }
        }
        // The cause is left out on purpose: it could quote the value.
        Given::Value(value) => serde_json::from_value(value.clone()).map_err(|_| plain()),
    }
}

/// Whether a value is one that a parameter takes.
///
/// # Errors
/// [`crate::ErrorKind::Input`]: the wrong type, none of the choices, a secret in plain text.
pub(crate) fn check_value(name: &str, parameter: &Parameter, given: &Given) -> Result<()> {
    if parameter.ty == ParameterType::Secret {
        secret(name, given).map(drop)
    } else {
        typed(name, parameter, given).map(drop)
    }
}

fn typed(name: &str, parameter: &Parameter, given: &Given) -> Result<Value> {
    let wrong = |what: &str| {
        let shown = match given {
            Given::Text(text) => text.clone(),
            Given::Value(value) => value.to_string(),
        };
        Error::input(format!("the parameter `{name}` is {what}, not `{shown}`"))
            .remedy(format!("Give it {what}."))
    };
    let value = match (parameter.ty, given) {
        (ParameterType::Integer, Given::Text(text)) => {
            Value::from(text.trim().parse::<i64>().map_err(|_| wrong("a whole number"))?)
        }
        (ParameterType::Boolean, Given::Text(text)) => {
            Value::from(text.trim().parse::<bool>().map_err(|_| wrong("true or false"))?)
        }
        (ParameterType::List, Given::Text(text)) => {
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect()
        }
        (_, Given::Text(text)) => Value::from(text.clone()),
        (_, Given::Value(value)) => value.clone(),
    };
    match parameter.ty {
        ParameterType::Integer if !value.is_i64() => return Err(wrong("a whole number")),
        ParameterType::Boolean if !value.is_boolean() => return Err(wrong("true or false")),
        ParameterType::List if !value.is_array() => return Err(wrong("a list")),
        ParameterType::String | ParameterType::Path if !value.is_string() => return Err(wrong("text")),
        ParameterType::Duration => {
            parse_duration(value.as_str().ok_or_else(|| wrong("a duration"))?)
                .map_err(|cause| cause.during(&format!("the parameter `{name}`")))?;
        }
        _ => {}
    }
    if !parameter.choices.is_empty() && !parameter.choices.contains(&value) {
        let choices: Vec<String> = parameter
            .choices
            .iter()
            .map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned))
            .collect();
        return Err(wrong(&format!("one of {}", choices.join(", "))));
    }
    Ok(value)
}

/// Whether a value is exactly one template of an optional parameter that has no value: its key is then left out.
pub(crate) fn is_left_out(value: &Value, blueprint: &Blueprint, scope: &Scope) -> bool {
    let Some(path) = sole_path(value) else { return false };
    match path.as_slice() {
        [place, name] if place == "params" => {
            let optional = blueprint.spec.parameters.get(name).is_some_and(|parameter| parameter.optional);
            optional && scope.at(&path).is_none()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blueprint() -> Blueprint {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "standstill.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "db"},
            "spec": {"summary": "a database", "actions": {}, "parameters": {
                "port": {"type": "integer", "default": 5432},
                "dataDir": {"type": "path", "summary": "where it is"},
                "password": {"type": "secret", "optional": true},
                "mode": {"type": "string", "default": "a", "choices": ["a", "b"]},
            }},
        }))
        .unwrap()
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, Given> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), Given::Text((*text).to_owned()))).collect()
    }

    #[test]
    fn values_get_their_types_and_defaults() {
        let values =
            bind(&blueprint(), &given(&[("dataDir", "/d"), ("port", "1"), ("password", "env:PW")])).unwrap();
        assert_eq!(values.parameters["port"], 1);
        assert_eq!(values.parameters["mode"], "a");
        assert_eq!(values.secrets["password"], SecretReference::Env("PW".into()));
    }

    #[test]
    fn a_missing_parameter_is_named_with_its_summary() {
        let error = bind(&blueprint(), &given(&[])).unwrap_err();
        assert_eq!(error.to_string(), "the blueprint db needs the parameter `dataDir` (where it is)");
    }

    #[test]
    fn a_secret_in_plain_text_is_refused_without_repeating_it() {
        let error = bind(&blueprint(), &given(&[("dataDir", "/d"), ("password", "hunter2")])).unwrap_err();
        assert!(error.to_string().contains("never given in plain text"));
        assert!(!error.chain().contains("hunter2"));
    }

    #[test]
    fn a_wrong_type_and_a_wrong_choice_are_refused() {
        let wrong = |name: &str, text: &str| {
            bind(&blueprint(), &given(&[("dataDir", "/d"), (name, text)])).unwrap_err().to_string()
        };
        assert_eq!(wrong("port", "x"), "the parameter `port` is a whole number, not `x`");
        assert_eq!(wrong("mode", "c"), "the parameter `mode` is one of a, b, not `c`");
        assert!(wrong("prot", "1").contains("no parameter `prot`"));
    }
}
