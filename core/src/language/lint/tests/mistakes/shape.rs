//! Documents of the wrong shape.

use super::*;

#[test]
fn a_mistake_is_shown_with_its_line_underlined_and_a_remedy() {
    insta::assert_snapshot!(linted(&with(POSTGRESQL, r#"params.host }}""#, r#"params.hots }}""#)), @r#"
    b.yaml:15:38: error[unknown-parameter]: there is no parameter `hots`
       |
    15 |     db: {hook: postgresql, host: "{{ params.hots }}", port: "{{ params.port }}", user: "{{ params.user }}", password: {parameter: password}}
       |                                      ^^^^^^^^^^^
    help: Did you mean `host`?
    "#);
    insta::assert_snapshot!(linted(&with(POSTGRESQL, "use: postgresql/backup-mode", "use: postgresql/backup-mod")), @r"
    b.yaml:30:23: error[unknown-verb]: the hook `postgresql` has no verb `backup-mod`
       |
    30 |           hook: {use: postgresql/backup-mod, connection: db}
       |                       ^^^^^^^^^^^^^^^^^^^^^
    help: Did you mean `backup-mode`?
    ");
}

#[test]
fn keys_and_values_of_the_wrong_shape_are_told_together_with_what_they_mean() {
    insta::assert_snapshot!(changed("spec:\n", "sepc:\n"), @"unknown-key: there is no key `sepc` here [sepc] Did you mean `spec`?");
    insta::assert_snapshot!(changed("apiVersion: standstill.dev/v1alpha1", "apiVersion: standstill.dev/v2"), @"wrong-value: `standstill.dev/v2` is not possible here [standstill.dev/v2] Use one of: standstill.dev/v1alpha1.");
    insta::assert_snapshot!(changed("kind: Blueprint", "kind: Blueprints"), @"wrong-value: `Blueprints` is not possible here [Blueprints] Did you mean `Blueprint`?");
    insta::assert_snapshot!(changed("  name: postgresql\n", "\n"), @"wrong-type: there is nothing here, and a map is needed [metadata] Give a value, or remove the key.");
    insta::assert_snapshot!(changed("{type: string, default: localhost}", "{type: strng, default: localhost}"), @"wrong-value: `strng` is not possible here [strng] Did you mean `string`?");
    insta::assert_snapshot!(changed("{type: string, default: localhost}", "{default: localhost}"), @"missing-key: the key `type` is missing [host] Add `type`: its type.");
    insta::assert_snapshot!(changed("{hook: postgresql,", "{hok: postgresql,"), @"missing-key: the key `hook` is missing [db] Add `hook`: the hook.");
    insta::assert_snapshot!(changed("volume: data, mode: auto", "volume: data, mode: atomically"), @"wrong-value: `atomically` is not possible here [atomically] Use one of: atomic, live, copy, auto.");
    insta::assert_snapshot!(changed("          record: [label,", "\n          recrod: [label,"), @"unknown-key: there is no key `recrod` here [recrod] Did you mean `record`?");
    insta::assert_snapshot!(changed("summary: PostgreSQL 14 and later", "summary: 14 #"), @"wrong-type: this is a number, and text is needed [14] Put it in quotes.");
    insta::assert_snapshot!(changed("optional: true", "optional: yes"), @"wrong-type: this is text, and true or false is needed [yes] Write true or false.");
    insta::assert_snapshot!(changed("volumes: [scratch], port", "volumes: scratch, port"), @"wrong-type: this is text, and a list is needed [scratch] Write a list.");
    insta::assert_snapshot!(changed("exclude: [postmaster.pid,", "exclude: [5,"), @"wrong-type: this is a number, and text is needed [5] Put it in quotes.");
    insta::assert_snapshot!(changed("port: 5432, listen", "port: 5_432, listen"), @"wrong-type: this gives text, and a whole number is needed [5_432] Use something that gives a whole number.");
    insta::assert_snapshot!(changed("stop: {signal: INT,", "stop: {signal: KILL,"), @"wrong-value: `KILL` is not possible here [KILL] Use one of: TERM, INT, QUIT.");
    insta::assert_snapshot!(changed_own("-Fc, -Z0", "1.10, 0x10"), @r"
    ambiguous-number: `1.10` is read as the number 1.1 [1.10] Put it in quotes if it is text, or write it plainly.
    ambiguous-number: `0x10` is read as the number 16 [0x10] Put it in quotes if it is text, or write it plainly.
    ");
}

#[test]
fn one_wrong_thing_does_not_hide_another() {
    insta::assert_snapshot!(changed("{type: path, summary: the server's data directory as the server sees it}", "{typ: path}\n    other: {type: integer, default: no}\n    third: {type: integer, default: \"{{ params.gone }}\"}"), @r#"
    unknown-key: there is no key `typ` here [typ] Did you mean `type`?
    wrong-type: this is text, and a whole number is needed [no] Write a whole number.
    wrong-type: this is text, and a whole number is needed ["{{ params.gone }}"] Write a whole number.
    "#);
    insta::assert_snapshot!(changed("- hook: {use: postgresql/checkpoint, connection: db}", "- hok: {use: postgresql/checkpoint, connection: db}"), @"unknown-key: there is no key `hok` here [hok] Did you mean `hook`?");
    insta::assert_snapshot!(changed("- hook: {use: postgresql/checkpoint, connection: db}", "- {}"), @"step-without-kind: it is not said what this step does [{] Add one of: hook, exec, pod, pair, session, service, snapshot, volume, files, stream, query, check, wait, scale, kube, action.");
    insta::assert_snapshot!(changed("- hook: {use: postgresql/checkpoint, connection: db}", "- hook: {connection: db}"), @"missing-key: the key `use` is missing [hook] Add `use`: the verb: `HOOK/VERB`.");
}

#[test]
fn a_template_where_none_is_rendered_is_told() {
    insta::assert_snapshot!(changed("summary: PostgreSQL 14 and later", r#"summary: "{{ params.host }}" #"#), @r#"template-not-rendered: templates are not rendered here ["{{ params.host }}"] Write the value itself."#);
    insta::assert_snapshot!(changed("artifact: wal}", r#"artifact: "{{ params.host }}"}"#), @r#"template-not-rendered: templates are not rendered here ["{{ params.host }}"] Write the value itself."#);
    insta::assert_snapshot!(changed("exclude: [postmaster.pid,", r#"exclude: ["{{ params.user }}","#), @r#"template-not-rendered: templates are not rendered here ["{{ params.user }}"] Write the value itself."#);
}
