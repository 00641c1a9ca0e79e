//! Templates and expressions.

use super::*;

#[test]
fn names_that_nobody_declared_are_told_with_what_was_meant() {
    insta::assert_snapshot!(changed("{path: \"{{ params.dataDir }}\"}\n  programs", "{path: \"{{ params.datadir }}\"}\n  programs"), @"");
    insta::assert_snapshot!(changed(r#""{{ programs.postgres }}", -D"#, r#""{{ programs.postgresql }}", -D"#), @"");
    insta::assert_snapshot!(changed("volumes.scratch.path", "volumes.scrtch.path"), @"");
    insta::assert_snapshot!(changed("volumes.scratch.path", "volumes.scratch.pth"), @"");
    insta::assert_snapshot!(changed("services.pg.port", "services.pq.port"), @"");
    insta::assert_snapshot!(changed("services.pg.port", "services.pg.prot"), @"");
    insta::assert_snapshot!(changed("services.pg.port", "service.pg.port"), @"");
    insta::assert_snapshot!(changed("services.pg.port", "services"), @"");
    insta::assert_snapshot!(changed("services.pg.port", "params.port.number"), @"");
    insta::assert_snapshot!(changed("point.version.major", "point.version.mayor"), @"");
    insta::assert_snapshot!(changed("{{ point.facts }}", "{{ point.fact }}"), @"");
    insta::assert_snapshot!(changed("point.outputs.backupMode.label", "point.outputs.backupmode.label"), @"");
    insta::assert_snapshot!(changed("point.outputs.backupMode.label", "point.outputs.backupMode.lable"), @"");
    insta::assert_snapshot!(changed("point.outputs.backupMode.label", "point.outputs.backupMode.wal"), @"");
    insta::assert_snapshot!(changed("--heapallindexed,", r#""{{ target.version.minor }}{{ run.dir }}{{ connections.db.password }}{{ connections.dbx.host }}{{ point.artifacts.dta.bytes }}","#), @"");
    insta::assert_snapshot!(changed_own("{{ item.snapshot }}", "{{ item.snap }}"), @"");
    insta::assert_snapshot!(changed_own("table/{{ item }}", "table/{{ item.name }}"), @"");
}

#[test]
fn what_the_templates_themselves_say_is_checked() {
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{{ params.dataDir | uper }}", empty"#), @"");
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{{ params.dataDir is defind }}", empty"#), @"");
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{{ params['dataDir'] }}", empty"#), @"");
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{{ params.dataDir", empty"#), @"");
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{% if params.dataDir %}x", empty"#), @"");
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{{ today() }}", empty"#), @"");
    insta::assert_snapshot!(changed_own("was {{ steps.size.stdout | trim }}", "was {{ steps.size.stdout | tirm }}"), @"");
    insta::assert_snapshot!(changed_own("{% if steps.size is defined -%}\n                  was {{ steps.size.stdout | trim }}\n                {%- endif %}", "was {{ steps.size.stdout }}"), @"");
}

#[test]
fn types_are_those_that_are_needed() {
    insta::assert_snapshot!(changed(r#"{facts: "{{ point.facts }}"}"#, r#"{facts: "{{ params.port }}"}"#), @"");
    insta::assert_snapshot!(changed("role: any, covers: [data]", r#"role: "{{ params.host }}", covers: "{{ params.port }}""#), @"");
    insta::assert_snapshot!(changed("port: 5432, listen", r#"port: "{{ params.host }}", listen"#), @"");
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, r#"maxHold: "{{ params.port }}""#), @"");
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, "maxHold: forever"), @"");
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, "maxHold: 60"), @"");
    insta::assert_snapshot!(changed("--heapallindexed,", r#""{{ point.facts }}", "x{{ point.facts }}", "{{ params.port == 1 }}","#), @"");
    insta::assert_snapshot!(changed_own(r#"forEach: "{{ params.tables }}""#, r#"forEach: "{{ params.dataDir }}""#), @"");
    insta::assert_snapshot!(changed_own(r#"lease: "{{ params.lock }}""#, r#"lease: "{{ params.tables }}""#), @"");
    insta::assert_snapshot!(changed_own("that: point.version.major >= 14", "that: point.version.major"), @"");
    insta::assert_snapshot!(changed_own("that: point.version.major >= 14", r#"that: "{{ point.version.major >= 14 }}""#), @"");
    insta::assert_snapshot!(changed_own("expect: result.exitCode == 0", "expect: exitCode == 0"), @"");
    insta::assert_snapshot!(changed_own("expect: result.exitCode == 0", "expect: result.code == 0"), @"");
    insta::assert_snapshot!(changed_own("expect: result.value == 1", "expect: result.stdout == 1"), @"");
}

#[test]
fn expressions_are_the_same_language() {
    insta::assert_snapshot!(changed_own("that: point.version.major >= 14", "that: point.version.major > "), @"");
    insta::assert_snapshot!(changed_own("that: point.version.major >= 14", "that: params.token == 'x'"), @"");
    insta::assert_snapshot!(changed_own(r#""'paused' in result.stdout""#, r#""params.dataDir in result.stdout""#), @"");
}

#[test]
fn an_optional_parameter_is_used_only_where_leaving_out_is_possible() {
    insta::assert_snapshot!(changed_own("[kvctl, LOAD,", r#"["{{ params.level }}", LOAD,"#), @"");
    insta::assert_snapshot!(changed_own("[kvctl, LOAD,", r#"["{{ params.level | default(3) }}", "{{ params.level if params.level is defined else 3 }}","#), @"");
    insta::assert_snapshot!(changed_own(r#"LEVEL: "{{ params.level }}""#, r#"LEVEL: "x{{ params.level }}""#), @"");
    insta::assert_snapshot!(changed_own("port: 5432, user: kv", r#"port: "{{ params.level }}", user: "{{ params.level }}""#), @"");
    insta::assert_snapshot!(changed_own("with: {sql: select 1}", r#"with: {sql: select 1, limit: "{{ params.level }}"}"#), @"");
}

#[test]
fn nothing_is_known_where_nothing_can_be_known_yet() {
    insta::assert_snapshot!(changed(r#"host: "{{ params.host }}", port"#, r#"host: "{{ volumes.data.path }}", port"#), @"");
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, r#"maxHold: "{{ steps.backupMode.startLsn }}""#), @"");
    insta::assert_snapshot!(changed(r#""/usr/lib/postgresql/{{ point.version.major }}/bin""#, r#""{{ programs.pg_amcheck }}""#), @"");
    insta::assert_snapshot!(changed_own("timeout: 30s", r#"timeout: "{{ steps.size.stdout }}""#), @"");
}
