//! Volumes, captures, artifacts and actions.

use super::*;

#[test]
fn volumes_are_declared() {
    insta::assert_snapshot!(changed("snapshot: {volume: data", "snapshot: {volume: dta"), @"");
    insta::assert_snapshot!(changed("{like: data, path", "{like: dta, path"), @"");
    insta::assert_snapshot!(changed(r#"{new: {like: data, path: "{{ params.dataDir }}", empty: true}}"#, "{new: {like: data, empty: true}}"), @"");
    insta::assert_snapshot!(changed("{scratch: {like: data, scratch: true}}", "{scratch: {like: data, scratch: true, path: /x}}"), @"");
    insta::assert_snapshot!(changed("{new: {like: data,", "{data: {like: data,"), @"");
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, "maxHold: \"{{ params.maxHold }}\"\n      volumes: {x: {scratch: true}}"), @"");
    insta::assert_snapshot!(changed("volumes: {new: {like: data, path", "maxFreeze: 10s\n      onQuiesceFailure: fail\n      volumes: {new: {like: data, path"), @"");
}

#[test]
fn a_restore_never_writes_over_the_original() {
    insta::assert_snapshot!(changed("artifact: data, to: new", "artifact: data, to: data"), @"");
    insta::assert_snapshot!(changed("artifact: data, to: new", "artifact: data, to: nww"), @"");
    insta::assert_snapshot!(changed("artifact: data, to: new", "artifact: data"), @"");
    insta::assert_snapshot!(changed("artifact: data, to: new", "artifact: data, to: new, from: captures.data, exclude: [x]"), @"");
    insta::assert_snapshot!(changed("under: pg_wal", "under: ../pg_wal"), @"");
}

#[test]
fn captures_are_stored_and_artifacts_are_named_once() {
    insta::assert_snapshot!(changed("- volume: {from: captures.data, artifact: data, exclude: [postmaster.pid, \"pgsql_tmp*\", \"pg_wal/*\"]}\n", ""), @"");
    insta::assert_snapshot!(changed("from: captures.data, artifact", "from: captures.dta, artifact"), @"");
    insta::assert_snapshot!(changed("from: captures.data, artifact", "from: data, artifact"), @"");
    insta::assert_snapshot!(changed("from: captures.data, artifact: data,", "artifact: data,"), @"");
    insta::assert_snapshot!(changed("from: captures.data, artifact: data,", "from: captures.data, to: new, artifact: data,"), @"");
    insta::assert_snapshot!(changed("from: steps.backupMode.wal, artifact: wal", "from: steps.backupMode.wal, artifact: data"), @"");
    insta::assert_snapshot!(changed("from: steps.backupMode.wal, artifact: wal", "from: wal, artifact: w al"), @"");
    insta::assert_snapshot!(changed("artifact: wal, to: new", "artifact: wall, to: new"), @"");
    insta::assert_snapshot!(changed_own("artifact: data, to: new", "artifact: db/app, to: new"), @"");
    insta::assert_snapshot!(changed_own(r#"stream: {artifact: "table/one""#, r#"stream: {artifact: "data""#), @"");
    insta::assert_snapshot!(changed_own(r#"stream: {artifact: "db/*""#, r#"stream: {artifact: "dbs/*""#), @"");
}

#[test]
fn an_item_belongs_to_a_list() {
    insta::assert_snapshot!(changed_own(r#"artifact: "db/{{ item.name }}""#, r#"artifact: "db/all""#), @"");
    insta::assert_snapshot!(changed_own(r#"artifact: "db/{{ item.name }}""#, r#"artifact: "db/{{ run.id }}""#), @"");
    insta::assert_snapshot!(changed_own(r#"forEach: "{{ params.tables }}","#, ""), @"");
}

#[test]
fn a_hold_that_makes_writes_wait_is_for_a_capture() {
    insta::assert_snapshot!(changed_own("      capture:\n", "\n      prepare2:\n"), @"");
}

#[test]
fn actions_run_each_other_and_not_themselves() {
    insta::assert_snapshot!(changed("run: restore,", "run: restor,"), @"");
    insta::assert_snapshot!(changed("run: restore,", "run: verify,"), @"");
    insta::assert_snapshot!(changed("run: restore,", "run: backup,"), @"");
    insta::assert_snapshot!(changed("run: restore, volumes: {new: scratch}", "run: restore"), @"");
    insta::assert_snapshot!(changed("volumes: {new: scratch}", "volumes: {nw: scratch}"), @"");
    insta::assert_snapshot!(changed("volumes: {new: scratch}", "volumes: {new: data}"), @"");
    insta::assert_snapshot!(changed("    restore:\n", "\n    restoring:\n"), @"");
}
