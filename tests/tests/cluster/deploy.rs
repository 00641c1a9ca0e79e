//! The manifests of `deploy/`: what may start runs can, and the nightly job backs up and verifies.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::support::{Postgres, Space, eventually, image, place::PASSWORD};

/// A manifest of `deploy/`, for a namespace.
fn manifest(space: &Space, name: &str) -> String {
    let text = fs::read_to_string(image::folder().join("../../deploy").join(name)).unwrap();
    text.replace("namespace: shop", &format!("namespace: {}", space.name))
        .replace("launcher-shop", &format!("launcher-{}", space.name))
        .replace("s3://backups/shop", &format!("s3://backups/{}", space.name))
        .replace(concat!("standstill.dev/standstill:", env!("CARGO_PKG_VERSION")), &space.image)
        // The tests' Kubernetes is older than this version of CronJobs, which are the same in both.
        .replace("apiVersion: batch/v1\nkind: CronJob", "apiVersion: batch/v1beta1\nkind: CronJob")
}

/// The right of the namespace's service account to read what belongs to no namespace; removed with this value.
struct OfCluster<'a>(&'a Space);

impl Drop for OfCluster<'_> {
    fn drop(&mut self) {
        let name = format!("standstill-launcher-{}", self.0.name);
        self.0.try_kubectl(&["delete", "clusterrolebinding", &name, "--ignore-not-found"]);
    }
}

#[test]
fn the_nightly_job_backs_up_and_verifies_with_no_more_rights_than_it_is_given() {
    let Some(space) = Space::new("nightly") else { return };
    space.place.init();
    let _server = Postgres::start(&space);
    let _of_cluster = OfCluster(&space);
    space.apply(&manifest(&space, "rights.yaml"));
    let of_store = space.place.env.iter().filter(|(name, _)| name.starts_with("AWS_"));
    let mut data: serde_json::Map<String, Value> =
        of_store.map(|(name, value)| (name.clone(), json!(value.to_str().unwrap()))).collect();
    data.insert("password".into(), json!(*PASSWORD));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "standstill-repository"}, "stringData": data});
    space.apply(&secret.to_string());
    space.apply(&manifest(&space, "nightly.yaml"));

    // Tonight is now.
    let template = space.get(&["cronjob", "standstill-pg"])["spec"]["jobTemplate"]["spec"].clone();
    let job =
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "tonight"}, "spec": template});
    space.apply(&job.to_string());
    let mut status = Value::Null;
    eventually(Duration::from_mins(5), "the nightly job ends", || {
        status = space.get(&["job", "tonight"])["status"].clone();
        status["succeeded"] == 1 || status["failed"] == 1
    });
    let logs = space.try_kubectl(&["logs", "job/tonight", "--all-containers"]);
    let logs = String::from_utf8_lossy(&[logs.stdout, logs.stderr].concat()).into_owned();
    assert_eq!(status["succeeded"], 1, "{logs}");
    assert!(!logs.contains(&*PASSWORD), "{logs}");
    let listed = space.place.ok(["list", "--output=json"]).json();
    assert_eq!(listed[0]["verification"]["outcome"], "passed", "{listed:#}");
    space.assert_clean();
}
