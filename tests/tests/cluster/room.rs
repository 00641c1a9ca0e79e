//! Where the cluster leaves no room for a run: quotas, limits, claims that never get a volume.

use std::time::Duration;

use serde_json::Value;

use crate::{
    bad_input::refused,
    support::{Postgres, Space, eventually, runs::journal},
};

/// Waits until a quota is in force: it counts what is there first.
fn quota(space: &Space, name: &str, hard: &str) {
    space.kubectl(&["create", "quota", name, &format!("--hard={hard}")]);
    eventually(Duration::from_mins(1), "the quota is counted", || {
        !space.get(&["quota", name])["status"]["used"].is_null()
    });
}

/// Whether the only run of a namespace intended to hold anything.
fn has_held(space: &Space) -> bool {
    let runs = space.run_plain(&["runs"]).json();
    let run = runs[0]["run"].as_str().unwrap().to_owned();
    let holds = |event: &Value| !event["intent"]["undo"]["hold"].is_null();
    journal(space, &run).iter().any(holds)
}

#[test]
fn a_quota_that_leaves_no_room_for_a_mover_is_told_before_anything_is_held() {
    let Some(space) = Space::new("quota") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    // The database's claim is there; another one, of the snapshot, is one too many.
    quota(&space, "small", "persistentvolumeclaims=1");
    let (message, remedy) = refused(&server.backup(&[]), 1);
    assert!(message.contains("exceeded quota: small"), "{message}");
    assert!(remedy.contains("ResourceQuota"), "{remedy}");
    assert!(!has_held(&space));
    assert_eq!(space.place.points(), Vec::<String>::new());
    space.assert_clean();
    space.kubectl(&["delete", "quota", "small"]);

    // Nor is there room for a snapshot.
    quota(&space, "none", "count/volumesnapshots.snapshot.storage.k8s.io=0");
    let (message, _) = refused(&server.backup(&[]), 1);
    assert!(message.contains("the snapshot of the volume data would be refused"), "{message}");
    space.assert_clean();
    assert_eq!(server.held(), Vec::<String>::new());
}

#[test]
fn a_quota_that_leaves_no_room_for_the_run_itself_is_told_at_once() {
    let Some(space) = Space::new("nopods") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    quota(&space, "pods", "pods=1");
    let outcome = server.backup(&[]);
    let (message, remedy) = refused(&outcome, 1);
    assert!(message.contains("exceeded quota: pods"), "{message}");
    assert!(remedy.contains("ResourceQuota"), "{remedy}");
    assert!(outcome.took < Duration::from_secs(25), "{:?}", outcome.took);
    space.kubectl(&["delete", "quota", "pods"]);
    quota(&space, "secrets", "count/secrets=1");
    let (message, _) = refused(&server.backup(&[]), 1);
    assert!(message.contains("exceeded quota: secrets"), "{message}");
    space.assert_clean();
}

/// The most memory that a container may be given in a namespace.
fn limit(space: &Space, most: &str) {
    space.apply(&format!(
        r#"{{"apiVersion": "v1", "kind": "LimitRange", "metadata": {{"name": "small"}},
          "spec": {{"limits": [{{"type": "Container", "max": {{"memory": "{most}"}}}}]}}}}"#
    ));
}

#[test]
fn an_admission_that_refuses_is_told_in_its_own_words_before_anything_is_held() {
    let Some(space) = Space::new("limits") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    // Neither the run's pod nor a mover.
    limit(&space, "100Mi");
    let (message, remedy) = refused(&server.backup(&[]), 2);
    assert!(message.contains("maximum memory usage per Container is 100Mi"), "{message}");
    assert!(remedy.contains("LimitRange"), "{remedy}");
    space.assert_clean();
}

#[test]
fn a_webhook_that_does_not_answer_is_named_before_anything_is_held() {
    let Some(space) = Space::new("webhook") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let name = format!("silent-{}", space.name);
    space.kubectl(&["label", "namespace", &space.name, &format!("webhook={name}")]);
    // It has to be asked about every snapshot of this namespace, and there is no such service.
    space.apply(&format!(
        r#"{{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
          "metadata": {{"name": "{name}"}}, "webhooks": [{{
            "name": "silent.standstill.test", "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
            "namespaceSelector": {{"matchLabels": {{"webhook": "{name}"}}}},
            "rules": [{{"apiGroups": ["snapshot.storage.k8s.io"], "apiVersions": ["*"], "operations": ["CREATE"],
                        "resources": ["volumesnapshots"]}}],
            "clientConfig": {{"service": {{"namespace": "{}", "name": "nobody"}}}}}}]}}"#,
        space.name
    ));
    let outcome = server.backup(&[]);
    space.kubectl(&["delete", "validatingwebhookconfiguration", &name]);
    let (message, remedy) = refused(&outcome, 1);
    assert!(message.contains("failed calling webhook \"silent.standstill.test\""), "{message}");
    assert!(remedy.contains("silent.standstill.test does not answer"), "{remedy}");
    assert!(!has_held(&space));
    assert_eq!(server.held(), Vec::<String>::new());
    space.assert_clean();
}

#[test]
fn a_claim_that_never_gets_a_volume_is_told_with_the_reason() {
    let Some(space) = Space::new("unbound") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let outcome = server.backup(&[]);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let restore = |class: &str| {
        server.of_newest(
            "restore",
            &[
                "--set=target.claim=new",
                &format!("--set=target.storageClass={class}"),
                "--set=target.startDeadline=10s",
            ],
        )
    };
    let (message, remedy) = refused(&restore("gone"), 2);
    assert_eq!(message, "the cluster has no storage class gone");
    assert!(remedy.contains("btrfs"), "{remedy}");

    // A class whose provisioner is not there.
    let class = format!("nobody-{}", space.name);
    space.apply(&format!(
        r#"{{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {{"name": "{class}"}},
          "provisioner": "nobody.standstill.test"}}"#
    ));
    let outcome = restore(&class);
    space.kubectl(&["delete", "storageclass", &class]);
    let (message, remedy) = refused(&outcome, 1);
    assert!(message.contains("the claim new is Pending"), "{message}");
    assert!(remedy.contains("kubectl describe persistentvolumeclaim"), "{remedy}");
    space.assert_clean();
}
