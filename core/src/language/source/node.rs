//! The document as a tree in which every key and value knows where it is.

use std::ops::Range;

use serde_json::{Number, Value};

use super::path::Segment;

/// A value, and where it is in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: NodeValue,
    /// Its bytes in the text. A list's or a map's are only where it begins.
    pub span: Range<usize>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeValue {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the author's order; no key is there twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a map, and where it is in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Its bytes in the text.
    pub span: Range<usize>,
}

impl Node {
    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, value)| value)
    }

    /// A key with its value, if this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<(&Key, &Self)> {
        let NodeValue::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name.text == key).map(|(name, value)| (name, value))
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What a step leads to: the key that was followed, if it was one, and the value.
    pub(super) fn follow(&self, segment: &Segment) -> Option<(Option<&Key>, &Self)> {
        match (segment, &self.value) {
            (Segment::Key(key), _) => self.entry(key).map(|(key, value)| (Some(key), value)),
            (Segment::Index(index), NodeValue::List(list)) => list.get(*index).map(|item| (None, item)),
            (Segment::Index(_), _) => None,
        }
    }

    /// What a step leads to, to change it.
    pub(in crate::language) fn follow_mut(&mut self, segment: &Segment) -> Option<&mut Self> {
        match (segment, &mut self.value) {
            (Segment::Key(key), NodeValue::Map(entries)) => {
                entries.iter_mut().find(|(name, _)| name.text == *key).map(|(_, value)| value)
            }
            (Segment::Index(index), NodeValue::List(list)) => list.get_mut(*index),
            _ => None,
        }
    }

    /// The value without places.
    pub fn to_value(&self) -> Value {
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Boolean(flag) => Value::Bool(*flag),
            NodeValue::Number(number) => Value::Number(number.clone()),
            NodeValue::Text(text) => Value::String(text.clone()),
            NodeValue::List(list) => list.iter().map(Self::to_value).collect(),
            NodeValue::Map(entries) => Value::Object(
                entries.iter().map(|(key, value)| (key.text.clone(), value.to_value())).collect(),
            ),
        }
    }

    /// What kind of value it is, for people.
    pub const fn kind(&self) -> &'static str {
        match &self.value {
            NodeValue::Null => "nothing",
            NodeValue::Boolean(_) => "true or false",
            NodeValue::Number(_) => "a number",
            NodeValue::Text(_) => "text",
            NodeValue::List(_) => "a list",
            NodeValue::Map(_) => "a map",
        }
    }
}
