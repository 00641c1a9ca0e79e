//! Whether a document has the shape that a JSON Schema asks for; every mistake is told, with its place.
//!
//! It knows the part of JSON Schema that our types and the hooks' use; what it does not know it takes no notice of.

mod choice;
mod object;
mod types;

use serde_json::Value;

pub(super) use self::types::Type;
use super::{
    diagnostic::Diagnostic,
    source::{Node, NodeValue, Path, Source},
    template::{Analysis, analyse_template, is_template},
};

/// What templates mean for the shape.
pub(super) trait Templates {
    /// Whether the templates in a text at this place are rendered before the value is used. `schema` is the text's.
    fn are_rendered(&self, schema: &Value) -> bool;

    /// What a sole template gives, if that is known.
    fn gives(&self, analysis: &Analysis) -> Option<Type>;
}

/// The language's own shape: templates are rendered where the model has a `Template`.
pub(super) struct InTheModel;

impl Templates for InTheModel {
    fn are_rendered(&self, schema: &Value) -> bool {
        let types = schema.get("type").and_then(Value::as_array);
        types.is_some_and(|types| types.iter().any(|name| name == "number"))
    }

    fn gives(&self, _: &Analysis) -> Option<Type> {
        None
    }
}

/// Whether a schema is of a secret, which is written `{parameter: NAME}` and has no shape of its own.
pub(super) fn is_secret(schema: &Value) -> bool {
    schema.get("x-secret").and_then(Value::as_bool).unwrap_or_default()
}

/// Whether a schema is of an expression, which is linted as one.
fn is_expression(schema: &Value) -> bool {
    schema.get("x-expression").and_then(Value::as_bool).unwrap_or_default()
}

/// Checks a value of the source against a schema.
pub(super) fn check(
    source: &Source,
    path: &Path,
    node: &Node,
    schema: &Value,
    templates: &dyn Templates,
) -> Vec<Diagnostic> {
    let mut shape = Shape { source, schema, templates, faults: Vec::new() };
    shape.check(node, schema, path);
    shape.faults
}

struct Shape<'a> {
    source: &'a Source,
    /// The whole schema, for its definitions.
    schema: &'a Value,
    templates: &'a dyn Templates,
    faults: Vec<Diagnostic>,
}

impl<'a> Shape<'a> {
    fn check(&mut self, node: &Node, schema: &'a Value, path: &Path) {
        if is_secret(schema) {
            return;
        }
        let schema = self.resolve(schema);
        if let Some(text) = node.as_text().filter(|text| is_template(text))
            && !self.check_template(text, schema, path)
        {
            return;
        }
        for keyword in ["oneOf", "anyOf"] {
            if let Some(Value::Array(variants)) = schema.get(keyword) {
                return self.check_choice(node, variants, path);
            }
        }
        let expected = Type::of_schema(schema);
        if !expected.is_empty() && !expected.iter().any(|ty| ty.fits(node)) {
            return self.wrong_type(node, &expected, path);
        }
        if let Some(allowed) = choice::constants(schema) {
            return self.check_constants(node, &allowed, path);
        }
        match &node.value {
            NodeValue::Map(entries) => self.check_object(entries, schema, path),
            NodeValue::List(items) => self.check_list(items, schema, path),
            NodeValue::Number(number) => {
                self.check_spelling(node, &number.to_string(), &expected, path);
                self.check_number(number.as_f64().unwrap_or_default(), schema, path);
            }
            NodeValue::Text(_) | NodeValue::Null | NodeValue::Boolean(_) => {}
        }
    }

    /// Checks a text with templates. Whether it is still to be checked as a plain text.
    fn check_template(&mut self, text: &str, schema: &'a Value, path: &Path) -> bool {
        if !self.templates.are_rendered(schema) {
            // A schema without a type takes anything, also text that looks like a template and is none.
            if schema.get("type").is_some() && !is_expression(schema) {
                let remedy = "Write the value itself.";
                self.fault("template-not-rendered", path, "templates are not rendered here", remedy);
            }
            return true;
        }
        let analysis = analyse_template(text);
        let given = if analysis.sole { self.templates.gives(&analysis) } else { Some(Type::Text) };
        let expected = self.types_of(schema);
        if let Some(given) = given
            && !expected.is_empty()
            && !expected.iter().any(|ty| ty.takes(given))
        {
            let message = format!("this is {}, and {} is needed", given.name(), types::names(&expected));
            let remedy = format!("Use a template that gives {}.", types::names(&expected));
            self.fault("wrong-type", path, message, remedy);
        }
        false
    }

    fn check_list(&mut self, items: &[Node], schema: &'a Value, path: &Path) {
        if let Some(minimum) = schema.get("minItems").and_then(Value::as_u64)
            && (items.len() as u64) < minimum
        {
            self.fault(
                "wrong-value",
                path,
                "there are too few items here",
                format!("Give at least {minimum}."),
            );
        }
        if let Some(schema) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.check(item, schema, &path.index(index));
            }
        }
    }

    fn check_number(&mut self, number: f64, schema: &Value, path: &Path) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        if let Some(minimum) = bound("minimum").filter(|minimum| number < *minimum) {
            let remedy = format!("Use {minimum} or more.");
            self.fault("wrong-value", path, format!("{number} is too small"), remedy);
        }
        if let Some(maximum) = bound("maximum").filter(|maximum| number > *maximum) {
            let remedy = format!("Use {maximum} or less.");
            self.fault("wrong-value", path, format!("{number} is too large"), remedy);
        }
    }

    /// Where text may stand too, a number must be spelt as it will be shown: `1.10` would become `1.1`.
    fn check_spelling(&mut self, node: &Node, shown: &str, expected: &[Type], path: &Path) {
        let written = self.source.text().get(node.span.clone()).unwrap_or_default();
        if expected.contains(&Type::Text) && written != shown {
            let message = format!("`{written}` is read as the number {shown}");
            self.fault(
                "ambiguous-number",
                path,
                message,
                "Put it in quotes if it is text, or write it plainly.",
            );
        }
    }

    fn wrong_type(&mut self, node: &Node, expected: &[Type], path: &Path) {
        let needed = types::names(expected);
        let (message, remedy) = if matches!(node.value, NodeValue::Null) {
            (
                format!("there is nothing here, and {needed} is needed"),
                "Give a value, or remove the key.".to_owned(),
            )
        } else {
            let scalar = matches!(node.value, NodeValue::Number(_) | NodeValue::Boolean(_));
            let quote = scalar && expected.contains(&Type::Text);
            let remedy = if quote { "Put it in quotes.".to_owned() } else { format!("Write {needed}.") };
            (format!("this is {}, and {needed} is needed", node.kind()), remedy)
        };
        self.fault("wrong-type", path, message, remedy);
    }

    /// Follows a reference to a definition.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // Definitions of definitions are short chains; a circle is no schema of ours.
        for _ in 0..8 {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { break };
            let Some(found) = reference.strip_prefix('#').and_then(|pointer| self.schema.pointer(pointer))
            else {
                break;
            };
            schema = found;
        }
        schema
    }

    /// The types that a schema takes, in all its variants.
    fn types_of(&self, schema: &'a Value) -> Vec<Type> {
        let schema = self.resolve(schema);
        let variants = ["oneOf", "anyOf"].iter().filter_map(|keyword| schema.get(*keyword)?.as_array());
        let mut types = Type::of_schema(schema);
        for variant in variants.flatten() {
            let of_variant = self.types_of(variant);
            if of_variant.is_empty() {
                return Vec::new();
            }
            types.extend(of_variant);
        }
        types
    }

    fn fault(
        &mut self,
        code: &'static str,
        path: &Path,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let position = self.source.position(path);
        self.faults.push(Diagnostic::error(code, path, Some(position), message, remedy));
    }
}

#[cfg(test)]
mod tests;
