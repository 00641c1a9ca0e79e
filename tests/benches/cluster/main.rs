//! What it costs to have a volume backed up by pods, beside the same backup by a local process: side by side in one run.
//!
//! `tests/cluster/up`, then `STANDSTILL_KUBECONFIG=… STANDSTILL_BIN=… cargo bench -p standstill-tests --bench cluster`.
//! Both read the same files, the directory of a claim on this machine, and write to the same object store. Needs root
//! and 14 GB of room.
#![allow(missing_docs, reason = "a program")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot be made ends it"
)]
#![allow(
    dead_code,
    unused_imports,
    reason = "the tests' support and the other benchmark have more than is measured"
)]

#[path = "../speed/generate.rs"]
mod generate;
#[path = "../speed/measure.rs"]
mod measure;
#[path = "../../tests/cluster/support/mod.rs"]
mod support;

mod agents;

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use measure::{line, mebibytes, median, ratio, seconds, title};
use support::{Space, eventually, place::Outcome, sqlite::Application};

const MIB: u64 = 1 << 20;
/// The user of the application, whose files a mover reads.
const OWNER: u32 = 1000;

/// Ends with status 1 when a limit is missed.
fn main() -> ExitCode {
    let mut missed = Missed::default();
    title("A SQLite database that is written to: by pods, and by a local process");
    let Some(space) = Space::new("small") else { return ExitCode::SUCCESS };
    let small = Database::new(&space);
    let taken: Vec<_> = (0..5).map(|round| (small.by_pods(round).took, small.locally(round).took)).collect();
    let (pods, local) = (
        median(taken.iter().map(|(pods, _)| *pods).collect()),
        median(taken.iter().map(|(_, local)| *local).collect()),
    );
    line("by pods", &seconds(pods), "");
    line("locally", &seconds(local), "");
    let more = pods.as_secs_f64() - local.as_secs_f64();
    line("more", &format!("{more:+.2} s"), "at most 3 s");
    missed.unless(more <= 3.0, "what pods cost");

    title("A volume of 2 GiB: by pods, and by a local process");
    let Some(large) = Volume::new("large", 16, 128 * MIB) else { return ExitCode::SUCCESS };
    let watch = agents::Watch::start();
    // Neither is always the first, which finds less of the disk in memory.
    let taken: Vec<_> = (0..4)
        .map(|round| {
            let first = (round % 2 == 0).then(|| uploading(&large.by_pods(round)));
            let local = uploading(&large.locally(round));
            (first.unwrap_or_else(|| uploading(&large.by_pods(round))), local)
        })
        .collect();
    let agents = watch.stop();
    let pods = median(taken.iter().map(|(pods, _)| *pods).collect());
    let local = median(taken.iter().map(|(_, local)| *local).collect());
    line("uploaded by a pod", &seconds(pods), "");
    line("uploaded locally", &seconds(local), "");
    line("the pod's speed / the local one", &format!("{:.2}", ratio(local, pods)), "at least 0.9");
    missed.unless(ratio(local, pods) >= 0.9, "the speed of an upload");
    for (name, memory) in agents {
        line(&format!("memory of `standstill agent {name}`"), &mebibytes(memory), "at most 200 MiB");
        missed.unless(memory <= 200 * MIB, &format!("the memory of {name}"));
    }
    missed.status()
}

/// The limits that were missed.
#[derive(Default)]
struct Missed(Vec<String>);

impl Missed {
    fn unless(&mut self, holds: bool, what: &str) {
        if !holds {
            self.0.push(what.to_owned());
        }
    }

    fn status(self) -> ExitCode {
        for what in &self.0 {
            line("MISSED", what, "");
        }
        ExitCode::from(u8::from(!self.0.is_empty()))
    }
}

/// How long the data was on its way.
fn uploading(outcome: &Outcome) -> Duration {
    let report = outcome.json();
    let phases = report["phases"].as_array().unwrap();
    let store = phases.iter().find(|phase| phase["name"] == "store");
    let store = store.unwrap_or_else(|| panic!("nothing was stored: {outcome}"));
    Duration::from_millis(store["milliseconds"].as_u64().unwrap())
}

/// Backs up into a repository of this backup's own, so that nothing is there already.
fn back_up(space: &Space, repository: &str, arguments: &[&str]) -> Outcome {
    let repository = format!("--repository=s3://backups/{}-{repository}", space.name);
    space.place.ok(["init", &repository]);
    let outcome = space.place.run(arguments.iter().copied().chain(["--output=json", &repository]));
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    outcome
}

/// Arguments of a run in a space's cluster.
fn in_pods(space: &Space) -> [&str; 6] {
    ["--on=kubernetes", "--namespace", &space.name, "--image", &space.image, "--set=target.workload=pod/app"]
}

/// A database in a pod whose files this machine sees, too: the node is this machine.
struct Database<'a> {
    space: &'a Space,
    /// Where they are.
    directory: PathBuf,
    _application: Application<'a>,
}

impl<'a> Database<'a> {
    fn new(space: &'a Space) -> Self {
        let application = Application::start(space);
        Self { space, directory: space.directory("app-data"), _application: application }
    }

    fn backup(&self, repository: &str, directory: &str, more: &[&str]) -> Outcome {
        let directory = format!("--set=directory={directory}");
        let arguments = ["backup", "sqlite", "--name=app", "--set=file=app.db", &directory];
        back_up(self.space, repository, &[&arguments[..], more].concat())
    }

    fn by_pods(&self, round: usize) -> Outcome {
        self.backup(&format!("pods-{round}"), "/data", &in_pods(self.space))
    }

    fn locally(&self, round: usize) -> Outcome {
        self.backup(&format!("local-{round}"), &self.directory.display().to_string(), &[])
    }
}

/// A claim with files, and a pod that has it.
struct Volume {
    space: Space,
    /// Where the claim's files are on this machine.
    directory: PathBuf,
    blueprint: String,
}

impl Volume {
    fn new(name: &str, files: u64, size: u64) -> Option<Self> {
        let space = Space::new(name)?;
        space.apply(
            r#"{"apiVersion": "v1", "kind": "List", "items": [
              {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {
                "storageClassName": "btrfs", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "4Gi"}}}},
              {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"}, "spec": {
                "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
                "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
                "containers": [{"name": "app", "image": "standstill.test/databases:1", "imagePullPolicy": "Never",
                  "command": ["sleep", "100000"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}}]}"#,
        );
        space.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "pod/app"]);
        let directory = space.directory("data").join("files");
        fill(&directory, files, size);
        let blueprint = space.place.file("volume.yaml", BLUEPRINT).to_str().unwrap().to_owned();
        Some(Self { space, directory, blueprint })
    }

    fn backup(&self, repository: &str, more: &[&str]) -> Outcome {
        let arguments = ["backup", &self.blueprint, "--name=volume"];
        back_up(&self.space, repository, &[&arguments[..], more].concat())
    }

    fn by_pods(&self, round: usize) -> Outcome {
        let more = [&in_pods(&self.space)[..], &["--set=directory=/data/files"]].concat();
        self.backup(&format!("pods-{round}"), &more)
    }

    fn locally(&self, round: usize) -> Outcome {
        let directory = format!("--set=directory={}", self.directory.display());
        self.backup(&format!("local-{round}"), &[&directory])
    }
}

fn fill(directory: &Path, files: u64, size: u64) {
    fs::create_dir(directory).unwrap();
    for number in 0..files {
        let path = directory.join(number.to_string());
        let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
        generate::write_to(&mut file, size, number * 2 + 1);
        chown(&path, Some(OWNER), Some(OWNER)).unwrap();
    }
    chown(directory, Some(OWNER), Some(OWNER)).unwrap();
    measure::run(&mut std::process::Command::new("sync"));
    eventually(Duration::from_mins(1), "the files are there", || {
        fs::read_dir(directory).unwrap().count() as u64 == files
    });
}

/// Nothing is quiesced: the data stand still by themselves.
const BLUEPRINT: &str = r#"apiVersion: standstill.dev/v1alpha1
kind: Blueprint
metadata: {name: volume}
spec:
  summary: A volume
  parameters:
    directory: {type: path}
  volumes:
    data: {path: "{{ params.directory }}"}
  actions:
    backup:
      quiesce:
        - name: still
          pair: {blocksWrites: true, acquire: ["true"], confirm: {command: ["true"], expect: "result.exitCode == 0"}, release: ["true"]}
      capture:
        - name: data
          snapshot: {volume: data, mode: atomic}
      store:
        - volume: {from: captures.data, artifact: data}
"#;
