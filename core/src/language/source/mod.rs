//! A blueprint's text: parsed into a tree of its own, with the place of every key and value, so that the model's types
//! stay plain and mistakes can still be shown where they were made.

mod node;
mod path;
mod raw;
mod read;
mod scalar;

use std::ops::Range;

use serde_json::Value;

pub use self::{
    node::{Key, Node, NodeValue},
    path::{Path, Segment},
};
use super::diagnostic::{Diagnostic, Position};

/// A parsed document with its text.
#[derive(Debug, Clone)]
pub struct Source {
    origin: String,
    text: String,
    /// Where each line starts, in bytes.
    lines: Vec<usize>,
    root: Node,
}

impl Source {
    /// Parses a YAML document. `origin` is what messages call it, usually the file's path.
    ///
    /// # Errors
    /// It is no YAML, holds more than one document, or has a key twice; all repeated keys are told at once.
    pub fn parse(origin: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let root = Node { value: NodeValue::Null, span: 0..0 };
        let mut source = Self { origin: origin.to_owned(), text: text.to_owned(), lines, root };
        source.root = read::read(&source)?;
        Ok(source)
    }

    /// What messages call it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The text, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The document.
    pub const fn root(&self) -> &Node {
        &self.root
    }

    /// The same text with another tree, of which every part comes from this one.
    pub(super) fn with_root(&self, root: Node) -> Self {
        Self { root, ..self.clone() }
    }

    /// The document without places.
    pub fn to_value(&self) -> Value {
        self.root.to_value()
    }

    /// The value at a path.
    pub fn node(&self, path: &Path) -> Option<&Node> {
        self.find(path).map(|(_, node)| node)
    }

    /// Where the value at a path is: a scalar's own place; a list's or a map's key, or its first key if it has none.
    /// What is not there is where the nearest value around it is.
    pub fn position(&self, path: &Path) -> Position {
        let Some((key, node)) = self.find(path) else {
            return path.parent().map_or_else(|| self.place(&(0..0)), |parent| self.position(&parent));
        };
        match (&node.value, key) {
            (NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null, Some(key)) => self.place(&key.span),
            (NodeValue::Map(entries), None) => {
                self.place(entries.first().map_or(&node.span, |(key, _)| &key.span))
            }
            _ => self.place(&node.span),
        }
    }

    /// Where the key at the end of a path is; the value's place if it has no key.
    pub fn key_position(&self, path: &Path) -> Position {
        match self.find(path) {
            Some((Some(key), _)) => self.place(&key.span),
            _ => self.position(path),
        }
    }

    /// Where a part of the text value at a path is, given as bytes of that value.
    pub fn position_inside(&self, path: &Path, part: &Range<usize>) -> Position {
        let inside = self.node(path).and_then(|node| {
            let raw = self.text.get(node.span.clone())?;
            let found = scalar::locate(raw, node.as_text()?, part)?;
            Some(node.span.start + found.start..node.span.start + found.end)
        });
        inside.map_or_else(|| self.position(path), |span| self.place(&span))
    }

    /// The place of a span of bytes, cut at the end of its first line.
    pub(super) fn place(&self, span: &Range<usize>) -> Position {
        let offset = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let rest = self.text.get(offset..).unwrap_or_default();
        let on_line = rest.lines().next().unwrap_or_default();
        let spanned = on_line.floor_char_boundary(span.end.saturating_sub(offset).min(on_line.len()));
        let count = |text: Option<&str>| text.map_or(0, |text| text.chars().count());
        Position {
            line,
            column: count(self.text.get(start..offset)) + 1,
            length: count(on_line.get(..spanned)).max(1),
            offset,
        }
    }

    /// The offset of a line and column in characters, both from 1.
    fn offset(&self, line: usize, column: usize) -> usize {
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let rest = self.text.get(start..).unwrap_or_default();
        start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at)
    }

    fn find(&self, path: &Path) -> Option<(Option<&Key>, &Node)> {
        path.segments().iter().try_fold((None, &self.root), |(_, node), segment| node.follow(segment))
    }
}

#[cfg(test)]
mod tests;
