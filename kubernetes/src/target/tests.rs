use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use standstill_core::ErrorKind;

use super::{
    Owner, Source, Target, TargetValues, Workload,
    find::{of_pod, ready},
    owner,
};

fn pod(name: &str, ready: bool) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "db", "uid": "u-1"},
        "spec": {
            "nodeName": "node-1",
            "imagePullSecrets": [{"name": "registry"}],
            "securityContext": {"runAsUser": 101, "runAsGroup": 102},
            "tolerations": [{"key": "db", "operator": "Exists"}],
            "containers": [
                {
                    "name": "postgres", "image": "postgres:15", "imagePullPolicy": "Never",
                    "volumeMounts": [
                        {"name": "data", "mountPath": "/var/lib/postgresql/"},
                        {"name": "wal", "mountPath": "/var/lib/postgresql/data/pg_wal", "subPath": "wal"},
                        {"name": "run", "mountPath": "/run"},
                    ],
                },
                {"name": "exporter", "image": "exporter:1"},
            ],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data-pg-0"}},
                {"name": "wal", "persistentVolumeClaim": {"claimName": "wal-pg-0"}},
                {"name": "run", "emptyDir": {}},
            ],
        },
        "status": {
            "podIP": "10.1.2.3",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        },
    })
}

fn parsed(pod: &Value) -> Pod {
    serde_json::from_value(pod.clone()).unwrap()
}

fn target() -> Target {
    of_pod(&parsed(&pod("pg-0", true)), "statefulset/pg", Some("postgres")).unwrap()
}

#[test]
fn a_pod_tells_all_that_a_pod_beside_it_must_be_like() {
    let target = target();
    let pod = target.pod.clone().unwrap();
    assert_eq!((pod.name.as_str(), pod.address.as_str(), pod.node.as_str()), ("pg-0", "10.1.2.3", "node-1"));
    assert_eq!((target.image.as_str(), target.pull_policy.as_deref()), ("postgres:15", Some("Never")));
    assert_eq!(target.pull_secrets, ["registry"]);
    assert_eq!((target.run_as_user, target.run_as_group), (Some(101), Some(102)));
    assert_eq!(target.tolerations, [json!({"key": "db", "operator": "Exists"})]);
    assert_eq!(target.claims().map(|(_, claim)| claim).collect::<Vec<_>>(), ["data-pg-0", "wal-pg-0"]);
}

#[test]
fn a_path_lies_on_the_claim_of_the_longest_mount_above_it() {
    let place = target().volume_path(Path::new("/var/lib/postgresql/data")).unwrap();
    assert_eq!((place.claim.as_str(), place.path), ("data-pg-0", PathBuf::from("data")));
    let place = target().volume_path(Path::new("/var/lib/postgresql/data/pg_wal/000001")).unwrap();
    assert_eq!((place.claim.as_str(), place.path), ("wal-pg-0", PathBuf::from("wal/000001")));
    let place = target().volume_path(Path::new("/var/lib/postgresql")).unwrap();
    assert_eq!(place.path, PathBuf::new());
}

#[test]
fn a_path_that_is_on_no_claim_is_refused_with_what_there_is() {
    let error = target().volume_path(Path::new("/var/lib/postgresqlx")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.remedy_text().unwrap().contains("/var/lib/postgresql, "));
    let error = target().volume_path(Path::new("/run/x")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/run/x lies on a volume of the kind emptyDir, which is no PersistentVolumeClaim"
    );
}

#[test]
fn the_container_must_be_named_where_there_are_several() {
    let error = of_pod(&parsed(&pod("pg-0", true)), "statefulset/pg", None).unwrap_err();
    assert_eq!(
        error.remedy_text().unwrap(),
        "Add `--set target.container=` with one of: postgres, exporter."
    );
    let error = of_pod(&parsed(&pod("pg-0", true)), "statefulset/pg", Some("pg")).unwrap_err();
    assert_eq!(error.to_string(), "statefulset/pg has no container pg");
}

#[test]
fn only_the_one_ready_pod_is_the_target_where_no_role_decides() {
    let pods = [parsed(&pod("pg-0", true)), parsed(&pod("pg-1", false))];
    let found = ready(&pods, "statefulset/pg", "db").unwrap();
    assert_eq!((found.len(), found[0].metadata.name.as_deref()), (1, Some("pg-0")));
    let error = ready(&pods[1..], "statefulset/pg", "db").unwrap_err();
    assert_eq!(error.to_string(), "statefulset/pg in the namespace db has no pod that is ready: pg-1");
    let of = |name: &str| of_pod(&parsed(&pod(name, true)), "statefulset/pg", Some("postgres")).unwrap();
    let error = Target::only(vec![of("pg-0"), of("pg-1")]).unwrap_err();
    assert_eq!(error.to_string(), "statefulset/pg in the namespace db has 2 pods that are ready: pg-0, pg-1");
    assert_eq!(Target::only(vec![of("pg-0")]).unwrap(), of("pg-0"));
    assert_eq!(
        ready(&[], "statefulset/pg", "db").unwrap_err().to_string(),
        "statefulset/pg in the namespace db has no pod"
    );
}

#[test]
fn a_pod_that_is_being_deleted_is_not_ready() {
    let mut leaving = pod("pg-0", true);
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(ready(&[parsed(&leaving)], "pod/pg-0", "db").is_err());
}

#[test]
fn workloads_are_read_in_kubectls_words() {
    assert_eq!("sts/pg".parse::<Workload>().unwrap(), Workload::StatefulSet("pg".into()));
    assert_eq!("Deployment/pg".parse::<Workload>().unwrap().to_string(), "deployment/pg");
    assert_eq!("svc/pg".parse::<Workload>().unwrap(), Workload::Service("pg".into()));
    for wrong in ["pg", "pod/", "job/pg", "pod/a/b"] {
        assert_eq!(wrong.parse::<Workload>().unwrap_err().kind(), ErrorKind::Input, "{wrong}");
    }
}

#[test]
fn unknown_keys_of_the_target_are_refused() {
    let pairs = [("workload".to_owned(), "pod/pg".to_owned()), ("nmespace".to_owned(), "db".to_owned())];
    assert!(TargetValues::of(&pairs.clone().into()).unwrap_err().chain().contains("nmespace"));
    assert_eq!(TargetValues::of(&[pairs[0].clone()].into()).unwrap().workload.as_deref(), Some("pod/pg"));
}

#[test]
fn an_owner_is_two_numbers() {
    assert_eq!(owner::parse("26:27\n"), Some(Owner { user: 26, group: Some(27) }));
    assert_eq!(owner::parse("postgres:postgres"), None);
}

#[test]
fn a_volume_that_belongs_to_the_pod_is_a_claim_named_after_both() {
    let mut changed = pod("pg-0", true);
    changed["spec"]["volumes"][2] =
        json!({"name": "run", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}});
    let target = of_pod(&parsed(&changed), "pod/pg-0", Some("postgres")).unwrap();
    assert_eq!(target.mounts[2].source, Source::Claim("pg-0-run".into()));
}
