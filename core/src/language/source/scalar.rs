//! Where a part of a text value is in the document: through quotes, escapes, folding and indentation.

use std::ops::Range;

/// How a scalar is written. A block scalar aligns like a plain one: its raw text has no header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
}

/// The bytes of `raw`, a scalar as written, that the bytes `part` of its value come from; `None` if they cannot be found.
pub(super) fn locate(raw: &str, value: &str, part: &Range<usize>) -> Option<Range<usize>> {
    let quoted = match raw.chars().next()? {
        '"' => Some(Style::Double),
        '\'' => Some(Style::Single),
        _ => None,
    };
    // A block scalar's first character may be a quote of its own.
    let placed =
        quoted.and_then(|style| align(raw, value, style)).or_else(|| align(raw, value, Style::Plain))?;
    let start = placed.iter().find(|place| place.value >= part.start).or(placed.last())?;
    let end = placed.iter().rev().find(|place| place.value < part.end).unwrap_or(start);
    Some(start.raw.start..end.raw.end.max(start.raw.start))
}

/// Where one character of the value is written.
struct Placed {
    value: usize,
    raw: Range<usize>,
}

fn align(raw: &str, value: &str, style: Style) -> Option<Vec<Placed>> {
    let mut placed = Vec::with_capacity(value.len());
    let mut at = usize::from(style != Style::Plain);
    for (offset, wanted) in value.char_indices() {
        let length = loop {
            let rest = raw.get(at..)?;
            match step(rest, wanted, style)? {
                Step::Found(length) => break length,
                Step::Skip(length) => at += length,
            }
        };
        placed.push(Placed { value: offset, raw: at..at + length });
        at += length;
    }
    Some(placed)
}

enum Step {
    /// The wanted character is here, and is so many bytes long as written.
    Found(usize),
    /// So many bytes stand for nothing.
    Skip(usize),
}

fn step(rest: &str, wanted: char, style: Style) -> Option<Step> {
    let Some(next) = rest.chars().next() else {
        // The last line break of a block scalar may be implied.
        return (wanted == '\n').then_some(Step::Found(0));
    };
    if style == Style::Double && next == '\\' {
        return match escape(rest)? {
            (length, Some(meant)) => (meant == wanted).then_some(Step::Found(length)),
            (length, None) => Some(Step::Skip(length)),
        };
    }
    if style == Style::Single && next == '\'' {
        return (wanted == '\'' && rest.starts_with("''")).then_some(Step::Found(2));
    }
    if next == wanted || (next.is_whitespace() && matches!(wanted, ' ' | '\n')) {
        return Some(Step::Found(next.len_utf8()));
    }
    // Indentation, and what is left of a folded line break.
    next.is_whitespace().then_some(Step::Skip(next.len_utf8()))
}

/// The length of an escape, and the character that it stands for; none for an escaped line break.
fn escape(rest: &str) -> Option<(usize, Option<char>)> {
    let sign = rest.chars().nth(1)?;
    let hexadecimal = |digits: usize| {
        let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((2 + digits, Some(char::from_u32(code)?)))
    };
    let simple = match sign {
        'x' => return hexadecimal(2),
        'u' => return hexadecimal(4),
        'U' => return hexadecimal(8),
        '\n' | '\r' => {
            let blank =
                rest[1..].chars().take_while(|c| c.is_whitespace()).map(char::len_utf8).sum::<usize>();
            return Some((1 + blank, None));
        }
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        other => other,
    };
    Some((1 + sign.len_utf8(), Some(simple)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(raw: &'a str, value: &str, part: &str) -> &'a str {
        let start = value.find(part).unwrap();
        &raw[locate(raw, value, &(start..start + part.len())).unwrap()]
    }

    #[test]
    fn a_part_is_found_through_every_style_of_scalar() {
        assert_eq!(found("a {{ x }}", "a {{ x }}", "{{ x }}"), "{{ x }}");
        assert_eq!(found(r#""q\t\u00e9 {{ \"x\" }}""#, "q\té {{ \"x\" }}", "\"x\""), r#"\"x\""#);
        assert_eq!(found("'it''s {{ x }}'", "it's {{ x }}", "x"), "x");
        assert_eq!(found("\"one\n   two \\\n   three\"", "one two three", "three"), "three");
        assert_eq!(found("line one\n    {{ x }}\n", "line one\n{{ x }}\n", "x }}"), "x }}");
        assert_eq!(found("folded\n  more\n\n  last", "folded more\nlast", "last"), "last");
        assert_eq!(found("\"quote\" of its own {{ x }}\n", "\"quote\" of its own {{ x }}\n", "x"), "x");
    }

    #[test]
    fn what_does_not_belong_together_is_not_found() {
        assert_eq!(locate("abc", "xyz", &(0..1)), None);
        assert_eq!(locate("", "xyz", &(0..1)), None);
    }
}
