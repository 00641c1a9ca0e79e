//! Steps, hooks, commands and holds.

use super::*;

#[test]
fn a_step_is_exactly_one_thing_and_has_a_name_of_its_own() {
    insta::assert_snapshot!(changed("snapshot: {volume: data, mode: auto}", "snapshot: {volume: data, mode: auto}\n          exec: {command: [x]}"), @"");
    insta::assert_snapshot!(changed("- name: data\n          snapshot", "- name: backupMode\n          snapshot"), @"");
    insta::assert_snapshot!(changed_own("retry: {attempts: 3,", "retry: {attempts: 0,"), @"");
}

#[test]
fn hooks_and_verbs_are_known() {
    insta::assert_snapshot!(changed("use: postgresql/ready", "use: postgres/ready"), @"");
    insta::assert_snapshot!(changed("use: postgresql/ready", "use: postgresql/redy"), @"");
    insta::assert_snapshot!(changed("use: postgresql/ready", "use: ready"), @"");
    insta::assert_snapshot!(changed("ready: {hook: postgresql/accepting}", "ready: {hook: postgresql/query}"), @"");
    insta::assert_snapshot!(changed("ready: {hook: postgresql/accepting}", "ready: {hook: postgresql/ready}"), @"");
    insta::assert_snapshot!(changed("ready: {hook: postgresql/accepting}", "ready: {}"), @"");
    insta::assert_snapshot!(changed("ready: {hook: postgresql/accepting}", "ready: {hook: postgresql/accepting, command: [x]}"), @"");
}

#[test]
fn a_verb_works_in_its_places() {
    insta::assert_snapshot!(changed("use: postgresql/checkpoint, connection: db", "use: postgresql/checkpoint"), @"");
    insta::assert_snapshot!(changed("use: postgresql/checkpoint, connection: db", "use: postgresql/checkpoint, connection: dx"), @"");
    insta::assert_snapshot!(changed("use: postgresql/checkpoint, connection: db", "use: postgresql/checkpoint, connection: db, volume: data"), @"");
    insta::assert_snapshot!(changed("use: postgresql/scratch-config, volume: scratch", "use: postgresql/scratch-config, volume: scrach"), @"");
    insta::assert_snapshot!(changed("service: pg, with", "service: px, with"), @"");
    insta::assert_snapshot!(changed_own("connection: db, with: {sql: select 1}", "connection: db, hook: sqlite, with: {sql: select 1}"), @"");
    insta::assert_snapshot!(changed_own("connection: db, with: {sql: select 1}", "hook: postgresql, with: {sql: select 1}"), @"");
    insta::assert_snapshot!(changed_own("connection: db, with: {sql: select 1}", "connection: dx, with: {sql: select 1}"), @"");
}

#[test]
fn arguments_are_those_of_the_verb() {
    insta::assert_snapshot!(changed("with: {role: any, covers: [data]}", "with: {rol: any}"), @"");
    insta::assert_snapshot!(changed(", with: {role: any, covers: [data]}", ""), @"");
    insta::assert_snapshot!(changed("with: {role: any, covers: [data]}", "with: {role: primry, covers: data, within: x}"), @"");
    insta::assert_snapshot!(changed_own("with: {sql: select 1}", "with: {sqll: select 1, limit: many}"), @"");
}

#[test]
fn recorded_outputs_are_ones_that_the_step_has() {
    insta::assert_snapshot!(changed("record: [label,", "record: [lable,"), @"");
    insta::assert_snapshot!(changed_own("name: size\n          timeout", "timeout"), @"");
    insta::assert_snapshot!(changed("- exec: {in: services.pg", "- record: [stdout]\n          exec: {in: services.pg"), @"");
}

#[test]
fn commands_have_a_program_and_a_place() {
    insta::assert_snapshot!(changed_own(r#"command: [du, -s, "{{ volumes.data.path }}"],"#, "command: [],"), @"");
    insta::assert_snapshot!(changed("in: services.pg,", "in: service.pg,"), @"");
    insta::assert_snapshot!(changed("in: services.pg,", "in: services.px,"), @"");
    insta::assert_snapshot!(changed("as: volumeOwner, volumes: [scratch],", "as: volumeOwner,"), @"");
    insta::assert_snapshot!(changed("volumes: [scratch], port", "volumes: [scrtch], port"), @"");
    insta::assert_snapshot!(changed("name: pg\n          service", "service"), @"");
}

#[test]
fn an_authors_own_holds_can_be_let_go_and_proven() {
    insta::assert_snapshot!(changed_own("release: [kvctl, RESUME]}", "release: []}"), @"");
    insta::assert_snapshot!(changed_own(r#"confirm: {send: STATE, until: "^paused"},"#, ""), @"");
    insta::assert_snapshot!(changed_own(r#"until: "^OK""#, r#"until: "^(OK""#), @"");
    insta::assert_snapshot!(changed_own(r#"lease: "{{ params.lock }}""#, "lease: 10"), @"");
}

#[test]
fn a_wait_and_a_query_ask_exactly_once() {
    insta::assert_snapshot!(changed_own("wait: {query: {connection: db, with: {sql: select 2}},", "wait: {"), @"");
    insta::assert_snapshot!(changed_own("every: 1s", "every: often"), @"");
}
