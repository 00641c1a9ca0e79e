//! Connections, volumes and programs.

use serde_json::{Map, Value};

use super::{
    Linter,
    references::{InArguments, Need},
    spec,
    view::{FOUND, GIVEN, View},
};
use crate::language::{
    model::ParameterType,
    shape::{self, is_secret},
    source::{Node, NodeValue, Path},
    suggest,
};

impl Linter<'_> {
    /// Checks connections, volumes and programs.
    pub(super) fn declared(&mut self) {
        let blueprint = self.blueprint;
        let given = View::outside(GIVEN);
        for (name, connection) in &blueprint.spec.connections {
            self.connection(connection.hook(), &spec().key("connections").key(name));
        }
        for (name, volume) in &blueprint.spec.volumes {
            let path = spec().key("volumes").key(name).key("path");
            self.template(&path, &volume.path, &given, Need::Text);
        }
        for (name, program) in &blueprint.spec.programs {
            let path = spec().key("programs").key(name).key("search");
            self.texts(&path, &program.search, &View::outside(FOUND));
        }
    }

    fn connection(&mut self, hook: &str, path: &Path) {
        let named = path.key("hook");
        let Some(described) = self.hooks.get(hook) else {
            let remedy = suggest::remedy(hook, "hook", self.hooks.names());
            return self.error("unknown-hook", &named, format!("there is no hook `{hook}`"), remedy);
        };
        let Some(schema) = &described.connection else {
            let message = format!("the hook `{hook}` has no connections: it works on files");
            return self.error(
                "no-connections",
                &named,
                message,
                "Remove this; name a `volume` in its steps.",
            );
        };
        // `hook` is not one of the settings that the schema knows.
        let Some(Node { value: NodeValue::Map(entries), span }) = self.source.node(path) else { return };
        let settings = entries.iter().filter(|(key, _)| key.text != "hook").cloned().collect();
        let node = Node { value: NodeValue::Map(settings), span: span.clone() };
        let given = View::outside(GIVEN);
        let templates = InArguments { linter: self, view: &given };
        let faults = shape::check(self.source, path, &node, schema, &templates);
        self.faults.extend(faults);
        self.settings(&node, schema, path);
    }

    /// Checks the settings' templates, and that what is secret is given as a secret and nothing else is.
    fn settings(&mut self, node: &Node, schema: &Value, path: &Path) {
        let NodeValue::Map(entries) = &node.value else { return };
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (key, value) in entries {
            let path = path.key(&key.text);
            let Some(property) = schema.pointer("/properties").and_then(|all| all.get(&key.text)) else {
                continue;
            };
            let value = value.to_value();
            let named = value.as_object().and_then(parameter_of);
            match (is_secret(property), named) {
                (true, Some(parameter)) => self.secret_parameter(parameter, &path.key("parameter")),
                (true, None) => {
                    let message = format!("the setting `{}` is a secret", key.text);
                    let remedy = "Write `{parameter: NAME}`, with a parameter of the type `secret`.";
                    self.error("secret-in-plain-text", &path, message, remedy);
                }
                (false, _) => {
                    let need =
                        if required.contains(&key.text.as_str()) { Need::Anything } else { Need::LeftOut };
                    self.value(&path, &value, &View::outside(GIVEN), need);
                }
            }
        }
    }

    /// Checks the name in `{parameter: NAME}`.
    pub(super) fn secret_parameter(&mut self, name: &str, path: &Path) {
        let parameters = &self.blueprint.spec.parameters;
        let Some(parameter) = parameters.get(name) else {
            let secrets = parameters.iter().filter(|(_, parameter)| parameter.ty == ParameterType::Secret);
            let remedy = suggest::remedy(name, "secret parameter", secrets.map(|(name, _)| name.as_str()));
            return self.error("unknown-parameter", path, format!("there is no parameter `{name}`"), remedy);
        };
        if parameter.ty != ParameterType::Secret {
            let message = format!("the parameter `{name}` is not a secret");
            let remedy = format!(
                "Write `{{{{ params.{name} }}}}` instead of `{{parameter: {name}}}`, or give it the type `secret`."
            );
            self.error("not-a-secret", path, message, remedy);
        }
    }
}

/// The name in a map that is `{parameter: NAME}`.
pub(super) fn parameter_of(map: &Map<String, Value>) -> Option<&str> {
    if map.len() == 1 { map.get("parameter")?.as_str() } else { None }
}
