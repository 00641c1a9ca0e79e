//! Templates and expressions.

use super::*;

#[test]
fn names_that_nobody_declared_are_told_with_what_was_meant() {
    insta::assert_snapshot!(changed("{path: \"{{ params.dataDir }}\"}\n  programs", "{path: \"{{ params.datadir }}\"}\n  programs"), @"unknown-parameter: there is no parameter `datadir` [params.datadir] Did you mean `dataDir`?");
    insta::assert_snapshot!(changed(r#""{{ programs.postgres }}", -D"#, r#""{{ programs.postgresql }}", -D"#), @"unknown-program: there is no program `postgresql` [programs.postgresql] Did you mean `postgres`?");
    insta::assert_snapshot!(changed("volumes.scratch.path", "volumes.scrtch.path"), @"unknown-volume: there is no volume `scrtch` here [volumes.scrtch.path] Did you mean `scratch`?");
    insta::assert_snapshot!(changed("volumes.scratch.path", "volumes.scratch.pth"), @"unknown-name: a volume has no `pth` [volumes.scratch.pth] Did you mean `path`?");
    insta::assert_snapshot!(changed("services.pg.port", "services.pq.port"), @"unknown-service: `verify` starts no service `pq` [services.pq.port] Use one of: pg.");
    insta::assert_snapshot!(changed("services.pg.port", "services.pg.prot"), @"unknown-name: `services.pg` has no `prot` [services.pg.prot] Did you mean `port`?");
    insta::assert_snapshot!(changed("services.pg.port", "service.pg.port"), @"unknown-name: there is no `service` [service.pg.port] Did you mean `services`?");
    insta::assert_snapshot!(changed("services.pg.port", "services"), @"whole-scope: `services` as a whole is not a value [services] Name one of its values: `services.…`.");
    insta::assert_snapshot!(changed("services.pg.port", "params.port.number"), @"unknown-name: `params.port` has no `number`: it is a single value [params.port.number] Write `params.port`.");
    insta::assert_snapshot!(changed("point.version.major", "point.version.mayor"), @"unknown-name: `point.version` has no `mayor` [point.version.mayor] Did you mean `major`?");
    insta::assert_snapshot!(changed("{{ point.facts }}", "{{ point.fact }}"), @"unknown-name: a recovery point has no `fact` [point.fact] Did you mean `facts`?");
    insta::assert_snapshot!(changed("point.outputs.backupMode.label", "point.outputs.backupmode.label"), @"unknown-step: `backup` records nothing of a step `backupmode` [point.outputs.backupmode.label] Did you mean `backupMode`?");
    insta::assert_snapshot!(changed("point.outputs.backupMode.label", "point.outputs.backupMode.lable"), @"unknown-output: `backup` does not record `lable` of the step `backupMode` [point.outputs.backupMode.lable] Did you mean `label`?");
    insta::assert_snapshot!(changed("point.outputs.backupMode.label", "point.outputs.backupMode.wal"), @"unknown-output: `backup` does not record `wal` of the step `backupMode` [point.outputs.backupMode.wal] Add `wal` to `record` of that step.");
    insta::assert_snapshot!(changed("--heapallindexed,", r#""{{ target.version.minor }}{{ run.dir }}{{ connections.db.password }}{{ connections.dbx.host }}{{ point.artifacts.dta.bytes }}","#), @r"
    unknown-name: `target.version` has no `minor` [target.version.minor] Use one of: major, full.
    unknown-name: `run` has no `dir` [run.dir] Use one of: id, scratchDir.
    secret-in-template: the setting `password` of the connection `db` is a secret, and in no template [connections.db.password] Pass the parameter itself by `env: {NAME: {parameter: …}}`.
    unknown-connection: there is no connection `dbx` [connections.dbx.host] Did you mean `db`?
    unknown-artifact: `backup` stores no artifact `dta` [point.artifacts.dta.bytes] Did you mean `data`?
    ");
    insta::assert_snapshot!(changed_own("{{ item.snapshot }}", "{{ item.snap }}"), @"unknown-name: `item` has no `snap` [item.snap] Use one of: name, snapshot.");
    insta::assert_snapshot!(changed_own("table/{{ item }}", "table/{{ item.name }}"), @"unknown-name: `item` has no `name`: it is a single value [item.name] Write `item`.");
}

#[test]
fn what_the_templates_themselves_say_is_checked() {
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{{ params.dataDir | uper }}", empty"#), @"unknown-filter: there is no filter `uper` [uper] Did you mean `upper`?");
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{{ params.dataDir is defind }}", empty"#), @"unknown-test: there is no test `defind` [defind] Did you mean `defined`?");
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{{ params['dataDir'] }}", empty"#), @r#"string-subscript: the subscript `["dataDir"]` hides from lint what is used ['dataDir'] Write `.dataDir` instead."#);
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{{ params.dataDir", empty"#), @"invalid-template: unexpected end of input, expected end of variable block [dataDir] Templates are written `{{ params.name }}`.");
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{% if params.dataDir %}x", empty"#), @"invalid-template: unexpected end of input, expected end of block [x] Templates are written `{{ params.name }}`.");
    insta::assert_snapshot!(changed(r#""{{ params.dataDir }}", empty"#, r#""{{ today() }}", empty"#), @"unknown-function: there is no function `today` [today()] Use one of: range.");
    insta::assert_snapshot!(changed_own("was {{ steps.size.stdout | trim }}", "was {{ steps.size.stdout | tirm }}"), @"unknown-filter: there is no filter `tirm` [tirm] Did you mean `trim`?");
    insta::assert_snapshot!(changed_own("{% if steps.size is defined -%}\n                  was {{ steps.size.stdout | trim }}\n                {%- endif %}", "was {{ steps.size.stdout }}"), @"warning unguarded-in-cleanup: `cleanup` also runs when `size` was not done, and fails then [steps.size.stdout] Put it inside `{% if steps.size is defined %} … {% endif %}`.");
}

#[test]
fn types_are_those_that_are_needed() {
    insta::assert_snapshot!(changed(r#"{facts: "{{ point.facts }}"}"#, r#"{facts: "{{ params.port }}"}"#), @r#"wrong-type: this is a whole number, and a list is needed ["{{ params.port }}"] Use a template that gives a list."#);
    insta::assert_snapshot!(changed("role: any, covers: [data]", r#"role: "{{ params.host }}", covers: "{{ params.port }}""#), @r#"wrong-type: this is a whole number, and a list is needed ["{{ params.port }}"] Use a template that gives a list."#);
    insta::assert_snapshot!(changed("port: 5432, listen", r#"port: "{{ params.host }}", listen"#), @r#"wrong-type: this gives text, and a whole number is needed ["{{ params.host }}"] Use something that gives a whole number."#);
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, r#"maxHold: "{{ params.port }}""#), @r#"wrong-type: this gives a whole number, and a duration is needed ["{{ params.port }}"] Use something that gives a duration."#);
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, "maxHold: forever"), @"invalid-duration: `forever` is not a duration [forever] Write a number and a unit, such as 500ms, 10s, 5m or 1h30m.");
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, "maxHold: 60"), @"invalid-duration: a duration needs a unit [60] Write for example 10s or 5m.");
    insta::assert_snapshot!(changed("--heapallindexed,", r#""{{ point.facts }}", "x{{ point.facts }}", "{{ params.port == 1 }}","#), @r#"
    wrong-type: this gives a list, and text is needed ["{{ point.facts }}"] Use something that gives text.
    wrong-type: a list cannot stand in a text [point.facts] Name one value of it, or use the filter `join` or `tojson`.
    "#);
    insta::assert_snapshot!(changed_own(r#"forEach: "{{ params.tables }}""#, r#"forEach: "{{ params.dataDir }}""#), @r#"wrong-type: this gives text, and a list is needed ["{{ params.dataDir }}"] Use something that gives a list."#);
    insta::assert_snapshot!(changed_own(r#"lease: "{{ params.lock }}""#, r#"lease: "{{ params.tables }}""#), @r#"wrong-type: this gives a list, and a duration is needed ["{{ params.tables }}"] Use something that gives a duration."#);
    insta::assert_snapshot!(changed_own("that: point.version.major >= 14", "that: point.version.major"), @"wrong-type: this gives a whole number, and true or false is needed [point.version.major] Write a comparison, such as `result.exitCode == 0`.");
    insta::assert_snapshot!(changed_own("that: point.version.major >= 14", r#"that: "{{ point.version.major >= 14 }}""#), @"invalid-expression: this is an expression, and needs no braces [{{ point.version.major >= 14 }}] Remove `{{` and `}}`.");
    insta::assert_snapshot!(changed_own("expect: result.exitCode == 0", "expect: exitCode == 0"), @"unknown-name: there is no `exitCode` [exitCode] Use one of: params, point, target, run, connections, volumes, captures, steps, services, programs, result.");
    insta::assert_snapshot!(changed_own("expect: result.exitCode == 0", "expect: result.code == 0"), @"unknown-name: `result` has no `code` [result.code] Use one of: exitCode, stdout, stderr.");
    insta::assert_snapshot!(changed_own("expect: result.value == 1", "expect: result.stdout == 1"), @"unknown-name: `result` has no `stdout` [result.stdout] Use one of: rows, value.");
}

#[test]
fn expressions_are_the_same_language() {
    insta::assert_snapshot!(changed_own("that: point.version.major >= 14", "that: point.version.major > "), @"invalid-expression: unexpected end of input, expected expression [>] Expressions are written without braces, such as `result.exitCode == 0`.");
    insta::assert_snapshot!(changed_own("that: point.version.major >= 14", "that: params.token == 'x'"), @"secret-in-template: the secret parameter `token` is in no template [params.token] Pass it by `env: {NAME: {parameter: token}}`, or as a secret setting of a connection.");
    insta::assert_snapshot!(changed_own(r#""'paused' in result.stdout""#, r#""params.dataDir in result.stdout""#), @"not-yet-known: `params` is not known yet where this is rendered [params.dataDir] Only `result` is known here.");
}

#[test]
fn an_optional_parameter_is_used_only_where_leaving_out_is_possible() {
    insta::assert_snapshot!(changed_own("[kvctl, LOAD,", r#"["{{ params.level }}", LOAD,"#), @"optional-without-value: `params.level` may have no value here [params.level] Give the parameter a default, or write `… if params.level is defined else …` or `params.level | default(…)`.");
    insta::assert_snapshot!(changed_own("[kvctl, LOAD,", r#"["{{ params.level | default(3) }}", "{{ params.level if params.level is defined else 3 }}","#), @"");
    insta::assert_snapshot!(changed_own(r#"LEVEL: "{{ params.level }}""#, r#"LEVEL: "x{{ params.level }}""#), @"optional-without-value: `params.level` may have no value here [params.level] Give the parameter a default, or write `… if params.level is defined else …` or `params.level | default(…)`.");
    insta::assert_snapshot!(changed_own("port: 5432, user: kv", r#"port: "{{ params.level }}", user: "{{ params.level }}""#), @r#"
    wrong-type: this is a whole number, and text is needed ["{{ params.level }}"] Use a template that gives text.
    optional-without-value: `params.level` may have no value here [params.level] Give the parameter a default, or write `… if params.level is defined else …` or `params.level | default(…)`.
    "#);
    insta::assert_snapshot!(changed_own("with: {sql: select 1}", r#"with: {sql: select 1, limit: "{{ params.level }}"}"#), @"");
}

#[test]
fn nothing_is_known_where_nothing_can_be_known_yet() {
    insta::assert_snapshot!(changed(r#"host: "{{ params.host }}", port"#, r#"host: "{{ volumes.data.path }}", port"#), @"not-yet-known: `volumes` is not known yet where this is rendered [volumes.data.path] Known here: params.");
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, r#"maxHold: "{{ steps.backupMode.startLsn }}""#), @"not-yet-known: `steps` is not known yet where this is rendered [steps.backupMode.startLsn] Known here: params, point.");
    insta::assert_snapshot!(changed(r#""/usr/lib/postgresql/{{ point.version.major }}/bin""#, r#""{{ programs.pg_amcheck }}""#), @"not-yet-known: `programs` is not known yet where this is rendered [programs.pg_amcheck] Known here: params, point, target, run, connections, volumes.");
    insta::assert_snapshot!(changed_own("timeout: 30s", r#"timeout: "{{ steps.size.stdout }}""#), @"not-yet-known: `steps` is not known yet where this is rendered [steps.size.stdout] Known here: params, point.");
}
