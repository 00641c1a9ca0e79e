//! The types of JSON values, as schemas name them.

use serde_json::Value;

use crate::language::source::{Node, NodeValue};

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::language) enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    List,
    Map,
}

impl Type {
    /// The types that a schema names; none means any.
    pub(super) fn of_schema(schema: &Value) -> Vec<Self> {
        match schema.get("type") {
            Some(Value::String(name)) => Self::parse(name).into_iter().collect(),
            Some(Value::Array(names)) => {
                names.iter().filter_map(|name| Self::parse(name.as_str()?)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::Text,
            "array" => Self::List,
            "object" => Self::Map,
            _ => return None,
        })
    }

    /// Whether a value is of this type.
    pub(super) fn fits(self, node: &Node) -> bool {
        match (&node.value, self) {
            (NodeValue::Boolean(_), Self::Boolean)
            | (NodeValue::Number(_), Self::Number)
            | (NodeValue::Text(_), Self::Text)
            | (NodeValue::List(_), Self::List)
            | (NodeValue::Map(_), Self::Map) => true,
            (NodeValue::Number(number), Self::Integer) => number.is_i64() || number.is_u64(),
            // A key without a value is a slip too: a schema's `null` stands for leaving the key out.
            _ => false,
        }
    }

    /// Whether a value of another type can stand where this one is needed.
    pub(super) fn takes(self, other: Self) -> bool {
        self == other || (self == Self::Number && other == Self::Integer)
    }

    /// Its name, for people.
    pub(in crate::language) const fn name(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean => "true or false",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }
}

/// The names of several types: `text, a number or true or false`.
pub(super) fn names(types: &[Type]) -> String {
    let mut names: Vec<&str> = types.iter().filter(|ty| **ty != Type::Null).map(|ty| ty.name()).collect();
    names.dedup();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "another value".to_owned(),
    }
}
