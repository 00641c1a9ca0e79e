//! A namespace of a test's own, a part of the object store of its own, and the binary run against them.

use std::{
    ffi::OsString,
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{
    eventually, image,
    place::{Outcome, Place, Started},
};

/// A namespace.
pub struct Space {
    pub name: String,
    pub place: Place,
    /// The binary as an image of the cluster.
    pub image: String,
    /// Where the cluster keeps what it knows.
    pub state: PathBuf,
    pub kubeconfig: PathBuf,
}

/// What a run makes in its namespace.
const KINDS: &str = "pods,persistentvolumeclaims,volumesnapshots,volumegroupsnapshots,leases.coordination.k8s.io,secrets,\
                     configmaps,jobs,serviceaccounts,roles,rolebindings";

impl Space {
    /// A new namespace; `None`, and said, where there is no cluster.
    pub fn new(name: &str) -> Option<Self> {
        let Some(kubeconfig) = std::env::var_os("STANDSTILL_KUBECONFIG").map(PathBuf::from) else {
            let why = "STANDSTILL_KUBECONFIG is not set; tests/cluster/up says where the kubeconfig is";
            assert!(std::env::var_os("STANDSTILL_CLUSTER_NEEDED").is_none(), "may not be skipped: {why}");
            println!("skipped: {why}");
            return None;
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let name = format!("{name}-{}-{}", std::process::id(), now.subsec_micros());
        let state = kubeconfig.parent().unwrap().to_owned();
        let mut place = Place::new();
        place.env.push(("KUBECONFIG".to_owned(), kubeconfig.clone().into()));
        place.env.push(("STANDSTILL_REPOSITORY".to_owned(), format!("s3://backups/{name}").into()));
        for line in fs::read_to_string(state.join("s3.env")).unwrap().lines() {
            let (key, value) = line.split_once('=').unwrap();
            place.env.push((key.to_owned(), value.into()));
        }
        let space = Self { image: image::standstill(&state), name, place, state, kubeconfig };
        space.kubectl(&["create", "namespace", &space.name]);
        Some(space)
    }

    /// `kubectl` in the namespace, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--namespace", &self.name]).args(arguments);
        command
    }

    /// Runs `kubectl`, whatever comes of it.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs `kubectl`; its standard output.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments);
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The objects of a kind, or one object.
    #[track_caller]
    pub fn get(&self, what: &[&str]) -> Value {
        let arguments: Vec<&str> = ["get", "--output=json"].iter().chain(what).copied().collect();
        serde_json::from_str(&self.kubectl(&arguments)).unwrap()
    }

    /// Applies manifests.
    #[track_caller]
    pub fn apply(&self, manifests: &str) {
        let mut command = self.command(&["apply", "--filename=-"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a script prints that reads a claim at `/data`, as the user of the applications here.
    #[track_caller]
    pub fn read_on(&self, claim: &str, script: &str) -> String {
        let pod = format!("read-{claim}");
        let manifest = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod},
            "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": false,
                "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
                "containers": [{
                    "name": "read", "image": "standstill.test/databases:1", "imagePullPolicy": "Never",
                    "command": ["sh", "-c", script],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
            },
        });
        self.apply(&manifest.to_string());
        let phase = || self.get(&["pod", &pod])["status"]["phase"].clone();
        let ended = |phase: &Value| phase == "Succeeded" || phase == "Failed";
        eventually(Duration::from_mins(2), "the copy is read", || ended(&phase()));
        let said = self.kubectl(&["logs", &pod]);
        assert_eq!(phase(), "Succeeded", "{said}");
        said
    }

    /// Where a claim's files are on this machine, which is the node.
    #[track_caller]
    pub fn directory(&self, claim: &str) -> PathBuf {
        let volume = self.kubectl(&["get", "pvc", claim, "--output=jsonpath={.spec.volumeName}"]);
        self.kubectl(&["get", "pv", &volume, "--output=jsonpath={.spec.local.path}"]).into()
    }

    /// Applies one of the manifests that the cluster ships with.
    #[track_caller]
    pub fn apply_file(&self, name: &str) {
        self.apply(&fs::read_to_string(image::folder().join("manifests").join(name)).unwrap());
    }

    /// A blueprint that ships, with one way of capturing instead of the best one: a file.
    pub fn blueprint(&self, name: &str, mode: &str) -> String {
        let shipped = image::folder().join(format!("../../blueprints/{name}/blueprint.yaml"));
        let text = fs::read_to_string(shipped).unwrap();
        assert!(text.contains("mode: auto"), "{name}");
        let text = text.replace("mode: auto", &format!("mode: {mode}"));
        self.place.file(&format!("{name}-{mode}.yaml"), &text).to_str().unwrap().to_owned()
    }

    /// Starts the binary on this namespace's cluster.
    #[track_caller]
    pub fn start(&self, arguments: &[&str]) -> Started {
        self.start_with(arguments, &[])
    }

    /// Starts the binary on this namespace's cluster, with more environment variables.
    #[track_caller]
    pub fn start_with(&self, arguments: &[&str], env: &[(&str, OsString)]) -> Started {
        let cluster = ["--on=kubernetes", "--namespace", &self.name, "--image", &self.image];
        let mut command = self.place.command(arguments.iter().chain(&cluster).copied());
        command.envs(env.iter().map(|(name, value)| (name, value)));
        self.place.spawn(command)
    }

    /// Runs the binary on this namespace's cluster.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.start(arguments).wait()
    }

    /// Runs a command of the binary that looks at this namespace from outside.
    #[track_caller]
    pub fn run_plain(&self, arguments: &[&str]) -> Outcome {
        let place = ["--on=kubernetes", "--namespace", &self.name, "--output=json"];
        self.place.ok(arguments.iter().chain(&place).copied())
    }

    /// Where the node keeps the logs of its pods: `pods/NAMESPACE_POD_UID/CONTAINER/NUMBER.log`.
    pub fn node_logs(&self) -> PathBuf {
        let s3 = fs::read_link(self.state.join("s3")).unwrap();
        s3.with_file_name("node").join("log")
    }

    /// What is in the object store's buckets: gigabytes, where tests are run in their full form.
    fn remove_repositories(&self) {
        let Ok(prefixes) = fs::read_dir(self.state.join("s3/backups")) else { return };
        for prefix in prefixes.flatten() {
            if prefix.file_name().to_string_lossy().starts_with(&self.name) {
                let _gone = fs::remove_dir_all(prefix.path());
            }
        }
    }

    /// What is there of one run, or of all, besides journals.
    #[track_caller]
    pub fn of_runs(&self, run: Option<&str>) -> Vec<String> {
        let selector = match run {
            Some(run) => format!("--selector=standstill.dev/run={run}"),
            None => "--selector=app.kubernetes.io/managed-by=standstill".to_owned(),
        };
        let found = self.get(&[KINDS, &selector]);
        let is_journal = |object: &&Value| {
            object["kind"] == "ConfigMap" && object["metadata"]["labels"]["standstill.dev/role"] == "journal"
        };
        let here = found["items"].as_array().unwrap().iter().filter(|object| !is_journal(object));
        // What has labels of ours and no namespace; what the storage makes for it has none of ours.
        let global = self.get(&["clusterrolebindings"]);
        let global = global["items"].as_array().unwrap().iter().filter(|object| match run {
            Some(run) => object["metadata"]["labels"]["standstill.dev/run"] == run,
            None => object["metadata"]["labels"]["standstill.dev/namespace"] == self.name.as_str(),
        });
        let said = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
        here.chain(global).map(said).chain(self.orphans()).collect()
    }

    /// The contents whose snapshots in this namespace are gone: what the storage keeps then, nobody ever removes.
    #[track_caller]
    fn orphans(&self) -> Vec<String> {
        let snapshots = self.get(&["volumesnapshots,volumegroupsnapshots"]);
        let snapshots = snapshots["items"].as_array().unwrap();
        let exists = |reference: &Value| {
            snapshots.iter().any(|snapshot| snapshot["metadata"]["uid"] == reference["uid"])
        };
        let contents = self.get(&["volumesnapshotcontents,volumegroupsnapshotcontents"]);
        let contents = contents["items"].as_array().unwrap().iter();
        let orphan = |content: &&Value| {
            let spec = &content["spec"];
            let references = [&spec["volumeSnapshotRef"], &spec["volumeGroupSnapshotRef"]];
            references.iter().any(|of| of["namespace"] == self.name.as_str() && !exists(of))
        };
        contents
            .filter(orphan)
            .map(|content| format!("the content {}", content["metadata"]["name"]))
            .collect()
    }

    /// What runs left, besides their journals.
    #[track_caller]
    pub fn leftovers(&self) -> Vec<String> {
        self.of_runs(None)
    }

    /// Asserts that runs left nothing, allowing for what is on its way out.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.await_none(None, Duration::from_mins(1));
    }

    /// Waits until nothing is there of one run, or of all, besides journals.
    #[track_caller]
    pub fn await_none(&self, run: Option<&str>, within: Duration) {
        let whose = run.map_or_else(|| self.name.clone(), |run| format!("run {run}"));
        let mut last = Vec::new();
        eventually(within, &format!("nothing is left of {whose}"), || {
            let left = self.of_runs(run);
            if left != last {
                println!("still there: {left:?}");
                last.clone_from(&left);
            }
            left.is_empty()
        });
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.try_kubectl(&["get", "events", "--sort-by=.lastTimestamp"]);
            println!("{}", String::from_utf8_lossy(&said.stdout));
            let said =
                self.try_kubectl(&["get", "pods,jobs,pvc,volumesnapshots,configmaps", "--output=wide"]);
            println!("{}", String::from_utf8_lossy(&said.stdout));
        }
        if std::env::var_os("STANDSTILL_KEEP").is_none() {
            let _gone = self.try_kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
            self.remove_repositories();
        }
    }
}
