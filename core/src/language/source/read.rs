//! From YAML to nodes.

use std::ops::Range;

use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use super::{Key, Node, NodeValue, Path, Source, raw::Raw};
use crate::language::diagnostic::Diagnostic;

/// Far more than any blueprint has, and little enough that a hostile one is read or refused at once.
const MAXIMUM_NODES: usize = 50_000;

/// Reads the source's text.
pub(super) fn read(source: &Source) -> Result<Node, Vec<Diagnostic>> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAXIMUM_NODES, max_events: 4 * MAXIMUM_NODES },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAXIMUM_NODES },
        // They are looked for below, so that all of them are told, and where the first one was.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // `no`, `0755` and `1_000` are text: the values that YAML 1.1 made of them have surprised enough people.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let raw = serde_saphyr::from_str_with_options::<Spanned<Raw>>(&source.text, options)
        .map_err(|error| vec![refused(source, &error)])?;
    let mut reader = Reader { source, faults: Vec::new() };
    let node = reader.node(raw, &Path::root());
    if reader.faults.is_empty() { Ok(node) } else { Err(reader.faults) }
}

struct Reader<'a> {
    source: &'a Source,
    faults: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn node(&mut self, raw: Spanned<Raw>, path: &Path) -> Node {
        let span = span(self.source, &raw.defined);
        let value = match raw.value {
            Raw::Null => NodeValue::Null,
            Raw::Boolean(flag) => NodeValue::Boolean(flag),
            Raw::Number(number) => NodeValue::Number(number),
            Raw::Text(text) => NodeValue::Text(text),
            Raw::List(list) => NodeValue::List(
                list.into_iter()
                    .enumerate()
                    .map(|(index, item)| self.node(item, &path.index(index)))
                    .collect(),
            ),
            Raw::Map(entries) => self.map(entries, path),
        };
        Node { value, span }
    }

    fn map(&mut self, raw: Vec<(Spanned<String>, Spanned<Raw>)>, path: &Path) -> NodeValue {
        let mut entries: Vec<(Key, Node)> = Vec::with_capacity(raw.len());
        for (key, value) in raw {
            let path = path.key(&key.value);
            let key = Key { span: span(self.source, &key.defined), text: key.value };
            let node = self.node(value, &path);
            let first = entries.iter().find(|(known, _)| known.text == key.text);
            if let Some((first, _)) = first {
                let (first, here) = (self.source.place(&first.span), self.source.place(&key.span));
                let message = format!("the key `{}` is already there, on line {}", key.text, first.line);
                let remedy = "Remove one of the two.";
                self.faults.push(Diagnostic::error("duplicate-key", &path, Some(here), message, remedy));
            } else {
                entries.push((key, node));
            }
        }
        NodeValue::Map(entries)
    }
}

/// The bytes of a location.
fn span(source: &Source, location: &Location) -> Range<usize> {
    let known = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let span = location.span();
    let start = span
        .byte_offset()
        .map_or_else(|| source.offset(known(location.line()), known(location.column())), known)
        .min(source.text.len());
    // Without bytes the length is in characters, which is right enough to underline something.
    let length = span.byte_len().map_or_else(|| known(span.len()), known);
    let end = start.saturating_add(length).min(source.text.len());
    source.text.floor_char_boundary(start)..source.text.ceil_char_boundary(end)
}

fn refused(source: &Source, error: &serde_saphyr::Error) -> Diagnostic {
    let error = error.without_snippet();
    let position = error.location().map(|location| source.place(&span(source, &location)));
    if matches!(error, serde_saphyr::Error::MultipleDocuments { .. }) {
        let (message, remedy) =
            ("there is a second document in this file", "Put each blueprint into a file of its own.");
        return Diagnostic::error("invalid-yaml", &Path::root(), position, message, remedy);
    }
    let told = error.to_string();
    let reason = told.rfind(" at line ").map_or(told.as_str(), |end| &told[..end]);
    let message = format!("this is not YAML: {reason}");
    let remedy = "Check quotes, brackets, colons and indentation here.";
    Diagnostic::error("invalid-yaml", &Path::root(), position, message, remedy)
}
