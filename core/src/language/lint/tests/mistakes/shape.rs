//! Documents of the wrong shape.

use super::*;

#[test]
fn a_mistake_is_shown_with_its_line_underlined_and_a_remedy() {
    insta::assert_snapshot!(linted(&with(POSTGRESQL, r#"params.host }}""#, r#"params.hots }}""#)), @"");
    insta::assert_snapshot!(linted(&with(POSTGRESQL, "use: postgresql/backup-mode", "use: postgresql/backup-mod")), @"");
}

#[test]
fn keys_and_values_of_the_wrong_shape_are_told_together_with_what_they_mean() {
    insta::assert_snapshot!(changed("spec:\n", "sepc:\n"), @"");
    insta::assert_snapshot!(changed("apiVersion: standstill.dev/v1alpha1", "apiVersion: standstill.dev/v2"), @"");
    insta::assert_snapshot!(changed("kind: Blueprint", "kind: Blueprints"), @"");
    insta::assert_snapshot!(changed("  name: postgresql\n", "\n"), @"");
    insta::assert_snapshot!(changed("{type: string, default: localhost}", "{type: strng, default: localhost}"), @"");
    insta::assert_snapshot!(changed("{type: string, default: localhost}", "{default: localhost}"), @"");
    insta::assert_snapshot!(changed("{hook: postgresql,", "{hok: postgresql,"), @"");
    insta::assert_snapshot!(changed("volume: data, mode: auto", "volume: data, mode: atomically"), @"");
    insta::assert_snapshot!(changed("          record: [label,", "\n          recrod: [label,"), @"");
    insta::assert_snapshot!(changed("summary: PostgreSQL 14 and later", "summary: 14 #"), @"");
    insta::assert_snapshot!(changed("optional: true", "optional: yes"), @"");
    insta::assert_snapshot!(changed("volumes: [scratch], port", "volumes: scratch, port"), @"");
    insta::assert_snapshot!(changed("exclude: [postmaster.pid,", "exclude: [5,"), @"");
    insta::assert_snapshot!(changed("port: 5432, listen", "port: 5_432, listen"), @"");
    insta::assert_snapshot!(changed("stop: {signal: INT,", "stop: {signal: KILL,"), @"");
    insta::assert_snapshot!(changed_own("-Fc, -Z0", "1.10, 0x10"), @"");
}

#[test]
fn one_wrong_thing_does_not_hide_another() {
    insta::assert_snapshot!(changed("{type: path, summary: the server's data directory as the server sees it}", "{typ: path}\n    other: {type: integer, default: no}\n    third: {type: integer, default: \"{{ params.gone }}\"}"), @"");
    insta::assert_snapshot!(changed("- hook: {use: postgresql/checkpoint, connection: db}", "- hok: {use: postgresql/checkpoint, connection: db}"), @"");
    insta::assert_snapshot!(changed("- hook: {use: postgresql/checkpoint, connection: db}", "- {}"), @"");
    insta::assert_snapshot!(changed("- hook: {use: postgresql/checkpoint, connection: db}", "- hook: {connection: db}"), @"");
}

#[test]
fn a_template_where_none_is_rendered_is_told() {
    insta::assert_snapshot!(changed("summary: PostgreSQL 14 and later", r#"summary: "{{ params.host }}" #"#), @"");
    insta::assert_snapshot!(changed("artifact: wal}", r#"artifact: "{{ params.host }}"}"#), @"");
    insta::assert_snapshot!(changed("exclude: [postmaster.pid,", r#"exclude: ["{{ params.user }}","#), @"");
}
