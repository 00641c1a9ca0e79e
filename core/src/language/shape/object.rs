//! Maps: known keys, required keys.

use serde_json::Value;

use super::Shape;
use crate::language::{
    diagnostic::Diagnostic,
    source::{Key, Node, Path},
    suggest,
};

impl<'a> Shape<'a> {
    pub(super) fn check_object(&mut self, entries: &[(Key, Node)], schema: &'a Value, path: &Path) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        for (key, value) in entries {
            let inner = path.key(&key.text);
            if let Some(schema) = properties.and_then(|properties| properties.get(&key.text)) {
                self.check(value, schema, &inner);
                continue;
            }
            match others {
                Some(Value::Bool(false)) => {
                    let known =
                        properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str));
                    let free = known.filter(|name| !entries.iter().any(|(key, _)| key.text == *name));
                    let remedy = suggest::remedy(&key.text, "other key", free);
                    let position = self.source.key_position(&inner);
                    let message = format!("there is no key `{}` here", key.text);
                    self.faults.push(Diagnostic::error(
                        "unknown-key",
                        &inner,
                        Some(position),
                        message,
                        remedy,
                    ));
                }
                Some(schema) => self.check(value, schema, &inner),
                None => {}
            }
        }
        for name in
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        {
            // A misspelt key is told once, where it is.
            let misspelt = |(key, _): &(Key, Node)| {
                let known = properties.is_some_and(|properties| properties.contains_key(&key.text));
                others == Some(&Value::Bool(false)) && !known && suggest::nearest(&key.text, [name]).is_some()
            };
            if !entries.iter().any(|entry| entry.0.text == name || misspelt(entry)) {
                let about = properties.and_then(|properties| self.describe(properties.get(name)?));
                let remedy = match about {
                    Some(about) => format!("Add `{name}`: {about}"),
                    None => format!("Add `{name}`."),
                };
                self.fault("missing-key", path, format!("the key `{name}` is missing"), remedy);
            }
        }
    }

    /// The first sentence of a schema's description.
    fn describe(&self, schema: &'a Value) -> Option<String> {
        let described = schema.get("description").or_else(|| self.resolve(schema).get("description"))?;
        let sentence = described.as_str()?.split(". ").next()?.trim_end_matches('.').replace('\n', " ");
        let mut letters = sentence.chars();
        let first = letters.next()?.to_lowercase();
        Some(format!("{first}{}.", letters.as_str()))
    }
}
