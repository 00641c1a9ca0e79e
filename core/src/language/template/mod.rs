//! Templates and expressions: how they are rendered, and what can be known of them without rendering.

mod analysis;
mod environment;
mod guard;
mod infer;
mod parse;
mod walk;

use minijinja::{Error as EngineError, ErrorKind as EngineErrorKind, Value as EngineValue, value::Serde};
use serde_json::{Map, Value};

pub use self::analysis::{
    Analysis, Gives, Reference, analyse_expression, analyse_template, references, references_of_expression,
    sole_path,
};
use self::{
    environment::{environment, to_json},
    parse::{parse_expression, parse_template, sole_expression},
};
use super::{model::Template, scope::Scope};
use crate::{Error, Result};

/// Renders a template. A text that is exactly one `{{ … }}` keeps the type of its value; any other text with templates
/// in it becomes text; what is no text stays as it is.
///
/// # Errors
/// [`crate::ErrorKind::Input`]: it cannot be parsed, uses something undefined, or does something that cannot be done.
pub fn render(template: &Template, scope: &Scope) -> Result<Value> {
    match &template.0 {
        Value::String(text) => render_str(text, scope),
        other => Ok(other.clone()),
    }
}

/// Renders a template into text: numbers and booleans as they are written, a list or a map is an error.
///
/// # Errors
/// As [`render`], and when the value has no obvious spelling.
pub fn render_text(template: &Template, scope: &Scope) -> Result<String> {
    let value = render(template, scope)?;
    let remedy = match &value {
        Value::String(text) => return Ok(text.clone()),
        Value::Number(number) => return Ok(number.to_string()),
        Value::Bool(flag) => return Ok(flag.to_string()),
        Value::Null => "Give it a value, or use the filter `default(…, true)`.",
        Value::Array(_) => "Use the filter `join` or `tojson`.",
        Value::Object(_) => "Name one of its entries, or use the filter `tojson`.",
    };
    let shown = template.0.as_str().unwrap_or_default();
    Err(Error::input(format!("`{shown}` gives {} where text is needed", kind_of(&value))).remedy(remedy))
}

/// Renders all templates in a value, through lists and maps; keys are left as they are.
///
/// # Errors
/// As [`render`].
pub fn render_value(value: &Value, scope: &Scope) -> Result<Value> {
    match value {
        Value::String(text) => render_str(text, scope),
        Value::Array(list) => list.iter().map(|item| render_value(item, scope)).collect(),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, item)| Ok((key.clone(), render_value(item, scope)?)));
            entries.collect::<Result<Map<_, _>>>().map(Value::Object)
        }
        other => Ok(other.clone()),
    }
}

/// Evaluates an expression.
///
/// # Errors
/// As [`render`]; an undefined result is an error too.
pub fn evaluate(expression: &str, scope: &Scope) -> Result<Value> {
    parse_expression(expression).map_err(|fault| invalid(expression, &fault.message))?;
    evaluate_parsed(expression, scope)
}

/// Whether an expression holds.
///
/// # Errors
/// As [`evaluate`], and when the result is neither true nor false.
pub fn holds(expression: &str, scope: &Scope) -> Result<bool> {
    match evaluate(expression, scope)? {
        Value::Bool(holds) => Ok(holds),
        other => {
            let message =
                format!("`{expression}` gives {}, which is neither true nor false", kind_of(&other));
            Err(Error::input(message).remedy("Write a comparison, such as `result.exitCode == 0`."))
        }
    }
}

/// Whether a text has anything to render in it.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// What kind of value it is, for people.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn render_str(text: &str, scope: &Scope) -> Result<Value> {
    if !is_template(text) {
        return Ok(Value::String(text.to_owned()));
    }
    let template = parse_template(text).map_err(|fault| invalid(text, &fault.message))?;
    if let Some(expression) = sole_expression(text, &template).and_then(|place| text.get(place)) {
        return evaluate_parsed(expression.trim(), scope);
    }
    environment()
        .render_named_str("template", text, EngineValue::from(Serde(scope)))
        .map(Value::String)
        .map_err(|cause| explain(text, &references(&Value::String(text.to_owned())), scope, cause))
}

fn evaluate_parsed(expression: &str, scope: &Scope) -> Result<Value> {
    environment()
        .compile_expression(expression)
        .and_then(|compiled| compiled.eval(EngineValue::from(Serde(scope))))
        .and_then(|value| to_json(&value))
        .map_err(|cause| explain(expression, &references_of_expression(expression), scope, cause))
}

fn invalid(text: &str, reason: &str) -> Error {
    Error::input(format!("`{}` cannot be read: {reason}", shortened(text)))
        .remedy("Run `standstill lint` on the blueprint.")
}

/// The beginning of a text, for a message.
fn shortened(text: &str) -> String {
    const LIMIT: usize = 80;
    let line = text.trim().lines().next().unwrap_or_default();
    if line.len() == text.trim().len() && line.chars().count() <= LIMIT {
        return line.to_owned();
    }
    let mut beginning: String = line.chars().take(LIMIT).collect();
    beginning.push('…');
    beginning
}

/// An error of the engine in the blueprint's words. The engine says no values, and neither does this.
fn explain(text: &str, used: &[Vec<String>], scope: &Scope, cause: EngineError) -> Error {
    if cause.kind() == EngineErrorKind::UndefinedError
        && let Some(path) = used.iter().find(|path| scope.at(path).is_none())
    {
        let name = path.join(".");
        let place = if name == text { String::new() } else { format!(" in `{}`", shortened(text)) };
        return Error::input(format!("`{name}`{place} has no value"))
            .remedy("Give it a value, or say what to use instead with the filter `default(…)`.");
    }
    let reason = cause.detail().map_or_else(|| cause.kind().to_string(), str::to_owned);
    Error::input(format!("`{}` cannot be rendered: {reason}", shortened(text)))
        .remedy("Correct the template in the blueprint.")
        .because(cause)
}

#[cfg(test)]
mod tests;
