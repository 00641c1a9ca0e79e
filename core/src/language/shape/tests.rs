use serde_json::json;

use super::*;

fn faults(schema: &Value, text: &str) -> String {
    let source = Source::parse("b.yaml", text).unwrap();
    let faults = check(&source, &Path::root(), source.root(), schema, &InTheModel);
    faults
        .iter()
        .map(|fault| format!("{}: {} | {}", fault.path, fault.message, fault.remedy))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_mistake_of_shape_is_told_in_one_go() {
    let schema = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "port"],
        "properties": {
            "name": {"type": "string", "description": "The name. And more."},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "mode": {"oneOf": [{"const": "fast"}, {"const": "slow"}]},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "value": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Reference"}]},
            "level": {"enum": [1, 2, null]},
            "maybe": {"type": ["string", "null"]}
        },
        "$defs": {"Reference": {
            "type": "object", "required": ["parameter"], "additionalProperties": false,
            "properties": {"parameter": {"type": "string"}}
        }}
    });
    assert_eq!(
        faults(
            &schema,
            "{name: a, port: 1, mode: fast, tags: [x], value: {parameter: p}, level: 2, maybe: m}"
        ),
        ""
    );
    assert_eq!(faults(&schema, "{name: a, port: 1, value: text}"), "");
    insta::assert_snapshot!(faults(&schema, "{nmae: a, port: one, mode: fats, tags: [1, {}], value: [], level: 3}"), @r"
    nmae: there is no key `nmae` here | Did you mean `name`?
    port: this is text, and a whole number is needed | Write a whole number.
    mode: `fats` is not possible here | Did you mean `fast`?
    tags[0]: this is a number, and text is needed | Put it in quotes.
    tags[1]: this is a map, and text is needed | Write text.
    value: this is a list, and text or a map is needed | Write text or a map.
    level: `3` is not possible here | Use one of: 1, 2.
    ");
    insta::assert_snapshot!(faults(&schema, "{name: , port: 70000, value: {paramter: p}, tags: [], maybe: 1}"), @r"
    name: there is nothing here, and text is needed | Give a value, or remove the key.
    port: 70000 is too large | Use 65535 or less.
    value.paramter: there is no key `paramter` here | Did you mean `parameter`?
    tags: there are too few items here | Give at least 1.
    maybe: this is a number, and text is needed | Put it in quotes.
    ");
    insta::assert_snapshot!(faults(&schema, "[]"), @": this is a list, and a map is needed | Write a map.");
}

#[test]
fn a_template_where_none_is_rendered_is_told() {
    let schema = json!({"properties": {"plain": {"type": "string"}, "any": true, "template": {"type": ["string", "number"]}}});
    insta::assert_snapshot!(faults(&schema, "{plain: '{{ a }}', any: '{{ a }}', template: '{{ a }}'}"), @"plain: templates are not rendered here | Write the value itself.");
}
