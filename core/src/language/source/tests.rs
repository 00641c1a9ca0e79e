use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parsed(text: &str) -> Source {
    Source::parse("b.yaml", text).unwrap()
}

fn refused(text: &str) -> String {
    let faults = Source::parse("b.yaml", text).unwrap_err();
    faults.iter().map(|fault| fault.render_in("b.yaml", text)).collect::<Vec<_>>().join("\n")
}

/// What the source says is at a place.
fn shown(source: &Source, at: Position) -> String {
    let line = source.text().lines().nth(at.line - 1).unwrap_or_default();
    assert!(
        source.text()[at.offset..].starts_with(
            line.chars().nth(at.column - 1).map_or("", |_| &source.text()[at.offset..=at.offset])
        )
    );
    line.chars().skip(at.column - 1).take(at.length).collect()
}

#[test]
fn scalars_are_read_as_the_language_means_them() {
    let value = parsed("a: 1\nb: yes\nc: 0755\nd: 1_000\ne: [true, ~, 1.5, -3]\nf: \"5\"\n").to_value();
    assert_eq!(
        value,
        json!({"a": 1, "b": "yes", "c": "0755", "d": "1_000", "e": [true, null, 1.5, -3], "f": "5"})
    );
}

#[test]
fn keys_and_values_know_where_they_are() {
    let source = parsed("\u{feff}spec:\n  é: {x: one}\n  list:\n    - name: \"two\"\n");
    let spec = Path::root().key("spec");
    let one = spec.key("é").key("x");
    assert_eq!(one.to_string(), "spec.é.x");
    assert_eq!(shown(&source, source.position(&one)), "one");
    assert_eq!(shown(&source, source.key_position(&one)), "x");
    let two = spec.key("list").index(0).key("name");
    assert_eq!(two.to_string(), "spec.list[0].name");
    assert_eq!(source.position(&two), Position { line: 4, column: 13, length: 5, offset: 41 });
    assert_eq!(shown(&source, source.position(&spec.key("list").index(0))), "name");
    assert_eq!(shown(&source, source.position(&spec.key("list"))), "list");
    assert_eq!(shown(&source, source.position(&spec.key("nothing").index(3))), "spec");
}

#[test]
fn a_part_of_a_text_is_found_inside_quotes_and_blocks() {
    let source = parsed(
        "a: \"x\\t{{ params.host }}\"\nb: |\n  line\n    {{ params.port }}\nc: >-\n  one\n  {{ params.user }}\n",
    );
    for (key, name) in [("a", "params.host"), ("b", "params.port"), ("c", "params.user")] {
        let path = Path::root().key(key);
        let text = source.node(&path).unwrap().as_text().unwrap();
        let start = text.find(name).unwrap();
        let at = source.position_inside(&path, &(start..start + name.len()));
        assert_eq!(shown(&source, at), name);
    }
}

#[test]
fn an_alias_is_where_its_anchor_is() {
    let source = parsed("a: &x {b: 1}\nc: *x\n");
    assert_eq!(source.to_value(), json!({"a": {"b": 1}, "c": {"b": 1}}));
    assert_eq!(source.position(&Path::root().key("c").key("b")).line, 1);
}

#[test]
fn every_repeated_key_is_told_with_the_first_one() {
    insta::assert_snapshot!(refused("a: 1\nb: {x: 1, x: 2}\na: 2\n"), @r"
    b.yaml:2:11: error[duplicate-key]: the key `x` is already there, on line 2
      |
    2 | b: {x: 1, x: 2}
      |           ^
    help: Remove one of the two.

    b.yaml:3:1: error[duplicate-key]: the key `a` is already there, on line 1
      |
    3 | a: 2
      | ^
    help: Remove one of the two.
    ");
}

#[test]
fn what_is_no_yaml_is_told_with_its_place() {
    insta::assert_snapshot!(refused("a: [1, 2\nb: 3\n"), @r"
    b.yaml:2:2: error[invalid-yaml]: this is not YAML: illegal placement of ':' indicator
      |
    2 | b: 3
      |  ^
    help: Check quotes, brackets, colons and indentation here.
    ");
    insta::assert_snapshot!(refused("a: b: c\n"), @r"
    b.yaml:1:5: error[invalid-yaml]: this is not YAML: mapping values are not allowed in this context
      |
    1 | a: b: c
      |     ^
    help: Check quotes, brackets, colons and indentation here.
    ");
    insta::assert_snapshot!(refused("a:\n\tb: 1\n"), @r"
    b.yaml:2:2: error[invalid-yaml]: this is not YAML: tabs disallowed within this context (block indentation)
      |
    2 | 	b: 1
      | 	^
    help: Check quotes, brackets, colons and indentation here.
    ");
    insta::assert_snapshot!(refused("a: 1\n---\nb: 2\n"), @r"
    b.yaml:3:1: error[invalid-yaml]: there is a second document in this file
      |
    3 | b: 2
      | ^
    help: Put each blueprint into a file of its own.
    ");
    insta::assert_snapshot!(refused("a: *nothing\n"), @r"
    b.yaml:1:4: error[invalid-yaml]: this is not YAML: alias references unknown anchor
      |
    1 | a: *nothing
      |    ^
    help: Check quotes, brackets, colons and indentation here.
    ");
    insta::assert_snapshot!(refused("a: !python/object x\n"), @r"
    b.yaml:1:19: error[invalid-yaml]: this is not YAML: unsupported tag `!python/object`
      |
    1 | a: !python/object x
      |                   ^
    help: Check quotes, brackets, colons and indentation here.
    ");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text.extend([format!("a{level}: &a{level} [{items}]\n")]);
    }
    assert!(Source::parse("b.yaml", &text).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_every_position_lies_inside_it(
        text in "([a-z]: |- |\\n|  |\\{|\\}|\\[|\\]|'|\"|\\||>|&a |\\*a|#|,|é|\\\\|\\PC|\\t){0,40}"
    ) {
        match Source::parse("b.yaml", &text) {
            Err(faults) => for fault in faults {
                if let Some(at) = fault.position {
                    prop_assert!(at.offset <= text.len());
                }
                fault.render_in("b.yaml", &text);
            },
            Ok(source) => every_position_is_inside(&source, source.root(), &Path::root())?,
        }
    }
}

fn every_position_is_inside(source: &Source, node: &Node, path: &Path) -> Result<(), TestCaseError> {
    for at in [source.position(path), source.key_position(path), source.position_inside(path, &(1..4))] {
        prop_assert!(source.text().is_char_boundary(at.offset));
        prop_assert!(at.line >= 1 && at.column >= 1 && at.length >= 1);
        let before = &source.text()[..at.offset];
        prop_assert_eq!(before.matches('\n').count() + 1, at.line);
    }
    match &node.value {
        NodeValue::List(list) => list
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| every_position_is_inside(source, item, &path.index(index))),
        NodeValue::Map(entries) => entries
            .iter()
            .try_for_each(|(key, item)| every_position_is_inside(source, item, &path.key(&key.text))),
        _ => Ok(()),
    }
}
