//! What is declared and never used: usually a typing error somewhere else.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Linter, declared::parameter_of, spec};
use crate::language::{references, references_of_expression};

impl Linter<'_> {
    /// Warns of what is never used.
    pub(super) fn unused(&mut self) {
        let used = Used::of(&serde_json::to_value(&self.blueprint.spec).unwrap_or_default());
        let declared = &self.blueprint.spec;
        let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<String>>();
        let sections = [
            ("parameters", "parameter", names(declared.parameters.keys().collect()), &used.parameters),
            ("connections", "connection", names(declared.connections.keys().collect()), &used.connections),
            ("volumes", "volume", names(declared.volumes.keys().collect()), &used.volumes),
            ("programs", "program", names(declared.programs.keys().collect()), &used.programs),
        ];
        for (section, what, declared, used) in sections {
            for name in declared.iter().filter(|name| !used.contains(*name)) {
                let message = format!("the {what} `{name}` is never used");
                self.warning("unused", &spec().key(section).key(name), message, "Use it or remove it.");
            }
        }
    }
}

/// The names that are used.
#[derive(Default)]
struct Used {
    parameters: BTreeSet<String>,
    connections: BTreeSet<String>,
    volumes: BTreeSet<String>,
    programs: BTreeSet<String>,
}

impl Used {
    fn of(spec: &Value) -> Self {
        let mut used = Self::default();
        used.value("", spec);
        used
    }

    fn value(&mut self, key: &str, value: &Value) {
        match value {
            Value::String(text) => {
                self.paths(references(value));
                match key {
                    "that" | "expect" | "until" => self.paths(references_of_expression(text)),
                    "connection" => self.connections.extend([text.clone()]),
                    "volume" | "volumes" | "like" | "to" => self.volumes.extend([text.clone()]),
                    _ => {}
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.value(key, item)),
            Value::Object(map) => {
                self.parameters.extend(parameter_of(map).map(str::to_owned));
                for (inner, value) in map {
                    // An argument may name a volume too; which ones do, only the verb knows.
                    self.value(if key == "with" { "volume" } else { inner }, value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn paths(&mut self, paths: Vec<Vec<String>>) {
        for path in paths {
            let [root, name, ..] = path.as_slice() else { continue };
            let names = match root.as_str() {
                "params" => &mut self.parameters,
                "connections" => &mut self.connections,
                "volumes" => &mut self.volumes,
                "programs" => &mut self.programs,
                _ => continue,
            };
            names.insert(name.clone());
        }
    }
}
