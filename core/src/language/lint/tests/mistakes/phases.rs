//! Phases, and when outputs are there.

use super::*;

#[test]
fn an_action_has_its_own_phases_and_no_others() {
    insta::assert_snapshot!(changed("    restore:\n", "\n    restore:\n      quiesce: []\n"), @"unknown-phase: the action `restore` has no phase `quiesce` [quiesce] Its phases are: preflight, steps, cleanup.");
    insta::assert_snapshot!(changed("      store:\n", "\n      steps:\n"), @"unknown-phase: the action `backup` has no phase `steps` [steps] Its phases are: preflight, prepare, quiesce, capture, recover, store, cleanup.");
}

#[test]
fn what_changes_something_does_not_belong_into_preflight() {
    insta::assert_snapshot!(changed("use: postgresql/ready, connection: db, with: {role: any, covers: [data]}", "use: postgresql/checkpoint, connection: db"), @"not-read-only: `preflight` only reads, and `postgresql/checkpoint` changes something [postgresql/checkpoint] Move it to `prepare`.");
    insta::assert_snapshot!(changed_own("- check: {that: point.version.major >= 14}", "- exec: {command: [kvctl, STATE]}"), @"not-read-only: `preflight` only reads, and `exec` may change something [exec] Move it to one of: steps, cleanup.");
    insta::assert_snapshot!(changed_own(r#"wait: {query: {connection: db, with: {sql: select 2}}, until: "result.rows | length > 0""#, r#"wait: {exec: {command: [kvctl]}, until: "result.exitCode == 0""#), @"not-read-only: `preflight` only reads, and `wait` may change something [wait] Move it to one of: prepare, capture, recover, store, cleanup.");
}

#[test]
fn holds_are_acquired_in_quiesce_only_and_nothing_else_is() {
    insta::assert_snapshot!(changed("use: postgresql/checkpoint, connection: db}", "use: postgresql/backup-mode, connection: db}"), @"wrong-phase: `postgresql/backup-mode` acquires a hold, and `prepare` acquires none [postgresql/backup-mode] Move it to `quiesce`.");
    insta::assert_snapshot!(changed("use: postgresql/scratch-config, volume: scratch", "use: sqlite/write-lock, volume: scratch, with: {file: x}"), @"wrong-phase: `sqlite/write-lock` acquires a hold, and `steps` acquires none [sqlite/write-lock] Only `backup` has a phase for it: `quiesce`.");
    insta::assert_snapshot!(changed("- name: backupMode\n", "- exec: {command: [kvctl, PAUSE]}\n        - name: backupMode\n"), @"exec-in-quiesce: a command in `quiesce` acquires something that nothing lets go [exec] Use `pair` or `session`, which also let go; or move it to `prepare`.");
    insta::assert_snapshot!(changed_own(r#"exec: {command: [du, -s, "{{ volumes.data.path }}"],"#, "pair: {blocksWrites: false, acquire: [x], release: [y],"), @r"
    wrong-phase: `pair` acquires a hold, and `prepare` acquires none [pair] Move it to `quiesce`.
    warning hold-without-proof: nothing proves that this hold was on until the capture was done [pair] Add `confirm`, with a question whose answer shows that it is held.
    unknown-key: there is no key `expect` here [expect] Use one of: lease, tolerates, confirm, in.
    ");
}

#[test]
fn each_kind_of_step_has_its_phases() {
    insta::assert_snapshot!(changed("- files: {from: steps.backupMode.wal, artifact: wal}\n", "- files: {from: steps.backupMode.wal, artifact: wal}\n        - snapshot: {volume: data}\n        - service: {command: [x], ready: {command: [y]}}\n"), @r"
    wrong-phase: `snapshot` does not belong into `store` [snapshot] Move it to `capture`.
    wrong-phase: `service` does not belong into `store` [service] Move it to `prepare`.
    missing-name: nobody can reach a service without a name [service] Give the step a `name`.
    ");
    insta::assert_snapshot!(changed("- hook: {use: postgresql/scratch-config, volume: scratch}", "- files: {from: steps.x.wal, artifact: wal}\n        - snapshot: {volume: data}"), @r"
    wrong-phase: `files` is for `backup`: no other action acquires, captures or stores anything [files] Remove it, or move it to `backup`.
    unknown-step: `verify` has no step `x` [steps.x.wal] Use one of: pg.
    wrong-phase: `snapshot` is for `backup`: no other action acquires, captures or stores anything [snapshot] Remove it, or move it to `backup`.
    ");
    insta::assert_snapshot!(changed("- action: {run: restore, volumes: {new: scratch}}", "- pair: {blocksWrites: true, acquire: [x], release: [y]}"), @r"
    wrong-phase: `pair` is for `backup`: no other action acquires, captures or stores anything [pair] Remove it, or move it to `backup`.
    warning hold-without-proof: nothing proves that this hold was on until the capture was done [pair] Add `confirm`, with a question whose answer shows that it is held.
    ");
}

#[test]
fn an_output_is_used_when_it_is_there() {
    insta::assert_snapshot!(changed("- hook: {use: postgresql/checkpoint, connection: db}", r#"- exec: {command: [x, "{{ steps.backupMode.startLsn }}"]}"#), @"output-too-early: the step `backupMode` is done later, in `quiesce` [steps.backupMode.startLsn] Move the step that uses it behind it, or use what an earlier step puts out.");
    insta::assert_snapshot!(changed("snapshot: {volume: data, mode: auto}", "snapshot: {volume: data, mode: auto}\n        - exec: {command: [x, \"{{ steps.backupMode.startLsn }}\", \"{{ steps.backupMode.label }}\"]}"), @"output-too-early: the output `label` of `backupMode` is there only after the release [steps.backupMode.label] Use it in `recover`, `store` or `cleanup`.");
    insta::assert_snapshot!(changed("artifact: wal}\n", "artifact: wal}\n        - exec: {command: [x, \"{{ steps.backupMode.label }}\", \"{{ steps.backupMode.lable }}\", \"{{ captures.data.path }}\", \"{{ captures.dta.path }}\"]}\n"), @r"
    unknown-output: the step `backupMode` has no output `lable` [steps.backupMode.lable] Did you mean `label`?
    unknown-capture: `backup` captures no `dta` [captures.dta.path] Did you mean `data`?
    ");
    insta::assert_snapshot!(changed("from: steps.backupMode.wal", "from: steps.backupMode.label"), @"wrong-type: `steps.backupMode.label` is not files [steps.backupMode.label] Name an output that its hook declares as files.");
    insta::assert_snapshot!(changed_own(r#"acquire: ["{{ programs.kvctl }}", PAUSE]"#, r#"acquire: [kvctl, "{{ steps.pause.stdout }}", "{{ steps.tx.databases }}"]"#), @r"
    output-too-early: the step `pause` uses its own output, which is not there before it is done [steps.pause.stdout] Use what an earlier step puts out.
    output-too-early: the step `tx` is done later, in `quiesce` [steps.tx.databases] Move the step that uses it behind it, or use what an earlier step puts out.
    ");
    insta::assert_snapshot!(changed("- hook: {use: postgresql/scratch-config, volume: scratch}", r#"- exec: {in: services.pg, command: [x, "{{ services.pg.port }}"]}"#), @r"
    output-too-early: the service `pg` is started later [services.pg] Move the step that starts it before this one.
    output-too-early: the service `pg` is started later [services.pg.port] Move the step that starts it before this one.
    ");
}

#[test]
fn a_backup_has_no_recovery_point_yet() {
    insta::assert_snapshot!(changed_own("-s,", r#"-s, "{{ point.id }}","#), @"point-in-backup: a backup has no recovery point yet [point.id] Use `point` in `restore` and `verify`, and what steps put out in `backup`.");
}
