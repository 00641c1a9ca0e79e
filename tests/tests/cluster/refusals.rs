//! What is refused, and how: before anything is held, in words that say what to do.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use crate::support::{Postgres, Space, eventually, sqlite::Application};

#[test]
fn a_snapshot_class_that_is_not_there_is_refused_before_anything_is_held() {
    let Some(space) = Space::new("noclass") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let blueprint = space.blueprint("postgresql", "atomic");
    let outcome = server.start_backup(&blueprint, &["--set=target.snapshotClass=gone"]).wait();
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("no volume snapshot class gone"), "{message}");
    assert_eq!(server.held(), Vec::<String>::new());
    space.assert_clean();
}

#[test]
fn a_file_of_somebody_else_is_named_before_anything_is_held_and_read_by_root_where_that_is_wanted() {
    let Some(space) = Space::new("foreign") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    space.apply(
        r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "foreign"}, "spec": {"restartPolicy": "Never",
          "containers": [{"name": "write", "image": "standstill.test/tools:1", "imagePullPolicy": "Never",
            "command": ["sh", "-c", "umask 077; echo x >/claim/data/foreign"],
            "volumeMounts": [{"name": "claim", "mountPath": "/claim"}]}],
          "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": "data-pg-0"}}]}}"#,
    );
    eventually(Duration::from_mins(1), "the file is there", || {
        space.get(&["pod", "foreign"])["status"]["phase"] == "Succeeded"
    });
    let outcome = server.backup(&[]);
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("/var/lib/postgresql/data/foreign belongs to the user 0"), "{message}");
    assert!(message.contains("`security: baseline`"), "{message}");
    assert_eq!(server.held(), Vec::<String>::new());
    space.assert_clean();

    let outcome = server.backup(&["--set=target.security=baseline"]);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let restored = server.of_newest("restore", &["--set=target.claim=restored"]);
    assert_eq!(restored.code(), Some(0), "{restored}");
    let foreign = space.directory("restored").join("data/foreign");
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "x\n");
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    assert_eq!((owner(&foreign), owner(foreign.parent().unwrap())), (0, 5432));
    space.assert_clean();
}

#[test]
fn freezing_a_file_system_is_refused_in_pods_before_anything_is_touched() {
    let Some(space) = Space::new("freeze") else { return };
    space.place.init();
    let application = Application::start(&space);
    let target = ["--set=target.workload=pod/app", "--set=path=/data", "--name=app", "--output=json"];
    let outcome = space.run(&[&["backup", "filesystem"], &target[..]].concat());
    assert_eq!(outcome.code(), Some(2), "{outcome}");
    let error = outcome.json()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("CAP_SYS_ADMIN"), "{outcome}");
    assert!(error["remedy"].as_str().unwrap().contains("snapshot"), "{outcome}");
    let before = application.acknowledged();
    eventually(Duration::from_secs(10), "the application writes", || application.acknowledged() > before + 1);
    space.assert_clean();
}
