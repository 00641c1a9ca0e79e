//! Fixed lists of values, and alternatives.

use serde_json::Value;

use super::{
    Shape,
    types::{self, Type},
};
use crate::language::{
    source::{Node, Path},
    suggest,
};

/// The only values that a schema takes, if it lists them.
pub(super) fn constants(schema: &Value) -> Option<Vec<&Value>> {
    if let Some(constant) = schema.get("const") {
        return Some(vec![constant]);
    }
    schema.get("enum").and_then(Value::as_array).map(|values| values.iter().collect())
}

impl<'a> Shape<'a> {
    pub(super) fn check_constants(&mut self, node: &Node, allowed: &[&Value], path: &Path) {
        let value = node.to_value();
        if allowed.contains(&&value) {
            return;
        }
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let names: Vec<String> =
            allowed.iter().filter(|value| !value.is_null()).map(|value| shown(value)).collect();
        let remedy = suggest::remedy(&shown(&value), "other value", names.iter().map(String::as_str));
        self.fault("wrong-value", path, format!("`{}` is not possible here", shown(&value)), remedy);
    }

    /// Checks against alternatives: one that fits is enough; else the one that was most likely meant is reported.
    pub(super) fn check_choice(&mut self, node: &Node, variants: &'a [Value], path: &Path) {
        let variants: Vec<&'a Value> = variants.iter().map(|variant| self.resolve(variant)).collect();
        let constants: Option<Vec<Vec<&Value>>> = variants.iter().map(|variant| constants(variant)).collect();
        if let Some(constants) = constants {
            return self.check_constants(node, &constants.concat(), path);
        }
        let attempts: Vec<_> = variants
            .iter()
            .filter(|variant| {
                let types = Type::of_schema(variant);
                types.is_empty() || types.iter().any(|ty| ty.fits(node))
            })
            .map(|variant| {
                let mut attempt = Shape { faults: Vec::new(), ..*self };
                attempt.check(node, variant, path);
                attempt.faults
            })
            .collect();
        if let Some(faults) = attempts.into_iter().min_by_key(Vec::len) {
            return self.faults.extend(faults);
        }
        let expected: Vec<Type> = variants.iter().flat_map(|variant| Type::of_schema(variant)).collect();
        let needed = types::names(&expected);
        let message = format!("this is {}, and {needed} is needed", node.kind());
        self.fault("wrong-type", path, message, format!("Write {needed}."));
    }
}
