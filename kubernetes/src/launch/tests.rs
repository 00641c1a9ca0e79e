use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};
use standstill_core::{point::RunId, secret::Secret};

use super::super::{Image, Launch, Mounts, Orders, Permissions, Placed, Purpose, Rule, scratch_claim};
use crate::target::{Mount, Owner, Security, Source, Target, TargetPod};

fn target() -> Target {
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
        pull_policy: Some("IfNotPresent".into()),
        pull_secrets: vec!["registry".into()],
        mounts: vec![
            Mount {
                path: "/var/lib/postgresql".into(),
                source: Source::Claim("data-pg-0".into()),
                sub_path: Some("pg".into()),
                read_only: false,
            },
            Mount {
                path: "/run/postgresql".into(),
                source: Source::Other("emptyDir".into()),
                sub_path: None,
                read_only: false,
            },
        ],
        run_as_user: Some(26),
        run_as_group: Some(27),
        tolerations: vec![json!({"key": "db", "operator": "Exists"})],
    }
}

fn launch(mounts: Mounts) -> Launch {
    let run: RunId = "0198a1b2c3d47e5f8a9b0c1d2e3f4a5b".parse().unwrap();
    let request = serde_json::from_value(json!({
        "blueprintText": "", "blueprintOrigin": "built-in:postgresql", "action": "backup", "application": "pg",
        "parameters": {}, "secrets": {"password": {"file": "/.standstill/parameters/password"}},
        "repository": "s3://backups/pg", "point": null,
    }))
    .unwrap();
    Launch {
        purpose: Purpose::Run,
        orders: Orders {
            run,
            request,
            repository: "s3://backups/pg".into(),
            place: Placed {
                target: target(),
                data_owner: Owner { user: 26, group: Some(27) },
                security: Security::default(),
                snapshot_class: None,
                group_snapshot_class: None,
                snapshot_deadline: None,
            },
            members: BTreeMap::new(),
            permissions: Permissions::default(),
            start_deadline: None,
            image: "standstill.dev/standstill:1".into(),
            environment: vec!["AWS_SECRET_ACCESS_KEY".into()],
            secrets: BTreeMap::new(),
            owner: None,
        },
        permissions: Permissions {
            namespaced: vec![Rule {
                api_group: "coordination.k8s.io".into(),
                resources: vec!["leases".into()],
                resource_names: Vec::new(),
                verbs: vec!["get".into()],
                reason: "the lock".into(),
            }],
            cluster: Vec::new(),
        },
        mounts,
        owner: Owner { user: 26, group: Some(27) },
        image: Image::Target,
        helpers: false,
        password: Secret::new("hunter2"),
        environment: BTreeMap::from([("AWS_SECRET_ACCESS_KEY".into(), Secret::new("hunter3"))]),
        parameters: BTreeMap::from([("password".into(), Secret::new("hunter4"))]),
        references: BTreeMap::from([("token".into(), ("app".into(), "token.txt".into()))]),
    }
}

fn shown(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[test]
fn the_job_of_a_backup_stands_beside_the_target_and_only_reads_its_volumes() {
    insta::assert_snapshot!(shown(&super::job(&launch(Mounts::of_backup(&target(), false)))));
}

#[test]
fn a_run_without_programs_of_the_target_begins_in_the_own_image_at_once() {
    let launch = Launch { image: Image::Own, helpers: true, ..launch(Mounts::of_backup(&target(), false)) };
    let job = super::job(&launch);
    let pod = &job["spec"]["template"]["spec"];
    assert!(pod.get("initContainers").is_none());
    for container in pod["containers"].as_array().unwrap() {
        assert_eq!(container["image"], "standstill.dev/standstill:1");
        assert_eq!(container["command"][0], "/standstill");
        assert!(container.get("imagePullPolicy").is_none());
    }
    assert!(!pod.to_string().contains(r#""bin""#));
}

#[test]
fn the_job_of_a_restore_is_root_with_few_capabilities_and_mounts_the_new_claim() {
    let path = Path::new("/var/lib/postgresql/data");
    let mut target = target();
    let refused = Mounts::of_restore(&target, path, "data-pg-0", "1Gi", None).unwrap_err();
    assert_eq!(refused.to_string(), "the claim data-pg-0 is that of statefulset/pg, which runs");
    target.pod = None;
    let mounts = Mounts::of_restore(&target, path, "data-new", "1Gi", Some("fast")).unwrap();
    insta::assert_snapshot!(shown(&mounts.claims[0]));
    let job = super::job(&launch(mounts));
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsUser"], 0);
    assert!(pod.get("affinity").is_none());
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"]["capabilities"],
        json!({"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"]})
    );
    let mount = container["volumeMounts"].as_array().unwrap().last().unwrap();
    assert_eq!(
        mount,
        &json!({"name": "claim-0", "mountPath": "/var/lib/postgresql", "readOnly": false, "subPath": "pg"})
    );
}

#[test]
fn scratch_copies_lie_on_the_claim_that_is_made_for_them() {
    let mut launch = launch(Mounts::default());
    let claim = scratch_claim(&launch.orders.run, "20Gi", None);
    // None is the cluster's own class, and "" would be no class at all.
    assert!(claim["spec"].get("storageClassName").is_none());
    launch.mounts.scratch = Some(claim.clone());
    let job = super::job(&launch);
    let volumes = job["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    let scratch: Vec<&Value> = volumes.iter().filter(|volume| volume["name"] == "scratch").collect();
    let name = &claim["metadata"]["name"];
    assert_eq!(scratch, [&json!({"name": "scratch", "persistentVolumeClaim": {"claimName": name}})]);
}

#[test]
fn secret_values_are_in_the_secret_alone() {
    let launch = launch(Mounts::of_backup(&target(), false));
    let owner = json!({"uid": "1"});
    let others = [
        super::job(&launch),
        super::orders(&launch, Some(&owner)).unwrap(),
        super::role(&launch, &owner),
        super::binding(&launch, &owner),
        super::account(&launch),
    ];
    assert!(others.iter().all(|manifest| !manifest.to_string().contains("hunter")));
    insta::assert_snapshot!(shown(&super::secret(&launch, &owner)));
}

#[test]
fn the_role_holds_the_rules_without_their_reasons() {
    let launch = launch(Mounts::of_backup(&target(), false));
    insta::assert_snapshot!(shown(&super::role(&launch, &json!({"uid": "1"}))));
}

#[test]
fn members_of_a_group_share_a_pod_where_their_volumes_can() {
    let at = |path: &str, node: &str| {
        let mut target = target();
        target.mounts[0].path = path.into();
        target.pod.as_mut().unwrap().node = node.into();
        Mounts::of_backup(&target, false)
    };
    let both =
        |second: Mounts| Mounts::of_members(vec![("orders", at("/var/lib/a", "node-1")), ("index", second)]);
    let mounts = both(at("/var/lib/b", "node-1")).unwrap();
    assert_eq!((mounts.mounted.len(), mounts.node.as_deref()), (2, Some("node-1")));
    // One that mounts nothing may be anywhere.
    assert_eq!(both(Mounts::default()).unwrap().mounted.len(), 1);
    let refused = |second: Mounts| both(second).unwrap_err().to_string();
    assert_eq!(
        refused(at("/var/lib/a/b", "node-1")),
        "the member orders has a volume at /var/lib/a and the member index at /var/lib/a/b, and no pod can mount both"
    );
    assert!(refused(at("/var/lib/b", "node-2")).contains("different nodes (node-1 and node-2)"));
}

#[test]
fn helpers_have_a_container_of_their_own_without_the_runners_secrets_and_token() {
    let launch = Launch { helpers: true, ..launch(Mounts::of_backup(&target(), false)) };
    let job = super::job(&launch);
    let containers = job["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let names: Vec<&str> = containers.iter().filter_map(|container| container["name"].as_str()).collect();
    assert_eq!(names, ["runner", "helpers"]);
    assert!(!containers[1]["env"].to_string().contains("secretKeyRef"));
    let mounts = |container: &Value| -> Vec<String> {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        mounts.map(|mount| format!("{} {}", mount["name"], mount["mountPath"])).collect()
    };
    let (runner, helpers) = (mounts(&containers[0]), mounts(&containers[1]));
    let lacks: Vec<&String> = runner.iter().filter(|mount| !helpers.contains(mount)).collect();
    assert_eq!(
        lacks,
        [r#""credentials" "/.standstill/credentials""#, r#""parameters" "/.standstill/parameters""#]
    );
    let other: Vec<&String> = helpers.iter().filter(|mount| !runner.contains(mount)).collect();
    assert_eq!(other, [r#""no-token" "/var/run/secrets/kubernetes.io/serviceaccount""#]);
    let socket = containers[1]["command"].as_array().unwrap().last().unwrap();
    let told = containers[0]["env"].as_array().unwrap().last().unwrap();
    assert_eq!((&told["name"], &told["value"]), (&json!(super::super::HELPERS), socket));
}
