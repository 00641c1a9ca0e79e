//! Names, parameters, connections, secrets.

use super::*;

#[test]
fn names_are_ones_that_templates_can_say() {
    insta::assert_snapshot!(changed("name: postgresql\n", "name: Postgre SQL\n"), @"");
    insta::assert_snapshot!(changed("    host:      {type: string", "\n    data-host: {type: string, default: x, optional: false}\n    host:      {type: string"), @"");
    insta::assert_snapshot!(changed("pg_amcheck: {}", "pg_amcheck: {}\n    pg-check: {}"), @"");
    insta::assert_snapshot!(changed("name: backupMode", "name: backup-mode"), @"");
}

#[test]
fn parameters_have_defaults_and_choices_of_their_type() {
    insta::assert_snapshot!(changed("default: 5432", r#"default: "5432""#), @"");
    insta::assert_snapshot!(changed("default: localhost", "default: 5"), @"");
    insta::assert_snapshot!(changed("default: 6h", "default: six hours"), @"");
    insta::assert_snapshot!(changed("default: 6h", "default: 6"), @"");
    insta::assert_snapshot!(changed("default: localhost", r#"default: "{{ params.user }}""#), @"");
    insta::assert_snapshot!(changed("{type: secret, optional: true}", "{type: secret, default: hunter2}"), @"");
    insta::assert_snapshot!(changed_own("choices: [10s, 20s]", "choices: [5s, 20]"), @"");
    insta::assert_snapshot!(changed_own("default: [one, two]", "default: [one, 2]"), @"");
    insta::assert_snapshot!(changed_own("{type: integer, optional: true}", "{type: integer, optional: true, default: 3}"), @"");
}

#[test]
fn connections_have_their_hook_and_its_settings() {
    insta::assert_snapshot!(changed("{hook: postgresql,", "{hook: postgres,"), @"");
    insta::assert_snapshot!(changed("{hook: postgresql,", "{hook: sqlite,"), @"");
    insta::assert_snapshot!(changed(r#"host: "{{ params.host }}", port"#, r#"hots: "{{ params.host }}", port"#), @"");
    insta::assert_snapshot!(changed(r#"host: "{{ params.host }}", port"#, "port"), @"");
    insta::assert_snapshot!(changed(r#"port: "{{ params.port }}""#, r#"port: "{{ params.host }}""#), @"");
    insta::assert_snapshot!(changed(r#"port: "{{ params.port }}""#, "port: five"), @"");
}

#[test]
fn secrets_are_given_as_secrets_and_nothing_else_is() {
    insta::assert_snapshot!(changed("password: {parameter: password}", "password: hunter2"), @"");
    insta::assert_snapshot!(changed("password: {parameter: password}", r#"password: "{{ params.password }}""#), @"");
    insta::assert_snapshot!(changed("password: {parameter: password}", "password: {parameter: pasword}"), @"");
    insta::assert_snapshot!(changed("password: {parameter: password}", "password: {parameter: user}"), @"");
    insta::assert_snapshot!(changed(r#"user: "{{ params.user }}""#, "user: {parameter: password}"), @"");
    insta::assert_snapshot!(changed(r#"user: "{{ params.user }}""#, r#"user: "{{ params.password }}""#), @"");
    insta::assert_snapshot!(changed_own("{TOKEN: {parameter: token}", "{TOKEN: {parameter: dataDir}"), @"");
    insta::assert_snapshot!(changed_own("{TOKEN: {parameter: token}", r#"{TOKEN: "{{ params.token }}""#), @"");
    insta::assert_snapshot!(changed_own("{TOKEN: {parameter: token}", "{1TOKEN: {parameter: token}"), @"");
}

#[test]
fn what_is_never_used_is_a_warning() {
    insta::assert_snapshot!(changed("pg_amcheck: {}", "pg_amcheck: {}\n    other: {}"), @"");
    insta::assert_snapshot!(changed(r#"data: {path: "{{ params.dataDir }}"}"#, "data: {path: \"{{ params.dataDir }}\"}\n    more: {path: /more}"), @"");
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, "maxHold: 1h"), @"");
    insta::assert_snapshot!(changed("db: {hook", "d1: {hook: postgresql, host: a, user: b}\n    db: {hook"), @"");
}
