//! Steps, hooks, commands and holds.

use super::*;

#[test]
fn a_step_is_exactly_one_thing_and_has_a_name_of_its_own() {
    insta::assert_snapshot!(changed("snapshot: {volume: data, mode: auto}", "snapshot: {volume: data, mode: auto}\n          exec: {command: [x]}"), @"step-with-several-kinds: this step already has `exec` [snapshot] Make `snapshot` a step of its own.");
    insta::assert_snapshot!(changed("- name: data\n          snapshot", "- name: backupMode\n          snapshot"), @r"
    duplicate-step: there is already a step `backupMode` in `backup`, on line 29 [backupMode] Give one of the two another name.
    warning capture-not-stored: the capture `backupMode` is never stored [snapshot] Add `volume: {from: captures.backupMode, artifact: backupMode}` to `store`.
    unknown-capture: `backup` captures no `data` [captures.data] Use one of: backupMode.
    ");
    insta::assert_snapshot!(changed_own("retry: {attempts: 3,", "retry: {attempts: 0,"), @"wrong-value: a step that is tried no times is never done [0] Write 1 or more.");
}

#[test]
fn a_service_is_of_the_targets_image_and_of_no_other() {
    insta::assert_snapshot!(changed("image: target", "image: postgres:16"), @"wrong-value: `postgres:16` is not possible here [postgres:16] Use one of: target.");
}

#[test]
fn hooks_and_verbs_are_known() {
    insta::assert_snapshot!(changed("use: postgresql/ready", "use: postgres/ready"), @"unknown-hook: there is no hook `postgres` [postgres/ready] Did you mean `postgresql`?");
    insta::assert_snapshot!(changed("use: postgresql/ready", "use: postgresql/redy"), @"unknown-verb: the hook `postgresql` has no verb `redy` [postgresql/redy] Did you mean `ready`?");
    insta::assert_snapshot!(changed("use: postgresql/ready", "use: ready"), @"unknown-verb: `ready` is not a verb [ready] Write the hook and its verb: `HOOK/VERB`.");
    insta::assert_snapshot!(changed("ready: {hook: postgresql/accepting}", "ready: {hook: postgresql/query}"), @"missing-key: `postgresql/query` needs arguments, and `ready` has none to give [postgresql/query] Use another verb, or a `command`.");
    insta::assert_snapshot!(changed("ready: {hook: postgresql/accepting}", "ready: {hook: postgresql/ready}"), @"wrong-place: `postgresql/ready` does not work with a service [postgresql/ready] Use a verb that does, or a `command`.");
    insta::assert_snapshot!(changed("ready: {hook: postgresql/accepting}", "ready: {}"), @"not-exactly-one: it is not said when the service is ready [ready] Add `hook` or `command`.");
    insta::assert_snapshot!(changed("ready: {hook: postgresql/accepting}", "ready: {hook: postgresql/accepting, command: [x]}"), @"not-exactly-one: it is said twice when the service is ready [ready] Remove `hook` or `command`.");
}

#[test]
fn a_stream_is_of_a_command_or_of_a_verb_that_gives_one() {
    let instead = |stream: &str| {
        let files = "files: {from: steps.backupMode.wal, artifact: wal}";
        changed(files, &format!("stream: {{artifact: wal, {stream}}}"))
    };
    insta::assert_snapshot!(instead("command: [cat]"), @"wrong-artifact: the artifact `wal` is a stream [wal] Restore it by a `stream` step.");
    insta::assert_snapshot!(instead("hook: {use: postgresql/wal, connection: db}"), @"wrong-artifact: the artifact `wal` is a stream [wal] Restore it by a `stream` step.");
    insta::assert_snapshot!(instead("lastLine: x"), @r"
    empty-command: the command names no program [stream] Write the program and its arguments.
    wrong-artifact: the artifact `wal` is a stream [wal] Restore it by a `stream` step.
    ");
    insta::assert_snapshot!(instead("hook: {use: postgresql/query, connection: db, with: {sql: x}}"), @r"
    wrong-verb: `postgresql/query` gives no stream [postgresql/query] Name a verb that gives one, or a `command`.
    wrong-artifact: the artifact `wal` is a stream [wal] Restore it by a `stream` step.
    ");
    insta::assert_snapshot!(instead("hook: {use: postgresql/wal}, command: [cat], env: {A: b}"), @r"
    missing-place: it is not said where `postgresql/wal` works [postgresql/wal] Add `connection`.
    wrong-place: `command` is for a stream of a command, and this one is of a hook [command] Remove `command` or `hook`.
    wrong-place: `env` is for a stream of a command, and this one is of a hook [env] Remove `env` or `hook`.
    wrong-artifact: the artifact `wal` is a stream [wal] Restore it by a `stream` step.
    ");
    insta::assert_snapshot!(changed("hook: {use: postgresql/checkpoint, connection: db}", "hook: {use: postgresql/wal, connection: db}"), @"wrong-verb: `postgresql/wal` gives a stream, which nothing stores here [postgresql/wal] Write it as `stream: {artifact: NAME, hook: {use: …}}`.");
}

#[test]
fn a_verb_works_in_its_places() {
    insta::assert_snapshot!(changed("use: postgresql/checkpoint, connection: db", "use: postgresql/checkpoint"), @"missing-place: it is not said where `postgresql/checkpoint` works [postgresql/checkpoint] Add `connection`.");
    insta::assert_snapshot!(changed("use: postgresql/checkpoint, connection: db", "use: postgresql/checkpoint, connection: dx"), @"unknown-connection: there is no connection `dx` [dx] Use one of: db.");
    insta::assert_snapshot!(changed("use: postgresql/checkpoint, connection: db", "use: postgresql/checkpoint, connection: db, volume: data"), @"wrong-place: `postgresql/checkpoint` does not work with a volume [volume] Remove `volume`; it works with `connection`.");
    insta::assert_snapshot!(changed("use: postgresql/scratch-config, volume: scratch", "use: postgresql/scratch-config, volume: scrach"), @"unknown-volume: there is no volume `scrach` here [scrach] Did you mean `scratch`?");
    insta::assert_snapshot!(changed("service: pg, with", "service: px, with"), @"unknown-service: `verify` starts no service `px` [px] Use one of: pg.");
    insta::assert_snapshot!(changed_own("connection: db, with: {sql: select 1}", "connection: db, hook: sqlite, with: {sql: select 1}"), @r"
    wrong-connection: the connection `db` is one of the hook `postgresql`, not of `sqlite` [db] Name a connection of the hook `sqlite`.
    unknown-verb: the hook `sqlite` cannot be asked by `query` [sqlite] Ask by `exec` with the database's own client.
    ");
    insta::assert_snapshot!(changed_own("connection: db, with: {sql: select 1}", "hook: postgresql, with: {sql: select 1}"), @"not-exactly-one: it is not said exactly once where the question is put [query] Give one of `connection`, `service` and `volume`.");
    insta::assert_snapshot!(changed_own("connection: db, with: {sql: select 1}", "connection: dx, with: {sql: select 1}"), @"unknown-connection: there is no connection `dx` [dx] Use one of: db.");
}

#[test]
fn arguments_are_those_of_the_verb() {
    insta::assert_snapshot!(changed("with: {role: any, covers: [data]}", "with: {rol: any}"), @"unknown-key: there is no key `rol` here (arguments of `postgresql/ready`) [rol] Did you mean `role`?");
    insta::assert_snapshot!(changed(", with: {role: any, covers: [data]}", ""), @"missing-key: the key `role` is missing (arguments of `postgresql/ready`) [hook] Add `role`.");
    insta::assert_snapshot!(changed("with: {role: any, covers: [data]}", "with: {role: primry, covers: data, within: x}"), @r"
    wrong-value: `primry` is not possible here [primry] Did you mean `primary`?
    wrong-type: this is text, and a list is needed [data] Write a list.
    wrong-type: this is text, and a whole number is needed [x] Write a whole number.
    ");
    insta::assert_snapshot!(changed_own("with: {sql: select 1}", "with: {sqll: select 1, limit: many}"), @r"
    unknown-key: there is no key `sqll` here (arguments of `postgresql/query`) [sqll] Did you mean `sql`?
    wrong-type: this is text, and a whole number is needed [many] Write a whole number.
    ");
}

#[test]
fn recorded_outputs_are_ones_that_the_step_has() {
    insta::assert_snapshot!(changed("record: [label,", "record: [lable,"), @r"
    unknown-output: this step has no output `lable` [lable] Did you mean `label`?
    unknown-output: `backup` does not record `label` of the step `backupMode` [point.outputs.backupMode.label] Did you mean `lable`?
    ");
    insta::assert_snapshot!(changed("record: [label,", "record: [wal, label,"), @"wrong-type: `wal` is files, which are stored and not recorded [wal] Remove it here, and add a `files` step to `store`.");
    insta::assert_snapshot!(changed_own("name: size\n          timeout", "timeout"), @r"
    missing-name: what a step without a name puts out cannot be recorded [record] Give the step a `name`.
    unknown-step: `backup` has no step `size` [steps.size] Use one of: pause, hold, tx.
    unknown-step: `backup` has no step `size` [steps.size.stdout] Use one of: pause, hold, tx.
    ");
    insta::assert_snapshot!(changed("- exec: {in: services.pg", "- record: [stdout]\n          exec: {in: services.pg"), @"only-in-backup: only a `backup` makes a recovery point to record something in [record] Remove `record`.");
}

#[test]
fn commands_have_a_program_and_a_place() {
    insta::assert_snapshot!(changed_own(r#"command: [du, -s, "{{ volumes.data.path }}"],"#, "command: [],"), @"empty-command: the command names no program [command] Write the program and its arguments.");
    insta::assert_snapshot!(changed("in: services.pg,", "in: service.pg,"), @"unknown-place: `service.pg` is not a place where a command can run [service.pg] Write `target`, `runner` or `services.NAME`.");
    insta::assert_snapshot!(changed("in: services.pg,", "in: services.px,"), @"unknown-service: `verify` starts no service `px` [services.px] Use one of: pg.");
    insta::assert_snapshot!(changed("as: volumeOwner, volumes: [scratch],", "as: volumeOwner,"), @"missing-volume: this runs as the owner of a volume, and names none [as] Add `volumes`.");
    insta::assert_snapshot!(changed("volumes: [scratch], port", "volumes: [scrtch], port"), @"unknown-volume: there is no volume `scrtch` here [scrtch] Did you mean `scratch`?");
    insta::assert_snapshot!(changed("name: pg\n          service", "service"), @r"
    missing-name: nobody can reach a service without a name [service] Give the step a `name`.
    unknown-service: `verify` starts no service `pg` [services.pg.port] There is no service here.
    unknown-service: `verify` starts no service `pg` [services.pg] There is no service here.
    unknown-service: `verify` starts no service `pg` [services.pg.socketDir] There is no service here.
    unknown-service: `verify` starts no service `pg` [pg] There is no service here.
    ");
}

#[test]
fn an_authors_own_holds_can_be_let_go_and_proven() {
    insta::assert_snapshot!(changed_own("release: [kvctl, RESUME]}", "release: []}"), @"empty-command: the command names no program [release] Write the program and its arguments.");
    insta::assert_snapshot!(changed_own(r#"confirm: {send: STATE, until: "^paused"},"#, ""), @"warning hold-without-proof: nothing proves that this hold was on until the capture was done [session] Add `confirm`, with a question whose answer shows that it is held.");
    insta::assert_snapshot!(changed_own(r#"until: "^OK""#, r#"until: "^(OK""#), @r#"invalid-pattern: this is not a regular expression: unclosed group ["^(OK"] Put a backslash before a character that stands for itself."#);
    insta::assert_snapshot!(changed_own(r#"lease: "{{ params.lock }}""#, "lease: 10"), @"invalid-duration: a duration needs a unit [10] Write for example 10s or 5m.");
}

#[test]
fn a_wait_and_a_query_ask_exactly_once() {
    insta::assert_snapshot!(changed_own("wait: {query: {connection: db, with: {sql: select 2}},", "wait: {"), @"not-exactly-one: it is not said exactly once what is asked [wait] Give one of `exec` and `query`.");
    insta::assert_snapshot!(changed_own("every: 1s", "every: often"), @"invalid-duration: `often` is not a duration [often] Write a number and a unit, such as 500ms, 10s, 5m or 1h30m.");
}
