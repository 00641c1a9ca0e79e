//! Volumes, captures, artifacts and actions.

use super::*;

#[test]
fn volumes_are_declared() {
    insta::assert_snapshot!(changed("snapshot: {volume: data", "snapshot: {volume: dta"), @"unknown-volume: there is no volume `dta` [dta] Did you mean `data`?");
    insta::assert_snapshot!(changed("{like: data, path", "{like: dta, path"), @"unknown-volume: there is no volume `dta` [dta] Did you mean `data`?");
    insta::assert_snapshot!(changed(r#"{new: {like: data, path: "{{ params.dataDir }}", empty: true}}"#, "{new: {like: data, empty: true}}"), @"volume-without-path: it is not said where the volume `new` is [new] Add `path`, or `scratch: true`.");
    insta::assert_snapshot!(changed("{scratch: {like: data, scratch: true}}", "{scratch: {like: data, scratch: true, path: /x}}"), @"scratch-with-path: a scratch volume is put where there is room, so it has no path of its own [path] Remove `path` or `scratch`.");
    insta::assert_snapshot!(changed("{new: {like: data,", "{data: {like: data,"), @r"
    volume-shadowed: `data` is the name of one of the target's volumes [data] Use another name, so that nobody restores over the original by mistake.
    unknown-volume: there is no volume `new` here [new] Use one of: data.
    unknown-volume: there is no volume `new` here [new] Use one of: data.
    unknown-volume: there is no volume `new` here [new] Use one of: data.
    missing-volume: it is not said what stands in for the volume `data` of `restore` [action] Add `volumes: {data: …}` with a volume of this action.
    unknown-volume: the action `restore` has no volume `new` [new] Use one of: data.
    ");
    insta::assert_snapshot!(changed(r#"maxHold: "{{ params.maxHold }}""#, "maxHold: \"{{ params.maxHold }}\"\n      volumes: {x: {scratch: true}}"), @"only-outside-backup: `backup` restores nothing, so it has no places to restore into [volumes] Declare volumes under `spec.volumes`.");
    insta::assert_snapshot!(changed("volumes: {new: {like: data, path", "maxFreeze: 10s\n      onQuiesceFailure: fail\n      volumes: {new: {like: data, path"), @r"
    only-in-backup: `maxFreeze` is about holds, and only `backup` acquires any [maxFreeze] Remove it; a step has `timeout`.
    only-in-backup: `onQuiesceFailure` is about holds, and only `backup` acquires any [onQuiesceFailure] Remove it.
    ");
}

#[test]
fn a_restore_never_writes_over_the_original() {
    insta::assert_snapshot!(changed("artifact: data, to: new", "artifact: data, to: data"), @"restore-over-original: `data` is the original, and a restore never writes over it [data] Declare a place under this action's `volumes`: `new: {like: data, path: …}`.");
    insta::assert_snapshot!(changed("artifact: data, to: new", "artifact: data, to: nww"), @"unknown-volume: there is no volume `nww` here [nww] Did you mean `new`?");
    insta::assert_snapshot!(changed("artifact: data, to: new", "artifact: data"), @"missing-key: it is not said where it is restored to [volume] Add `to` with a volume of this action.");
    insta::assert_snapshot!(changed("artifact: data, to: new", "artifact: data, to: new, from: captures.data, exclude: [x]"), @r"
    only-in-backup: `from` is for storing, and only `backup` stores [from] Remove `from`.
    only-in-backup: `exclude` is for storing, and only `backup` stores [exclude] Remove `exclude`.
    ");
    insta::assert_snapshot!(changed("under: pg_wal", "under: ../pg_wal"), @"wrong-value: `../pg_wal` is not a path inside a volume [../pg_wal] Write a relative path without `..`.");
}

#[test]
fn captures_are_stored_and_artifacts_are_named_once() {
    insta::assert_snapshot!(changed("- volume: {from: captures.data, artifact: data, exclude: [postmaster.pid, \"pgsql_tmp*\", \"pg_wal/*\"]}\n", ""), @r"
    warning capture-not-stored: the capture `data` is never stored [snapshot] Add `volume: {from: captures.data, artifact: data}` to `store`.
    unknown-artifact: `backup` stores no artifact `data` [data] Use one of: wal.
    ");
    insta::assert_snapshot!(changed("from: captures.data, artifact", "from: captures.dta, artifact"), @r"
    warning capture-not-stored: the capture `data` is never stored [snapshot] Add `volume: {from: captures.data, artifact: data}` to `store`.
    unknown-capture: `backup` captures no `dta` [captures.dta] Did you mean `data`?
    ");
    insta::assert_snapshot!(changed("from: captures.data, artifact", "from: data, artifact"), @r"
    warning capture-not-stored: the capture `data` is never stored [snapshot] Add `volume: {from: captures.data, artifact: data}` to `store`.
    unknown-capture: `data` is not a capture [data] Write `captures.NAME`.
    ");
    insta::assert_snapshot!(changed("from: captures.data, artifact: data,", "artifact: data,"), @r"
    warning capture-not-stored: the capture `data` is never stored [snapshot] Add `volume: {from: captures.data, artifact: data}` to `store`.
    missing-key: it is not said what is stored [volume] Add `from: captures.NAME`.
    unknown-artifact: `backup` stores no artifact `data` [data] Use one of: wal.
    ");
    insta::assert_snapshot!(changed("from: captures.data, artifact: data,", "from: captures.data, to: new, artifact: data,"), @"only-outside-backup: `to` is for restoring, and `backup` stores [to] Remove `to`.");
    insta::assert_snapshot!(changed("from: steps.backupMode.wal, artifact: wal", "from: steps.backupMode.wal, artifact: data"), @r"
    artifact-stored-twice: the artifact `data` is already stored, on line 36 [data] Give one of the two another name.
    unknown-artifact: `backup` stores no artifact `wal` [wal] Use one of: data.
    ");
    insta::assert_snapshot!(changed("from: steps.backupMode.wal, artifact: wal", "from: wal, artifact: w al"), @r"
    unknown-output: `wal` is not an output [wal] Write `steps.NAME.OUTPUT`.
    invalid-name: `w al` is not a name for an artifact [w al] Use letters, digits, dots, hyphens and underscores; slashes between them.
    unknown-artifact: `backup` stores no artifact `wal` [wal] Did you mean `w al`?
    ");
    insta::assert_snapshot!(changed("artifact: wal, to: new", "artifact: wall, to: new"), @"unknown-artifact: `backup` stores no artifact `wall` [wall] Did you mean `wal`?");
    insta::assert_snapshot!(changed_own("artifact: data, to: new", "artifact: db/app, to: new"), @"wrong-artifact: the artifact `db/app` is a stream [db/app] Restore it by a `stream` step.");
    insta::assert_snapshot!(changed_own(r#"stream: {artifact: "table/one""#, r#"stream: {artifact: "data""#), @r#"wrong-artifact: the artifact `data` is files ["data"] Restore it by a `volume` step."#);
    insta::assert_snapshot!(changed_own(r#"stream: {artifact: "db/*""#, r#"stream: {artifact: "dbs/*""#), @r#"unknown-artifact: `backup` stores no artifact `dbs/*` ["dbs/*"] Use one of: db/{{ item.name }}, table/{{ item }}, data."#);
}

#[test]
fn an_item_belongs_to_a_list() {
    insta::assert_snapshot!(changed_own(r#"artifact: "db/{{ item.name }}""#, r#"artifact: "db/all""#), @r#"artifact-without-item: every item would be the same artifact ["db/all"] Put the item into its name: `db/{{ item.name }}`."#);
    insta::assert_snapshot!(changed_own(r#"artifact: "db/{{ item.name }}""#, r#"artifact: "db/{{ run.id }}""#), @r#"artifact-without-item: every item would be the same artifact ["db/{{ run.id }}"] Put the item into its name: `db/{{ item.name }}`."#);
    insta::assert_snapshot!(changed_own(r#"forEach: "{{ params.tables }}","#, ""), @r"
    item-outside-for-each: there is no `item` here [item] Use it in a `stream` with `forEach`.
    item-outside-for-each: there is no `item` here [item] Use it in a `stream` with `forEach`.
    ");
}

#[test]
fn a_hold_that_makes_writes_wait_is_for_a_capture() {
    insta::assert_snapshot!(changed_own("      capture:\n", "\n      prepare2:\n"), @"unknown-key: there is no key `prepare2` here [prepare2] Use one of: summary, maxHold, volumes, capture, recover, steps.");
}

#[test]
fn actions_run_each_other_and_not_themselves() {
    insta::assert_snapshot!(changed("run: restore,", "run: restor,"), @"unknown-action: there is no action `restor` [restor] Did you mean `restore`?");
    insta::assert_snapshot!(changed("run: restore,", "run: verify,"), @r"
    missing-volume: it is not said what stands in for the volume `scratch` of `verify` [action] Add `volumes: {scratch: …}` with a volume of this action.
    action-circle: `verify` runs itself by running `verify` [verify] Remove one of the `action` steps of this circle.
    unknown-volume: the action `verify` has no volume `new` [new] Use one of: scratch.
    ");
    insta::assert_snapshot!(changed("run: restore,", "run: backup,"), @"nested-backup: a backup is a run of its own and cannot be part of another action [backup] Run `standstill backup` beside this.");
    insta::assert_snapshot!(changed("run: restore, volumes: {new: scratch}", "run: restore"), @"missing-volume: it is not said what stands in for the volume `new` of `restore` [action] Add `volumes: {new: …}` with a volume of this action.");
    insta::assert_snapshot!(changed("volumes: {new: scratch}", "volumes: {nw: scratch}"), @r"
    missing-volume: it is not said what stands in for the volume `new` of `restore` [action] Add `volumes: {new: …}` with a volume of this action.
    unknown-volume: the action `restore` has no volume `nw` [nw] Use one of: new.
    ");
    insta::assert_snapshot!(changed("volumes: {new: scratch}", "volumes: {new: data}"), @"unknown-volume: this action has no volume `data` that may be written to [data] Use one of: scratch.");
    insta::assert_snapshot!(changed("    restore:\n", "\n    restoring:\n"), @r"
    warning no-restore: there is a `backup` and no `restore` [backup] Add the action `restore`: a backup that nobody can restore protects nothing.
    unknown-action: there is no action `restore` [restore] Use one of: restoring, verify.
    ");
}

#[test]
fn only_a_snapshot_can_be_kept() {
    let kept = |more: &str| {
        with(POSTGRESQL, "artifact: data, exclude", &format!("artifact: data, keep: snapshot, {more}exclude"))
    };
    assert_eq!(told(&kept("")), "");
    let copied =
        with(&kept(""), "snapshot: {volume: data, mode: auto}", "snapshot: {volume: data, mode: copy}");
    insta::assert_snapshot!(told(&copied), @"nothing-to-keep: the capture `data` is no snapshot that could be kept [keep] Capture it with `mode: atomic`, or remove `keep`.");
    insta::assert_snapshot!(told(&kept("last: [x], ")), @"nothing-to-keep: of a snapshot that is kept nothing is read [last] Remove `last` or `keep`.");
    insta::assert_snapshot!(changed("artifact: data, to: new", "artifact: data, to: new, keep: snapshot"), @"only-in-backup: `keep` is for storing, and only `backup` stores [keep] Remove `keep`.");
}
