//! A machine outside of the cluster, as the place that a run is at: it reaches the target by the API server, and has
//! neither its files nor its programs.
//!
//! A decorator: what needs no more than a directory of the run's own is done by the machine's own runtime, and
//! everything that would be done to the wrong machine is refused.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Endpoint, Undone},
    point::RunId,
    runtime::{
        CaptureAbility, CaptureMode, Captured, Command, Consumer, KeeperSpec, Output, Producer, RunAs,
        Runtime, ScratchIntent, Service, ServiceSpec, Session, SnapshotIntent, Snapshotter, Volume,
    },
    secret::Secret,
};
use tokio_util::sync::CancellationToken;

/// Why a volume is not read.
const NO_FILES: &str = "its files cannot be read from outside of the cluster";

/// The runtime of a machine outside of the cluster, for [`crate::KubernetesRuntime`] to stand on.
pub struct Outside {
    machine: Arc<dyn Runtime>,
}

impl Outside {
    /// A place of this machine, whose own runtime it is given.
    pub fn new(machine: Arc<dyn Runtime>) -> Self {
        Self { machine }
    }
}

/// The name of this machine, for records and for people.
pub fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

fn refused(what: &str) -> Error {
    Error::input(format!("{what} would be done on this machine, and it is meant for one beside the target"))
        .remedy("Leave out `--from-here`: the run is then a pod beside its target.")
}

fn of_command(command: &Command) -> Error {
    refused(&format!("running {}", command.program()))
}

#[async_trait]
impl Runtime for Outside {
    fn name(&self) -> &'static str {
        "outside"
    }

    /// As it is written: nothing of it can be seen from here.
    async fn volume(&self, name: &str, path: &Path) -> Result<Volume> {
        Ok(Volume { name: name.to_owned(), path: path.components().collect() })
    }

    async fn dial(&self, host: &str, port: u16) -> Result<(String, u16)> {
        self.machine.dial(host, port).await
    }

    /// By its name alone: it is for commands in the target's container.
    async fn program(&self, name: &str, _search: &[PathBuf]) -> Result<PathBuf> {
        Ok(name.into())
    }

    async fn exec(&self, command: &Command, _: Duration, _: &CancellationToken) -> Result<Output> {
        Err(of_command(command))
    }

    fn places(&self) -> Vec<PathBuf> {
        self.machine.places()
    }

    async fn session(&self, command: &Command) -> Result<Box<dyn Session>> {
        Err(of_command(command))
    }

    fn agent(&self, arguments: &[&str]) -> Command {
        self.machine.agent(arguments)
    }

    async fn producer(&self, command: &Command, _: &CancellationToken) -> Result<Box<dyn Producer>> {
        Err(of_command(command))
    }

    async fn consumer(&self, command: &Command, _: &CancellationToken) -> Result<Box<dyn Consumer>> {
        Err(of_command(command))
    }

    async fn endpoint(&self, name: &str, _: &Path, _: &RunAs, _: Option<u16>) -> Result<Endpoint> {
        Err(refused(&format!("starting the service {name}")))
    }

    async fn service(&self, spec: &ServiceSpec) -> Result<Arc<dyn Service>> {
        Err(refused(&format!("starting the service {}", spec.name)))
    }

    fn keeper_record(&self, spec: &KeeperSpec, _: &RunId) -> Result<Value> {
        Err(refused(&format!("keeping {}", spec.name)))
    }

    async fn keep(&self, spec: &KeeperSpec, _: &Value) -> Result<Acquired> {
        Err(refused(&format!("keeping {}", spec.name)))
    }

    fn snapshotter(&self) -> Arc<dyn Snapshotter> {
        Arc::new(Unseen)
    }

    async fn scratch_intent(&self, run: &RunId) -> Result<ScratchIntent> {
        self.machine.scratch_intent(run).await
    }

    async fn scratch_volume_intent(&self, name: &str, _: Option<&Path>, _: &RunId) -> Result<ScratchIntent> {
        Err(refused(&format!("making the scratch volume {name}")))
    }

    async fn destination_intent(&self, path: &Path, _: &RunId) -> Result<ScratchIntent> {
        Err(refused(&format!("restoring into {}", path.display())))
    }

    async fn make_scratch(&self, intent: &ScratchIntent, like: Option<&Path>) -> Result<()> {
        self.machine.make_scratch(intent, like).await
    }

    async fn dispose(&self, record: &Value, secrets: &BTreeMap<String, Secret>) -> Result<Undone> {
        self.machine.dispose(record, secrets).await
    }
}

/// The volumes of the cluster as this machine sees them: not at all.
struct Unseen;

#[async_trait]
impl Snapshotter for Unseen {
    async fn abilities(&self, _: &Volume) -> Result<Vec<CaptureAbility>> {
        let refused = Some(NO_FILES.to_owned());
        Ok(vec![CaptureAbility { mode: CaptureMode::Live, refused, block_level: false, by: "live" }])
    }

    async fn intend(&self, volume: &Volume, _: CaptureMode, _: &RunId) -> Result<SnapshotIntent> {
        Err(refused(&format!("reading the volume {}", volume.name)))
    }

    async fn capture(&self, intent: &SnapshotIntent, _: bool, _: &CancellationToken) -> Result<Captured> {
        Err(refused(&format!("reading the volume {}", intent.volume.name)))
    }
}
