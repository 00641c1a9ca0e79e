//! Phases, and when outputs are there.

use super::*;

#[test]
fn an_action_has_its_own_phases_and_no_others() {
    insta::assert_snapshot!(changed("    restore:\n", "\n    restore:\n      quiesce: []\n"), @"");
    insta::assert_snapshot!(changed("      store:\n", "\n      steps:\n"), @"");
}

#[test]
fn what_changes_something_does_not_belong_into_preflight() {
    insta::assert_snapshot!(changed("use: postgresql/ready, connection: db, with: {role: any, covers: [data]}", "use: postgresql/checkpoint, connection: db"), @"");
    insta::assert_snapshot!(changed_own("- check: {that: point.version.major >= 14}", "- exec: {command: [kvctl, STATE]}"), @"");
    insta::assert_snapshot!(changed_own(r#"wait: {query: {connection: db, with: {sql: select 2}}, until: "result.rows | length > 0""#, r#"wait: {exec: {command: [kvctl]}, until: "result.exitCode == 0""#), @"");
}

#[test]
fn holds_are_acquired_in_quiesce_only_and_nothing_else_is() {
    insta::assert_snapshot!(changed("use: postgresql/checkpoint, connection: db}", "use: postgresql/backup-mode, connection: db}"), @"");
    insta::assert_snapshot!(changed("use: postgresql/scratch-config, volume: scratch", "use: sqlite/write-lock, volume: scratch, with: {file: x}"), @"");
    insta::assert_snapshot!(changed("- name: backupMode\n", "- exec: {command: [kvctl, PAUSE]}\n        - name: backupMode\n"), @"");
    insta::assert_snapshot!(changed_own(r#"exec: {command: [du, -s, "{{ volumes.data.path }}"],"#, "pair: {blocksWrites: false, acquire: [x], release: [y],"), @"");
}

#[test]
fn each_kind_of_step_has_its_phases() {
    insta::assert_snapshot!(changed("- files: {from: steps.backupMode.wal, artifact: wal}\n", "- files: {from: steps.backupMode.wal, artifact: wal}\n        - snapshot: {volume: data}\n        - service: {command: [x], ready: {command: [y]}}\n"), @"");
    insta::assert_snapshot!(changed("- hook: {use: postgresql/scratch-config, volume: scratch}", "- files: {from: steps.x.wal, artifact: wal}\n        - snapshot: {volume: data}"), @"");
    insta::assert_snapshot!(changed("- action: {run: restore, volumes: {new: scratch}}", "- pair: {blocksWrites: true, acquire: [x], release: [y]}"), @"");
}

#[test]
fn an_output_is_used_when_it_is_there() {
    insta::assert_snapshot!(changed("- hook: {use: postgresql/checkpoint, connection: db}", r#"- exec: {command: [x, "{{ steps.backupMode.startLsn }}"]}"#), @"");
    insta::assert_snapshot!(changed("snapshot: {volume: data, mode: auto}", "snapshot: {volume: data, mode: auto}\n        - exec: {command: [x, \"{{ steps.backupMode.startLsn }}\", \"{{ steps.backupMode.label }}\"]}"), @"");
    insta::assert_snapshot!(changed("artifact: wal}\n", "artifact: wal}\n        - exec: {command: [x, \"{{ steps.backupMode.label }}\", \"{{ steps.backupMode.lable }}\", \"{{ captures.data.path }}\", \"{{ captures.dta.path }}\"]}\n"), @"");
    insta::assert_snapshot!(changed("from: steps.backupMode.wal", "from: steps.backupMode.label"), @"");
    insta::assert_snapshot!(changed_own(r#"acquire: ["{{ programs.kvctl }}", PAUSE]"#, r#"acquire: [kvctl, "{{ steps.pause.stdout }}", "{{ steps.tx.databases }}"]"#), @"");
    insta::assert_snapshot!(changed("- hook: {use: postgresql/scratch-config, volume: scratch}", r#"- exec: {in: services.pg, command: [x, "{{ services.pg.port }}"]}"#), @"");
}

#[test]
fn a_backup_has_no_recovery_point_yet() {
    insta::assert_snapshot!(changed_own("-s,", r#"-s, "{{ point.id }}","#), @"");
}
