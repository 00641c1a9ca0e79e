//! etcd in a pod, and somebody who writes to it.

use std::{path::PathBuf, time::Duration};

use super::{Space, client, eventually, place::Outcome, writer::Writer};

/// A client that puts what is said line by line. `etcdctl` has none that lives for more than one request.
const CLIENT: &str = r#"exec python3 -uc '
import base64, http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", 2379, timeout=30)
for line in sys.stdin:
    put = {"key": base64.b64encode(line.strip().encode()).decode(), "value": base64.b64encode(b"an order").decode()}
    connection.request("POST", "/v3/kv/put", json.dumps(put))
    answer = connection.getresponse()
    answer.read()
    print(answer.status)
'"#;

/// A member in a pod.
pub struct Etcd<'a> {
    space: &'a Space,
    pod: &'static str,
    values: PathBuf,
}

impl<'a> Etcd<'a> {
    /// Starts the StatefulSet `etcd`.
    pub fn start(space: &'a Space) -> Self {
        space.apply_file("etcd.yaml");
        let text = "parameters:\n  scratchOwner: /var/lib/etcd/data\ntarget: {workload: statefulset/etcd}\n";
        let member = Self { space, pod: "etcd-0", values: space.place.file("etcd.yaml", text) };
        member.await_ready();
        member
    }

    /// A pod of its own with a member on a claim that holds its data already.
    pub fn second(space: &'a Space, claim: &str) -> Self {
        space.apply(&format!(
            r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "second"}}, "spec": {{
              "terminationGracePeriodSeconds": 2, "automountServiceAccountToken": false,
              "securityContext": {{"runAsUser": 2379, "runAsGroup": 2379, "runAsNonRoot": true}},
              "containers": [{{"name": "etcd", "image": "standstill.test/databases:1", "imagePullPolicy": "Never",
                "command": ["etcd", "--name=default", "--data-dir=/var/lib/etcd/data",
                  "--initial-cluster=default=http://localhost:2380"],
                "volumeMounts": [{{"name": "data", "mountPath": "/var/lib/etcd"}}]}}],
              "volumes": [{{"name": "data", "persistentVolumeClaim": {{"claimName": "{claim}"}}}}]}}}}"#
        ));
        let member = Self { space, pod: "second", values: PathBuf::new() };
        member.await_ready();
        member
    }

    #[track_caller]
    fn await_ready(&self) {
        eventually(Duration::from_mins(2), &format!("etcd in {} answers", self.pod), || {
            client::ask(self.space, self.pod, "exec etcdctl endpoint health", "").is_ok()
        });
        self.space.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("pod/{}", self.pod)]);
    }

    /// Somebody who writes to it, over a connection inside the pod.
    pub fn writer(&self) -> Writer {
        let last = self.numbers().last().copied().unwrap_or_default();
        client::writer(self.space, self.pod, CLIENT, last, |number| {
            (format!("orders/{number:010}"), "200".to_owned())
        })
    }

    /// Every number that was written.
    #[track_caller]
    pub fn numbers(&self) -> Vec<i64> {
        let said =
            client::ask(self.space, self.pod, "exec etcdctl get --prefix --keys-only orders/", "").unwrap();
        let keys = said.lines().filter_map(|line| line.strip_prefix("orders/"));
        keys.map(|number| number.parse().unwrap()).collect()
    }

    /// Runs a command of the binary that must succeed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Outcome {
        let values = self.values.to_str().unwrap();
        let arguments: Vec<&str> =
            arguments.iter().chain(&["--output=json", "--values", values]).copied().collect();
        let outcome = self.space.run(&arguments);
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        outcome
    }
}
