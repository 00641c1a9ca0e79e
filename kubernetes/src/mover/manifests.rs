//! What a mover is made of: a claim of the snapshot, its orders, and the pod that reads the one by the other.

use serde_json::{Value, json};

use super::{MoverSettings, Source};
use crate::{
    names,
    record::MoverRecord,
    snapshot::api::GROUP,
    target::{Owner, Security},
};

/// Where the program is in the project's own image.
const PROGRAM: &str = "/standstill";
/// Where the mover's own things are mounted, out of the way of any database's path.
const OWN: &str = "/.standstill";
/// Who reads files of several owners.
const ROOT: Owner = Owner { user: 0, group: Some(0) };
/// The container's name.
pub(super) const CONTAINER: &str = "mover";
/// The key of the orders, and their file name.
const ORDERS: &str = "spec.json";

fn metadata(record: &MoverRecord, settings: &MoverSettings) -> Value {
    json!({
        "name": record.name,
        "namespace": record.namespace,
        "labels": names::labels(&record.run, "mover"),
        "ownerReferences": settings.owner.iter().collect::<Vec<_>>(),
    })
}

/// The claim that is made of the snapshot.
pub(super) fn claim(record: &MoverRecord, settings: &MoverSettings, source: &Source) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(record, settings),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": source.storage_class,
            "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": source.size}},
            "dataSource": {"apiGroup": GROUP, "kind": "VolumeSnapshot", "name": source.snapshot},
        },
    })
}

/// The orders: what is read, and as what it is stored. No secrets.
pub(super) fn orders(record: &MoverRecord, settings: &MoverSettings, spec: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(record, settings),
        "immutable": true,
        "data": {ORDERS: spec},
    })
}

/// The pod. It may do nothing but read the volume and reach the repository.
pub(super) fn pod(record: &MoverRecord, settings: &MoverSettings, source: &Source) -> Value {
    let reader = match settings.security {
        Security::Restricted => source.owner,
        Security::Baseline => ROOT,
    };
    let mut context = json!({"runAsUser": reader.user, "seccompProfile": {"type": "RuntimeDefault"}});
    if let Some(group) = reader.group {
        context["runAsGroup"] = json!(group);
    }
    // The restricted profile wants it said; files of root can only be read by root.
    if reader.user != 0 {
        context["runAsNonRoot"] = json!(true);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(record, settings),
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            // Long enough to forget what was half stored.
            "terminationGracePeriodSeconds": 30,
            "imagePullSecrets": settings.pull_secrets.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "tolerations": settings.tolerations,
            "securityContext": context,
            "containers": [container(settings, source)],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": record.name}},
                {"name": "orders", "configMap": {"name": record.name}},
                {"name": "credentials", "secret": {
                    "secretName": settings.credentials.secret,
                    "items": [{"key": settings.credentials.password, "path": "password"}],
                }},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    })
}

fn container(settings: &MoverSettings, source: &Source) -> Value {
    let tmp = format!("{OWN}/tmp");
    let plain = [("HOME", &tmp), ("TMPDIR", &tmp)].map(|(name, value)| json!({"name": name, "value": value}));
    let secret = settings.credentials.environment.iter().map(|key| {
        let from = json!({"secretKeyRef": {"name": settings.credentials.secret, "key": key}});
        json!({"name": key, "valueFrom": from})
    });
    // Mounted for writing, because some file systems must replay their journal; the container itself only reads.
    let mut data = json!({"name": "data", "mountPath": source.mount, "readOnly": true});
    if let Some(sub_path) = &source.sub_path {
        data["subPath"] = json!(sub_path);
    }
    json!({
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": [PROGRAM, "agent", "transfer"],
        "args": [
            format!("--spec={OWN}/orders/{ORDERS}"),
            format!("--repository={}", settings.repository),
            format!("--password-file={OWN}/credentials/password"),
        ],
        "env": plain.into_iter().chain(secret).collect::<Vec<_>>(),
        "volumeMounts": [
            data,
            {"name": "orders", "mountPath": format!("{OWN}/orders"), "readOnly": true},
            {"name": "credentials", "mountPath": format!("{OWN}/credentials"), "readOnly": true},
            {"name": "tmp", "mountPath": tmp},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": capabilities(settings.security),
        },
    })
}

/// The baseline profile has no `DAC_READ_SEARCH`, which would be enough; the volume is mounted for reading alone.
fn capabilities(security: Security) -> Value {
    match security {
        Security::Restricted => json!({"drop": ["ALL"]}),
        Security::Baseline => json!({"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mover::Credentials;

    fn record() -> MoverRecord {
        MoverRecord {
            run: "0198a1b2c3d47e5f8a9b0c1d2e3f4a5b".parse().unwrap(),
            namespace: "db".into(),
            name: "standstill-put-data-1".into(),
        }
    }

    fn settings() -> MoverSettings {
        MoverSettings {
            image: "standstill.dev/standstill:1".into(),
            pull_policy: Some("IfNotPresent".into()),
            pull_secrets: vec!["registry".into()],
            tolerations: Vec::new(),
            repository: "s3://backups/pg".into(),
            credentials: Credentials {
                secret: "standstill-credentials-1".into(),
                password: "password".into(),
                environment: vec!["AWS_ACCESS_KEY_ID".into()],
            },
            data_owner: None,
            security: Security::Restricted,
            owner: None,
            start: std::time::Duration::from_mins(1),
        }
    }

    fn source() -> Source {
        Source {
            snapshot: "standstill-data-1".into(),
            storage_class: Some("fast".into()),
            for_a_pod: false,
            size: "20Gi".into(),
            mount: "/var/lib/postgresql".into(),
            sub_path: Some("pg".into()),
            owner: Owner { user: 26, group: Some(27) },
        }
    }

    fn shown(value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap()
    }

    #[test]
    fn the_claim_is_made_of_the_snapshot() {
        insta::assert_snapshot!(shown(&claim(&record(), &settings(), &source())));
    }

    #[test]
    fn the_pod_fits_the_restricted_profile_and_holds_no_secret() {
        insta::assert_snapshot!(shown(&pod(&record(), &settings(), &source())));
    }

    #[test]
    fn files_of_root_are_read_as_root_without_any_capability() {
        let owner = Owner { user: 0, group: Some(0) };
        let pod = pod(&record(), &settings(), &Source { owner, sub_path: None, ..source() });
        assert_eq!(pod["spec"]["securityContext"]["runAsUser"], 0);
        assert!(pod["spec"]["securityContext"].get("runAsNonRoot").is_none());
        assert!(pod["spec"]["containers"][0]["volumeMounts"][0].get("subPath").is_none());
        assert_eq!(pod["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"][0], "ALL");
    }

    #[test]
    fn files_of_several_owners_are_read_by_root_with_one_capability() {
        let settings = MoverSettings { security: Security::Baseline, ..settings() };
        let pod = pod(&record(), &settings, &source());
        assert_eq!(pod["spec"]["securityContext"]["runAsUser"], 0);
        assert!(pod["spec"]["securityContext"].get("runAsNonRoot").is_none());
        let container = &pod["spec"]["containers"][0];
        assert_eq!(
            container["securityContext"]["capabilities"],
            json!({"drop": ["ALL"], "add": ["DAC_OVERRIDE"]})
        );
        assert_eq!(container["volumeMounts"][0]["readOnly"], true);
    }
}
