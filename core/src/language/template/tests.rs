use proptest::prelude::*;
use serde_json::json;

use super::*;

fn scope() -> Scope {
    let mut scope = Scope::new();
    scope
        .insert("params", json!({"host": "db", "port": 5432, "all": true, "tags": ["a", "b"], "none": null}));
    scope.set_path(&["steps", "dump"], json!({"stdout": "{\"rows\": 3}", "exitCode": 0}));
    scope
}

fn rendered(text: &str) -> Value {
    render(&Template::text(text), &scope()).unwrap()
}

fn error(text: &str) -> String {
    render(&Template::text(text), &scope()).unwrap_err().to_string()
}

#[test]
fn a_text_that_is_exactly_one_template_keeps_its_type() {
    assert_eq!(rendered("{{ params.port }}"), json!(5432));
    assert_eq!(rendered("{{- params.tags -}}"), json!(["a", "b"]));
    assert_eq!(rendered("{{ params.all }}\n"), json!(true));
    assert_eq!(rendered("{{ params }}")["host"], json!("db"));
    assert_eq!(rendered("{{ {'a': {'b': 1}}}}"), json!({"a": {"b": 1}}));
    assert_eq!(rendered("{{ (steps.dump.stdout | fromjson).rows }}"), json!(3));
}

#[test]
fn any_other_text_becomes_text_and_keeps_its_last_line_break() {
    assert_eq!(rendered("{{ params.host }}:{{ params.port }}"), json!("db:5432"));
    assert_eq!(rendered(" {{ params.port }}"), json!(" 5432"));
    assert_eq!(rendered("{% if params.all %}--all{% endif %}\n"), json!("--all\n"));
    assert_eq!(rendered("<{{ params.tags | tojson }}>"), json!("<[\"a\",\"b\"]>"));
    assert_eq!(rendered("plain\n"), json!("plain\n"));
}

#[test]
fn text_shows_numbers_and_booleans_plainly_and_refuses_lists_and_maps() {
    let text = |template: Value| render_text(&Template(template), &scope());
    assert_eq!(text(json!("{{ params.port }}")).unwrap(), "5432");
    assert_eq!(text(json!(true)).unwrap(), "true");
    insta::assert_snapshot!(text(json!("{{ params.tags }}")).unwrap_err(), @"`{{ params.tags }}` gives a list where text is needed");
    insta::assert_snapshot!(text(json!("{{ params.none }}")).unwrap_err(), @"`{{ params.none }}` gives null where text is needed");
    insta::assert_snapshot!(text(json!("x{{ params.tags }}")).unwrap_err(), @"`x{{ params.tags }}` cannot be rendered: a list cannot stand in a text; use the filter `join` or `tojson`");
}

#[test]
fn values_are_rendered_through_lists_and_maps() {
    let value = json!({"a": ["{{ params.port }}", {"b": "x{{ params.host }}"}], "n": 1});
    assert_eq!(render_value(&value, &scope()).unwrap(), json!({"a": [5432, {"b": "xdb"}], "n": 1}));
}

#[test]
fn what_is_undefined_is_an_error_that_names_it() {
    insta::assert_snapshot!(error("{{ params.hots }}"), @"`params.hots` has no value");
    insta::assert_snapshot!(error("at {{ params.hots }}"), @"`params.hots` in `at {{ params.hots }}` has no value");
    insta::assert_snapshot!(error("{{ nothing.at.all }}"), @"`nothing.at.all` has no value");
    insta::assert_snapshot!(error("{{ [params.hots] }}"), @"`params.hots` in `[params.hots]` has no value");
    assert_eq!(rendered("{{ params.hots | default('x') }}"), json!("x"));
}

#[test]
fn what_cannot_be_rendered_says_why_without_values() {
    insta::assert_snapshot!(error("{{ params.host"), @"`{{ params.host` cannot be read: unexpected end of input, expected end of variable block");
    insta::assert_snapshot!(error("{{ params.host | shout }}"), @"`params.host | shout` cannot be rendered: filter shout is unknown");
    insta::assert_snapshot!(error("{{ params.host() }}"), @"`params.host()` cannot be rendered: value of type string is not callable");
    insta::assert_snapshot!(error("{{ params.host + 1 }}"), @"`params.host + 1` cannot be rendered: tried to use + operator on unsupported types string and number");
    insta::assert_snapshot!(error("{{ range }}"), @"`range` cannot be rendered: a function is not a value; call it");
    insta::assert_snapshot!(error("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"), @"`{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}` cannot be rendered: engine ran out of fuel");
    insta::assert_snapshot!(error("{% include 'other' %}"), @"`{% include 'other' %}` cannot be read: unknown statement include");
}

#[test]
fn an_expression_holds_only_if_it_is_true() {
    assert!(holds("steps.dump.exitCode == 0 and 'rows' in steps.dump.stdout", &scope()).unwrap());
    assert!(!holds("params.port > 6000", &scope()).unwrap());
    insta::assert_snapshot!(holds("params.port", &scope()).unwrap_err(), @"`params.port` gives a number, which is neither true nor false");
    insta::assert_snapshot!(holds("params.hots", &scope()).unwrap_err(), @"`params.hots` has no value");
    insta::assert_snapshot!(holds("", &scope()).unwrap_err(), @"`` cannot be read: unexpected end of input, expected expression");
    insta::assert_snapshot!(evaluate("{{ params.port }}", &scope()).unwrap_err(), @"`{{ params.port }}` cannot be read: unexpected `}`, expected `:`");
}

#[test]
fn references_are_the_free_dotted_paths() {
    let paths =
        |value: Value| -> Vec<String> { references(&value).iter().map(|path| path.join(".")).collect() };
    assert_eq!(
        paths(json!(["{{ steps.backupMode.label }}", {"x": "{{ params.a }}/{{ params.a }}", "y": "none"}])),
        ["steps.backupMode.label", "params.a"]
    );
    assert_eq!(
        paths(json!("{% for each in steps.q.rows %}{{ each.name }}{{ loop.index }}{{ item.x }}{% endfor %}")),
        ["steps.q.rows", "item.x"]
    );
    assert_eq!(paths(json!("{% set x = params.a %}{{ x }}")), ["params.a"]);
    assert_eq!(paths(json!("{{ steps.q.rows[0].name }}")), ["steps.q.rows"]);
    assert_eq!(
        references_of_expression("result.exitCode == params.n"),
        [["result", "exitCode"], ["params", "n"]]
    );
}

#[test]
fn only_a_mere_path_is_one() {
    let path = |text: &str| sole_path(&json!(text)).map(|path| path.join("."));
    assert_eq!(path("{{ params.x }}"), Some("params.x".into()));
    assert_eq!(path("{{ params.x | default(3) }}"), None);
    assert_eq!(path("x{{ params.x }}"), None);
    assert_eq!(sole_path(&json!(3)), None);
}

#[test]
fn an_error_never_holds_a_value_of_the_scope() {
    let mut scope = Scope::new();
    scope.set_path(&["params", "word"], "CANARY");
    for text in [
        "{{ params.word.x.y }}",
        "{{ params.word + 1 }}",
        "{{ params.word | fromjson }}",
        "{{ params.word | int }}",
    ] {
        let error = render(&Template::text(text), &scope).unwrap_err();
        assert!(!format!("{error:?} {error:#} {}", error.chain()).contains("CANARY"), "{error:?}");
    }
}

#[test]
fn an_analysis_knows_what_is_guarded() {
    let guarded = |text: &str| -> Vec<bool> {
        analyse_template(text).references.iter().map(|reference| reference.guarded).collect()
    };
    assert_eq!(guarded("{{ params.x }}"), [false]);
    assert_eq!(guarded("{{ params.x | default('') }}"), [true]);
    assert_eq!(guarded("{{ params.x if params.x is defined else 'y' }}"), [true, true]);
    assert_eq!(guarded("{{ 'y' if params.x is not defined else params.x }}"), [true, true]);
    assert_eq!(guarded("{% if params.x is defined and params.x > 3 %}{{ params.x }}{% endif %}"), [true; 3]);
    assert_eq!(guarded("{% if params.y is defined %}{{ params.x }}{% endif %}"), [true, false]);
}

#[test]
fn an_analysis_finds_what_no_scope_can_make_right() {
    let faults = |text: &str| -> Vec<String> {
        let analysis = analyse_template(text);
        analysis
            .faults
            .iter()
            .map(|fault| {
                format!(
                    "{} | {} | {} | {}",
                    fault.code,
                    fault.message,
                    fault.remedy,
                    &text[fault.span.clone()]
                )
            })
            .collect()
    };
    insta::assert_snapshot!(faults("{{ params.x | uper }}").join("\n"), @"unknown-filter | there is no filter `uper` | Did you mean `upper`? | uper");
    insta::assert_snapshot!(faults("{{ params.x is defind }}").join("\n"), @"unknown-test | there is no test `defind` | Did you mean `defined`? | defind");
    insta::assert_snapshot!(faults("{{ params['x'] }}").join("\n"), @r#"string-subscript | the subscript `["x"]` hides from lint what is used | Write `.x` instead. | 'x'"#);
    insta::assert_snapshot!(faults("{{ params.x.upper() }}").join("\n"), @"unknown-function | there is no method `upper`: values have none | Use the filter: `… | upper`. | .upper()");
    insta::assert_snapshot!(faults("{{ now() }}").join("\n"), @"unknown-function | there is no function `now` | Use one of: range. | now()");
    insta::assert_snapshot!(faults("{{ 'a' if params.x }}").join("\n"), @"if-without-else | there is no value when this `if` does not hold | Add `else` and the value to use then. | params.x");
    insta::assert_snapshot!(faults("{{ params.x | map('uper') }}").join("\n"), @"unknown-filter | there is no filter `uper` | Did you mean `upper`? | 'uper'");
    insta::assert_snapshot!(faults("{{ params.x | selectattr('name', 'defind') }}").join("\n"), @"unknown-test | there is no test `defind` | Did you mean `defined`? | 'defind'");
    insta::assert_snapshot!(faults("hello {{ params. }}").join("\n"), @"invalid-template | unexpected end of variable block, expected identifier or integer | Templates are written `{{ params.name }}`. | }}");
    insta::assert_snapshot!(faults(&format!("{{{{ 1{} }}}}", "+1".repeat(2000))).join("\n"), @"invalid-template | a template has more than 1000 words and signs | Templates are written `{{ params.name }}`. | +");
}

#[test]
fn an_analysis_knows_the_type_as_far_as_it_shows() {
    let gives = |text: &str| analyse_template(text).gives;
    assert_eq!(gives("{{ params.x }}"), Gives::Path(vec!["params".into(), "x".into()]));
    assert_eq!(gives("{{ params.x | int }}"), Gives::Integer);
    assert_eq!(gives("{{ params.x == 1 }}"), Gives::Boolean);
    assert_eq!(gives("a{{ params.x }}"), Gives::Text);
    assert_eq!(gives("{{ params.x + 1 }}"), Gives::Unknown);
}

proptest! {
    #[test]
    fn no_text_makes_rendering_or_analysis_panic(text in "(\\{\\{|\\}\\}|\\{%|%\\}|\\{#|params|\\.|port|if|for|in|set| |\\[|'|\"|[0-9]|\\||-|\\PC){0,24}") {
        let analysis = analyse_template(&text);
        for fault in &analysis.faults {
            prop_assert!(text.get(fault.span.clone()).is_some(), "{fault:?}");
        }
        for reference in &analysis.references {
            prop_assert!(text.get(reference.span.clone()).is_some(), "{reference:?}");
        }
        let _ = render(&Template::text(text.clone()), &scope());
        let _ = holds(&text, &scope());
    }
}
