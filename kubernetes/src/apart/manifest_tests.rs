use standstill_core::ErrorKind;

use super::*;
use crate::{
    mover::Credentials,
    target::{Mount, Owner, Security, Source, TargetPod},
};

fn target() -> Target {
    let mount = |path: &str, claim: &str| Mount {
        path: path.into(),
        source: Source::Claim(claim.into()),
        sub_path: Some("pg".into()),
        read_only: false,
    };
    Target {
        namespace: "db".into(),
        found_by: "statefulset/pg".into(),
        peers: None,
        pod: Some(TargetPod {
            name: "pg-0".into(),
            uid: "u-1".into(),
            address: "10.1.2.3".into(),
            node: "node-1".into(),
        }),
        container: "postgres".into(),
        image: "postgres:15".into(),
        pull_policy: Some("Never".into()),
        pull_secrets: Vec::new(),
        mounts: vec![mount("/var/lib/postgresql", "data-pg-0")],
        run_as_user: None,
        run_as_group: None,
        tolerations: Vec::new(),
    }
}

fn settings(owner: i64) -> MoverSettings {
    MoverSettings {
        image: "standstill.dev/standstill:1".into(),
        pull_policy: None,
        pull_secrets: vec!["registry".into()],
        tolerations: vec![json!({"key": "db", "operator": "Exists"})],
        repository: "s3://backups/pg".into(),
        credentials: Credentials {
            secret: "standstill-credentials-1".into(),
            password: "password".into(),
            environment: Vec::new(),
        },
        data_owner: Some(Owner { user: owner, group: Some(owner) }),
        security: Security::Restricted,
        owner: Some(json!({"kind": "ServiceAccount", "name": "standstill-run-1"})),
        start: Duration::from_mins(1),
    }
}

fn spec(image: &str) -> PodSpec {
    let texts = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    PodSpec {
        step: "prepare.convert".into(),
        image: image.into(),
        argv: ["sh", "-c", "echo $(date) $$ $PLAIN"].map(str::to_owned).into(),
        env: texts(&[("PLAIN", "$(TOKEN)")]),
        secret_env: texts(&[("TOKEN", "token")]),
        volumes: vec!["/var/lib/postgresql/data".into(), "/var/lib/postgresql/wal".into()],
        security: PodSecurity::Restricted,
        cpu: Some("500m".into()),
        memory: None,
    }
}

fn pod(spec: &PodSpec, owner: i64, target: Option<&Target>) -> Result<Value> {
    let record = PodRecord {
        run: "0198a1b2c3d47e5f8a9b0c1d2e3f4a5b".parse().unwrap(),
        namespace: "db".into(),
        name: "standstill-pod-1".into(),
    };
    let secrets = BTreeMap::from([("token".to_owned(), ("tokens".to_owned(), "key".to_owned()))]);
    let of = Of { record: &record, target, settings: &settings(owner), secrets: &secrets };
    of.pod(spec, Duration::from_mins(1))
}

#[test]
fn a_pod_of_a_step_fits_the_restricted_profile_beside_the_volumes_that_it_reads_and_holds_no_secret() {
    let made = pod(&spec("tool:1"), 26, Some(&target())).unwrap();
    let (spec, metadata) = (&made["spec"], &made["metadata"]);
    assert_eq!(metadata["ownerReferences"][0]["name"], "standstill-run-1");
    assert_eq!((&spec["activeDeadlineSeconds"], &spec["restartPolicy"]), (&json!(60), &json!("Never")));
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(spec["tolerations"], json!([{"key": "db", "operator": "Exists"}]));
    assert_eq!(spec["affinity"], beside("node-1"));
    let user = json!({
        "runAsNonRoot": true, "runAsUser": 26, "runAsGroup": 26, "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(spec["securityContext"], user);
    let container = &spec["containers"][0];
    assert_eq!(container["securityContext"], restricted(&[]));
    assert_eq!(container["command"][2], "echo $$(date) $$$$ $$PLAIN", "each $ reaches the shell");
    assert_eq!(container["resources"]["requests"], json!({"cpu": "500m", "memory": "256Mi"}));
    let environment = json!([
        {"name": "PLAIN", "value": "$$(TOKEN)"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "key"}}},
    ]);
    assert_eq!(container["env"], environment);
    let claim = json!({"name": "claim-0", "persistentVolumeClaim": {"claimName": "data-pg-0"}});
    assert_eq!(spec["volumes"], json!([{"name": "tmp", "emptyDir": {}}, claim]));
    let data = json!({
        "name": "claim-0", "mountPath": "/var/lib/postgresql", "readOnly": true, "subPath": "pg",
    });
    assert_eq!(container["volumeMounts"], json!([{"name": "tmp", "mountPath": "/tmp"}, data]));
}

#[test]
fn the_targets_own_image_is_pulled_as_the_target_pulls_it() {
    let made = pod(&spec("target"), 26, Some(&target())).unwrap();
    let container = &made["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &container["imagePullPolicy"]),
        (&json!("postgres:15"), &json!("Never"))
    );
    let error = pod(&PodSpec { volumes: Vec::new(), ..spec("target") }, 26, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
}

#[test]
fn where_files_are_roots_a_command_is_nobody_and_reads_none_and_without_a_profile_it_is_the_images_own_user()
{
    let refused = pod(&spec("tool:1"), 0, Some(&target())).unwrap_err();
    assert!(refused.to_string().contains("whose files are root's"), "{refused}");
    let without = PodSpec { volumes: Vec::new(), ..spec("tool:1") };
    let made = pod(&without, 0, Some(&target())).unwrap();
    assert_eq!(made["spec"]["securityContext"]["runAsUser"], NOBODY);
    let baseline = PodSpec { security: PodSecurity::Baseline, ..spec("tool:1") };
    assert!(pod(&baseline, 0, Some(&target())).is_ok());
    let baseline = PodSpec { security: PodSecurity::Baseline, volumes: Vec::new(), ..spec("tool:1") };
    let made = pod(&baseline, 26, Some(&target())).unwrap();
    assert!(made["spec"]["securityContext"].get("runAsUser").is_none());
    assert!(made["spec"].get("affinity").is_none(), "it may stand anywhere");
}
