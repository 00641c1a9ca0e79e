//! `pod`.

use super::*;

fn prepared(step: &str) -> String {
    changed("hook: {use: postgresql/checkpoint, connection: db}", step)
}

#[test]
fn a_command_in_a_pod_is_written_in_these_ways() {
    for right in [
        "pod: {image: tool:1, command: [convert]}",
        r#"pod: {image: "{{ params.host }}", command: [convert, "{{ run.id }}"], security: baseline}"#,
        "pod: {image: target, command: [ls], volumes: [data], resources: {cpu: 1, memory: 1Gi}}",
        r#"pod: {image: target, command: [ls], env: {A: "{{ params.port }}"}, expect: "result.exitCode < 2"}"#,
    ] {
        assert_eq!(prepared(right), "", "{right}");
    }
}

#[test]
fn no_hold_waits_for_a_pod() {
    let said =
        changed_own("        - snapshot: {volume: data}", "        - pod: {image: tool:1, command: [ls]}");
    assert!(said.contains("wrong-phase"), "{said}");
}

#[test]
fn what_a_pod_lacks_or_cannot_have_is_told() {
    for (wrong, code) in [
        ("pod: {command: [ls]}", "missing-key"),
        ("pod: {image: target, command: []}", "empty-command"),
        ("pod: {image: target, command: [ls], volumes: [dta]}", "unknown-volume"),
        ("pod: {image: target, command: [ls], security: privileged}", "wrong-value"),
        (r#"pod: {image: target, command: [ls], expect: "result.exit == 0"}"#, "unknown"),
        ("pod: {image: target, command: [ls], env: {1A: x}}", "invalid-name"),
    ] {
        let said = prepared(wrong);
        assert!(said.contains(code), "{wrong}: {said}");
    }
}
