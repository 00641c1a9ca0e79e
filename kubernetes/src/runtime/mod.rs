//! The runtime in pods: what is local in a pod is done by the runtime that it is given, and the rest by the cluster.

pub(crate) mod address;
mod members;
mod peers;
mod places;

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
    cluster::{Pods, Surroundings},
    hook::{Acquired, Endpoint, Undone},
    point::{KeptSnapshot, RunId},
    repository::{Progress, Restored},
    runtime::{
        Command, Consumer, KeeperSpec, Output, Peer, Place, Producer, RunAs, Runtime, ScratchIntent, Service,
        ServiceSpec, Session, Snapshotter, Volume,
    },
    secret::Secret,
    transfer::{TransferReport, TransferSpec},
};
use tokio_util::sync::CancellationToken;

use self::{
    address::{Reached, is_own},
    places::{give, inside},
};
use crate::{
    apart,
    client::Cluster,
    container::{self, Container, record::KeeperRecord},
    launch::Placed,
    mover::{self, Mover, MoverSettings, Rehearsed},
    record::{InPod, Record},
    snapshot::{self, CsiSnapshotter, KeptRecord, SnapshotSettings},
    surroundings::{self, Around},
    target::Target,
};

/// What a runtime in pods works with.
#[derive(Debug, Clone, Default)]
pub struct RuntimeSettings {
    /// The target, where the run has one.
    pub target: Option<Target>,
    /// The unique id of the pod that this process runs in; none outside of the cluster.
    pub pod: Option<String>,
    /// The name of the machine that this process runs on outside of the cluster; none in a pod. Such a run stands on
    /// [`crate::Outside`], and reaches the target's ports by the API server.
    pub outside: Option<String>,
    /// What is asked for of snapshots.
    pub snapshots: SnapshotSettings,
    /// What movers are made like; without them only live captures can be stored.
    pub mover: Option<MoverSettings>,
    /// The run that this is for, where it is one.
    pub run: Option<RunId>,
    /// Where the values of secret parameters are: by the names of their files, the names of Secrets and the keys.
    pub secrets: BTreeMap<String, (String, String)>,
    /// The member of a group that this is for.
    pub member: Option<String>,
    /// Where the members of a group are, by their names.
    pub members: BTreeMap<String, Placed>,
}

/// The runtime of a runner in a pod, beside its target, or, on [`crate::Outside`], on a machine outside of the cluster.
pub struct KubernetesRuntime {
    inner: Arc<dyn Runtime>,
    settings: RuntimeSettings,
    cluster: Cluster,
    target: Option<Arc<Target>>,
    pod: Option<String>,
    reached: Reached,
    /// Whether every host leads to the target's pod.
    only_its_pod: bool,
    snapshotter: Arc<dyn Snapshotter>,
    mover: Option<Mover>,
}

impl KubernetesRuntime {
    /// A runtime around that of the pod itself (or of the machine outside).
    pub fn new(inner: Arc<dyn Runtime>, cluster: Cluster, settings: RuntimeSettings) -> Self {
        let target = settings.target.clone().map(Arc::new);
        let cluster = match &target {
            Some(target) => cluster.in_namespace(&target.namespace),
            None => cluster,
        };
        let csi = Arc::new(CsiSnapshotter::new(
            cluster.clone(),
            target.clone(),
            settings.snapshots.clone(),
            inner.snapshotter(),
        ));
        let mover = settings.mover.clone().map(|settings| Mover::new(cluster.clone(), settings));
        let snapshotter: Arc<dyn Snapshotter> = match mover.clone() {
            Some(mover) => Arc::new(Rehearsed { inner: csi, mover }),
            None => csi,
        };
        let pod = settings.pod.clone();
        Self {
            inner,
            settings,
            target,
            pod,
            reached: Reached::default(),
            only_its_pod: false,
            snapshotter,
            mover,
            cluster,
        }
    }

    /// The target's own container.
    fn container(&self) -> Result<Container> {
        Container::of_target(&self.cluster, self.target.as_deref())
    }
}

#[async_trait]
impl Runtime for KubernetesRuntime {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    async fn of_member(&self, run: &RunId, member: &str) -> Result<Option<Arc<dyn Runtime>>> {
        Ok(self.member(run, member).await?.map(|runtime| Arc::new(runtime) as Arc<dyn Runtime>))
    }

    async fn peers(&self) -> Result<Vec<Peer>> {
        self.peers_of_target().await
    }

    async fn volume(&self, name: &str, path: &Path) -> Result<Volume> {
        self.inner.volume(name, path).await
    }

    async fn dial(&self, host: &str, port: u16) -> Result<(String, u16)> {
        let own = self.only_its_pod || is_own(host);
        if own { self.own_port(port).await } else { self.inner.dial(host, port).await }
    }

    /// Commands run in pods, also when this process does not.
    async fn address(&self, host: &str, port: u16) -> Result<(String, u16)> {
        if is_own(host) {
            Ok((self.pod_address().await?, port))
        } else {
            self.inner.address(host, port).await
        }
    }

    async fn program(&self, name: &str, search: &[PathBuf]) -> Result<PathBuf> {
        self.inner.program(name, search).await
    }

    async fn exec(&self, command: &Command, timeout: Duration, cancel: &CancellationToken) -> Result<Output> {
        match command.place {
            Place::Runner => self.inner.exec(command, timeout, cancel).await,
            Place::Target => self.container()?.exec(command, timeout, cancel).await,
        }
    }

    fn places(&self) -> Vec<PathBuf> {
        self.inner.places()
    }

    async fn session(&self, command: &Command) -> Result<Box<dyn Session>> {
        self.inner.session(command).await
    }

    fn agent(&self, arguments: &[&str]) -> Command {
        self.inner.agent(arguments)
    }

    async fn producer(&self, command: &Command, cancel: &CancellationToken) -> Result<Box<dyn Producer>> {
        self.inner.producer(command, cancel).await
    }

    async fn consumer(&self, command: &Command, cancel: &CancellationToken) -> Result<Box<dyn Consumer>> {
        self.inner.consumer(command, cancel).await
    }

    async fn endpoint(
        &self,
        name: &str,
        scratch: &Path,
        run_as: &RunAs,
        port: Option<u16>,
    ) -> Result<Endpoint> {
        self.inner.endpoint(name, scratch, run_as, port).await
    }

    async fn service(&self, spec: &ServiceSpec) -> Result<Arc<dyn Service>> {
        self.inner.service(spec).await
    }

    fn keeper_record(&self, spec: &KeeperSpec, run: &RunId) -> Result<Value> {
        match spec.place() {
            Place::Runner => self.in_pod(InPod::Keeper, self.inner.keeper_record(spec, run)?),
            Place::Target => Record::InTarget(KeeperRecord::new(spec, run, &self.container()?)?).to_value(),
        }
    }

    async fn keep(&self, spec: &KeeperSpec, record: &Value) -> Result<Acquired> {
        match Record::from_value(record)? {
            Some(Record::InTarget(record)) => container::keeper::keep(&self.cluster, spec, record).await,
            _ => self.inner.keep(spec, &inside(record)?).await,
        }
    }

    fn surroundings(&self) -> Option<Arc<dyn Surroundings>> {
        Some(Arc::new(Around { cluster: self.cluster.clone() }))
    }

    fn pods(&self) -> Option<Arc<dyn Pods>> {
        // Never none, which would mean a process of this machine.
        Some(match self.commands_apart() {
            Some(apart) => Arc::new(apart),
            None => Arc::new(apart::Nowhere),
        })
    }

    fn snapshotter(&self) -> Arc<dyn Snapshotter> {
        Arc::clone(&self.snapshotter)
    }

    async fn scratch_intent(&self, run: &RunId) -> Result<ScratchIntent> {
        self.here(InPod::Scratch, self.inner.scratch_intent(run).await?)
    }

    async fn scratch_volume_intent(
        &self,
        name: &str,
        like: Option<&Path>,
        run: &RunId,
    ) -> Result<ScratchIntent> {
        self.here(InPod::ScratchVolume, self.inner.scratch_volume_intent(name, like, run).await?)
    }

    async fn destination_intent(&self, path: &Path, run: &RunId) -> Result<ScratchIntent> {
        self.here(InPod::Destination, self.inner.destination_intent(path, run).await?)
    }

    async fn make_scratch(&self, intent: &ScratchIntent, like: Option<&Path>) -> Result<()> {
        let inner = ScratchIntent { path: intent.path.clone(), record: inside(&intent.record)? };
        self.inner.make_scratch(&inner, like).await?;
        let owner = self.mover.as_ref().and_then(Mover::data_owner);
        match (Record::from_value(&intent.record)?, owner) {
            (Some(Record::InPod(record)), Some(owner)) if record.what != InPod::Scratch => {
                give(&intent.path, owner)
            }
            _ => Ok(()),
        }
    }

    async fn transfer_intent(
        &self,
        _remote: &Value,
        spec: &TransferSpec,
        _run: &RunId,
    ) -> Result<Option<Value>> {
        Record::Mover(mover::intent(&self.cluster, spec)?).to_value().map(Some)
    }

    async fn transfer(
        &self,
        remote: &Value,
        spec: &TransferSpec,
        progress: Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<TransferReport> {
        let mover = self.mover.as_ref().ok_or_else(|| {
            Error::input(format!("nothing here can move the artifact {}", spec.artifact()))
                .remedy("Run it in the cluster, with a repository that pods can reach.")
        })?;
        mover.transfer(remote, spec, &progress, cancel).await
    }

    async fn restore_kept(
        &self,
        _artifact: &str,
        kept: &KeptSnapshot,
        destination: &Path,
        cancel: &CancellationToken,
    ) -> Result<Restored> {
        let record = KeptRecord::of(kept)?;
        let from = record.mount().join(&record.below);
        self.inner.copy_tree(&from, destination, &kept.exclude, cancel).await
    }

    async fn dispose(&self, record: &Value, secrets: &BTreeMap<String, Secret>) -> Result<Undone> {
        match Record::from_value(record)? {
            None => self.inner.dispose(record, secrets).await,
            Some(Record::Snapshot(record)) => snapshot::dispose(&self.cluster, &record).await,
            Some(Record::InGroup(record)) => snapshot::dispose_group(&self.cluster, &record).await,
            Some(Record::Mover(record)) => match &self.mover {
                Some(mover) => mover.dispose(&record).await,
                None => mover::dispose(&self.cluster, &record).await,
            },
            Some(Record::Pod(record)) => apart::dispose(&self.cluster, &record).await,
            Some(Record::InPod(record)) => self.dispose_in_pod(&record, secrets).await,
            Some(Record::OnMachine(record)) => self.dispose_on_machine(&record, secrets).await,
            Some(Record::InTarget(record)) => {
                container::dispose::dispose(&self.cluster, &record, secrets).await
            }
            Some(Record::Scaled(record)) => surroundings::scale::dispose(&self.cluster, &record).await,
            Some(Record::Changed(record)) => surroundings::object::dispose(&self.cluster, &record).await,
        }
    }
}
