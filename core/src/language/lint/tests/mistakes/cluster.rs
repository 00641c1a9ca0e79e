//! `scale` and `kube`.

use super::*;

fn prepared(step: &str) -> String {
    changed("hook: {use: postgresql/checkpoint, connection: db}", step)
}

#[test]
fn changes_of_the_cluster_are_written_in_these_ways() {
    for right in [
        "scale: {workload: deployment/web, replicas: 0}",
        r#"scale: {workload: "statefulset/{{ params.host }}", replicas: "{{ params.port }}", keep: true}"#,
        "kube: {apiVersion: v1, kind: ConfigMap, name: flag, patch: {data: {left: null}}}",
        r#"kube: {apiVersion: a.example/v1, kind: Ox, plural: oxen, name: "{{ params.host }}", apply: {spec: {by: "{{ run.id }}"}}}"#,
        "kube: {apiVersion: v1, kind: ConfigMap, name: flag, delete: true, keep: true}",
        r#"kube: {apiVersion: v1, kind: ConfigMap, name: flag, until: "result.found and result.object.data.x == params.host"}"#,
    ] {
        assert_eq!(prepared(right), "", "{right}");
    }
}

#[test]
fn only_a_workload_can_be_scaled_to_a_number_of_pods() {
    insta::assert_snapshot!(prepared("scale: {workload: pod/web, replicas: -1}"), @r"
    wrong-value: `pod/web` is no workload that can be scaled [pod/web] Write `statefulset/NAME` or `deployment/NAME`.
    wrong-value: a workload cannot have so many pods [-1] Write a whole number from 0 on.
    ");
    insta::assert_snapshot!(prepared("scale: {workload: web, replicas: \"{{ params.host }}\"}"), @r#"
    wrong-value: `web` is no workload that can be scaled [web] Write `statefulset/NAME` or `deployment/NAME`.
    wrong-type: this gives text, and a whole number is needed ["{{ params.host }}"] Use something that gives a whole number.
    "#);
}

#[test]
fn an_object_is_named_before_the_run_and_never_a_secret() {
    insta::assert_snapshot!(prepared(r#"kube: {apiVersion: v1, kind: "{{ params.host }}", name: x, delete: true}"#), @r#"template-not-rendered: templates are not rendered here ["{{ params.host }}"] Write the value itself."#);
    insta::assert_snapshot!(prepared("kube: {apiVersion: v1, kind: Secret, name: x, delete: true}"), @"secret-in-journal: what is put back is in the journal, and a secret must not be there [Secret] Change the Secret by a command of your own, or leave it alone.");
    insta::assert_snapshot!(prepared("kube: {apiVersion: v1, kind: ConfigMap, name: x, apply: {kind: Pod, metadata: {namespace: other}, status: {}}}"), @r"
    said-twice: which object it is has been said beside this [kind] Remove it here; objects of other namespaces than the target's are out of reach.
    said-twice: which object it is has been said beside this [namespace] Remove it here; objects of other namespaces than the target's are out of reach.
    wrong-value: the status of an object is what its controller says, and cannot be changed here [status] Remove `status`.
    ");
}

#[test]
fn it_is_said_exactly_once_what_is_done_to_an_object() {
    insta::assert_snapshot!(prepared("kube: {apiVersion: v1, kind: ConfigMap, name: x}"), @"not-exactly-one: it is not said exactly once what is done [kube] Give one of `apply`, `patch`, `delete: true` and `until`.");
    insta::assert_snapshot!(prepared("kube: {apiVersion: v1, kind: ConfigMap, name: x, delete: true, patch: {}}"), @"not-exactly-one: it is not said exactly once what is done [kube] Give one of `apply`, `patch`, `delete: true` and `until`.");
    insta::assert_snapshot!(prepared("kube: {apiVersion: v1, kind: ConfigMap, name: x, until: \"result.fond\", keep: true}"), @r"
    unknown-name: `result` has no `fond` [result.fond] Did you mean `found`?
    nothing-to-keep: a wait changes nothing that could be kept [keep] Remove `keep`.
    ");
}

#[test]
fn nothing_is_changed_while_something_is_held_or_only_looked_at() {
    let quiesced =
        |step: &str| changed("- name: backupMode\n", &format!("- {step}\n        - name: backupMode\n"));
    insta::assert_snapshot!(quiesced("scale: {workload: deployment/web, replicas: 0}"), @"wrong-phase: `scale` does not belong into `quiesce` [scale] Move it to `prepare`.");
    insta::assert_snapshot!(quiesced("kube: {apiVersion: v1, kind: ConfigMap, name: x, delete: true}"), @"wrong-phase: `kube` does not belong into `quiesce` [kube] Move it to one of: prepare, recover, store, cleanup.");
    let waits = "kube: {apiVersion: v1, kind: ConfigMap, name: x, until: result.found}";
    assert_eq!(quiesced(waits), "");
    insta::assert_snapshot!(changed("- action: {run: restore, volumes: {new: scratch}}", "- action: {run: restore, volumes: {new: scratch}}\n        - scale: {workload: deployment/web, replicas: 0}"), @"");
}
