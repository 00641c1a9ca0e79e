//! Names, parameters, connections, secrets.

use super::*;

#[test]
fn names_are_ones_that_templates_can_say() {
    insta::assert_snapshot!(changed("name: postgresql\n", "name: Postgre SQL\n"), @"invalid-name: `Postgre SQL` is not a name for a blueprint [Postgre SQL] Use lower-case letters, digits and hyphens, with a letter first; at most 63.");
    insta::assert_snapshot!(changed("    host:      {type: string", "\n    data-host: {type: string, default: x, optional: false}\n    host:      {type: string"), @"invalid-name: `data-host` is not a name for a parameter [data-host] Use a lower-case letter first, then letters, digits and underscores.");
    insta::assert_snapshot!(changed("pg_amcheck: {}", "pg_amcheck: {}\n    pg-check: {}"), @"invalid-name: `pg-check` is not a name for a program [pg-check] Use a lower-case letter first, then letters, digits and underscores.");
    insta::assert_snapshot!(changed("name: backupMode", "name: backup-mode"), @r"
    invalid-name: `backup-mode` is not a name for a step [name] Use a lower-case letter first, then letters, digits and underscores.
    unknown-step: `backup` has no step `backupMode` [steps.backupMode.wal] Did you mean `backup-mode`?
    unknown-step: `backup` records nothing of a step `backupMode` [point.outputs.backupMode.label] Did you mean `backup-mode`?
    unknown-step: `backup` records nothing of a step `backupMode` [point.outputs.backupMode.tablespaceMap] Did you mean `backup-mode`?
    ");
}

#[test]
fn parameters_have_defaults_and_choices_of_their_type() {
    insta::assert_snapshot!(changed("default: 5432", r#"default: "5432""#), @r#"wrong-type: this is text, and a whole number is needed ["5432"] Write a whole number."#);
    insta::assert_snapshot!(changed("default: localhost", "default: 5"), @"wrong-type: this is a number, and text is needed [5] Put it in quotes.");
    insta::assert_snapshot!(changed("default: 6h", "default: six hours"), @"invalid-duration: `six hours` is not a duration [six hours] Write a number and a unit, such as 500ms, 10s, 5m or 1h30m.");
    insta::assert_snapshot!(changed("default: 6h", "default: 6"), @"wrong-type: this is a number, and a duration such as 10s is needed [6] Write a duration such as 10s.");
    insta::assert_snapshot!(changed("default: localhost", r#"default: "{{ params.user }}""#), @r#"template-not-rendered: templates are not rendered here ["{{ params.user }}"] Write the value itself."#);
    insta::assert_snapshot!(changed("{type: secret, optional: true}", "{type: secret, default: hunter2}"), @"secret-default: a secret cannot have a default: everyone who reads the blueprint would know it [default] Remove the default; add `optional: true` if it may be left out.");
    insta::assert_snapshot!(changed_own("choices: [10s, 20s]", "choices: [5s, 20]"), @r"
    wrong-value: the default is not one of the choices [10s] Use one of the choices as the default.
    wrong-type: this is a number, and a duration such as 10s is needed [20] Write a duration such as 10s.
    ");
    insta::assert_snapshot!(changed_own("default: [one, two]", "default: [one, 2]"), @"wrong-type: this is a number, and text is needed [2] Put it in quotes.");
    insta::assert_snapshot!(changed_own("{type: integer, optional: true}", "{type: integer, optional: true, default: 3}"), @"warning optional-with-default: the parameter `level` has a default, so it is optional anyway [optional] Remove `optional`.");
}

#[test]
fn connections_have_their_hook_and_its_settings() {
    insta::assert_snapshot!(changed("{hook: postgresql,", "{hook: postgres,"), @"unknown-hook: there is no hook `postgres` [postgres] Did you mean `postgresql`?");
    insta::assert_snapshot!(changed("{hook: postgresql,", "{hook: sqlite,"), @"no-connections: the hook `sqlite` has no connections: it works on files [sqlite] Remove this; name a `volume` in its steps.");
    insta::assert_snapshot!(changed(r#"host: "{{ params.host }}", port"#, r#"hots: "{{ params.host }}", port"#), @"unknown-key: there is no key `hots` here [hots] Did you mean `host`?");
    insta::assert_snapshot!(changed(r#"host: "{{ params.host }}", port"#, "port"), @"missing-key: the key `host` is missing [db] Add `host`.");
    insta::assert_snapshot!(changed(r#"port: "{{ params.port }}""#, r#"port: "{{ params.host }}""#), @r#"wrong-type: this is text, and a whole number is needed ["{{ params.host }}"] Use a template that gives a whole number."#);
    insta::assert_snapshot!(changed(r#"port: "{{ params.port }}""#, "port: five"), @"wrong-type: this is text, and a whole number is needed [five] Write a whole number.");
}

#[test]
fn secrets_are_given_as_secrets_and_nothing_else_is() {
    insta::assert_snapshot!(changed("password: {parameter: password}", "password: hunter2"), @"secret-in-plain-text: the setting `password` is a secret [hunter2] Write `{parameter: NAME}`, with a parameter of the type `secret`.");
    insta::assert_snapshot!(changed("password: {parameter: password}", r#"password: "{{ params.password }}""#), @r#"secret-in-plain-text: the setting `password` is a secret ["{{ params.password }}"] Write `{parameter: NAME}`, with a parameter of the type `secret`."#);
    insta::assert_snapshot!(changed("password: {parameter: password}", "password: {parameter: pasword}"), @"unknown-parameter: there is no parameter `pasword` [pasword] Did you mean `password`?");
    insta::assert_snapshot!(changed("password: {parameter: password}", "password: {parameter: user}"), @"not-a-secret: the parameter `user` is not a secret [user] Write `{{ params.user }}` instead of `{parameter: user}`, or give it the type `secret`.");
    insta::assert_snapshot!(changed(r#"user: "{{ params.user }}""#, "user: {parameter: password}"), @"wrong-type: this is a map, and text is needed [user] Write text.");
    insta::assert_snapshot!(changed(r#"user: "{{ params.user }}""#, r#"user: "{{ params.password }}""#), @"secret-in-template: the secret parameter `password` is in no template [params.password] Pass it by `env: {NAME: {parameter: password}}`, or as a secret setting of a connection.");
    insta::assert_snapshot!(changed_own("{TOKEN: {parameter: token}", "{TOKEN: {parameter: dataDir}"), @"not-a-secret: the parameter `dataDir` is not a secret [dataDir] Write `{{ params.dataDir }}` instead of `{parameter: dataDir}`, or give it the type `secret`.");
    insta::assert_snapshot!(changed_own("{TOKEN: {parameter: token}", r#"{TOKEN: "{{ params.token }}""#), @"secret-in-template: the secret parameter `token` is in no template [params.token] Pass it by `env: {NAME: {parameter: token}}`, or as a secret setting of a connection.");
    insta::assert_snapshot!(changed_own("{TOKEN: {parameter: token}", "{1TOKEN: {parameter: token}"), @"invalid-name: `1TOKEN` is not a name for an environment variable [1TOKEN] Use letters, digits and underscores, with no digit first.");
}

#[test]
fn what_is_never_used_is_a_warning() {
    insta::assert_snapshot!(changed("pg_amcheck: {}", "pg_amcheck: {}\n    other: {}"), @"warning unused: the program `other` is never used [other] Use it or remove it.");
    insta::assert_snapshot!(changed(r#"data: {path: "{{ params.dataDir }}"}"#, "data: {path: \"{{ params.dataDir }}\"}\n    more: {path: /more}"), @"warning unused: the volume `more` is never used [more] Use it or remove it.");
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, "maxHold: 1h"), @"warning unused: the parameter `maxHold` is never used [maxHold] Use it or remove it.");
    insta::assert_snapshot!(changed("db: {hook", "d1: {hook: postgresql, host: a, user: b}\n    db: {hook"), @"warning unused: the connection `d1` is never used [d1] Use it or remove it.");
}
