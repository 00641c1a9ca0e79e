//! Movers: pods that read a volume and store it, straight into the repository.
//!
//! ```text
//!   snapshot ──▶ claim ──▶ pod: standstill agent transfer ──▶ repository
//!                            └── its log: progress, and the report as its last line ──▶ the runner
//! ```
//!
//! - [`manifests`]: what is made; [`size`]: how large
//! - [`output`]: what it prints; [`rehearse`]: whether the cluster would accept it
//!
//! # Rights
//! In the namespace: `create`, `get`, `list`, `watch` and `delete` on `pods`, `persistentvolumeclaims` and
//! `configmaps`; `get` on `pods/log`; `list` on `events`.

mod manifests;
mod output;
mod rehearse;
mod size;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::Undone,
    point::RunId,
    repository::Progress,
    transfer::{TransferReport, TransferSpec},
};
use tokio_util::sync::CancellationToken;

use self::manifests::CONTAINER;
pub(crate) use self::rehearse::Rehearsed;
use crate::{
    client::{Cluster, Objects},
    names,
    pods::{Standing, Start, ended, make, standing},
    record::{MoverRecord, SnapshotRecord, name_part},
    snapshot::{self, Remote},
    target::{Owner, Security},
};

/// How long a mover may take to begin by default: a volume is made, a node found, an image pulled.
pub const MOVER_START: Duration = Duration::from_mins(5);
/// How long a pod, its claim or its orders may take to be gone.
const GONE: Duration = Duration::from_mins(2);
/// How long a claim may take to have its volume before its pod is made all the same.
const BOUND: Duration = Duration::from_secs(3);
/// A claim has this annotation where its volume was made for a pod, once a node was chosen (the binding mode
/// `WaitForFirstConsumer` of its storage class).
const FOR_A_POD: &str = "volume.kubernetes.io/selected-node";
/// The seconds that a mover has for its own tidying up when it is ended.
const GRACE: u32 = 30;
/// How long a mover that has reported may take to end, and its node to note that.
const ENDING: Duration = Duration::from_secs(5);

/// The repository's credentials, as a Secret in the target's namespace holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The Secret's name.
    pub secret: String,
    /// The key of the repository's password.
    pub password: String,
    /// The keys that are environment variables of the same name: an object store's.
    pub environment: Vec<String>,
}

/// What movers are made like.
#[derive(Debug, Clone)]
pub struct MoverSettings {
    /// The project's own image.
    pub image: String,
    /// How it is pulled, in the API's words.
    pub pull_policy: Option<String>,
    /// The Secrets that it is pulled with.
    pub pull_secrets: Vec<String>,
    /// The taints that a mover may stand beside.
    pub tolerations: Vec<Value>,
    /// Where the repository is, without credentials.
    pub repository: String,
    /// Its credentials.
    pub credentials: Credentials,
    /// The owner of the files; by default it is looked up on the mounted volume.
    pub data_owner: Option<Owner>,
    /// The profile that movers stand under.
    pub security: Security,
    /// What everything is owned by (an `ownerReference`), so that it goes with it: the Job of the run.
    pub owner: Option<Value>,
    /// How long a mover may take to begin.
    pub start: Duration,
}

/// What a mover reads.
#[derive(Debug, Clone)]
struct Source {
    snapshot: String,
    storage_class: Option<String>,
    /// Whether the volume of such a claim is made only when a pod wants it.
    for_a_pod: bool,
    size: String,
    mount: PathBuf,
    sub_path: Option<String>,
    owner: Owner,
}

/// Moves captured volumes into the repository.
#[derive(Clone)]
pub(crate) struct Mover {
    cluster: Cluster,
    settings: MoverSettings,
    /// The claims that are captured, as they were when that was planned.
    claims: Arc<Mutex<BTreeMap<String, PersistentVolumeClaim>>>,
    /// The pods that have reported, with the version that each was seen to run in.
    reported: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

/// What the transfer of an artifact makes.
pub(crate) fn intent(cluster: &Cluster, spec: &TransferSpec) -> Result<MoverRecord> {
    let TransferSpec::PutTree(put) = spec else {
        return Err(Error::input(format!("the artifact {} cannot be moved by another pod", spec.artifact()))
            .remedy("Restore it into a volume of the runner's own pod."));
    };
    let part = format!("put-{}", name_part(&put.artifact));
    Ok(record(cluster, &part, &put.run))
}

fn record(cluster: &Cluster, part: &str, run: &RunId) -> MoverRecord {
    MoverRecord {
        run: run.clone(),
        namespace: cluster.namespace().to_owned(),
        name: names::of_run(part, run),
    }
}

impl Mover {
    pub(crate) fn new(cluster: Cluster, settings: MoverSettings) -> Self {
        Self { cluster, settings, claims: Arc::default(), reported: Arc::default() }
    }

    /// The owner of the files, where it is known.
    pub(crate) fn data_owner(&self) -> Option<Owner> {
        self.settings.data_owner
    }

    /// A claim that is captured. It is read once: what is asked of it does not change, or the snapshot says it too.
    async fn claim(&self, name: &str) -> Result<PersistentVolumeClaim> {
        let known = || self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claim) = known().get(name).cloned() {
            return Ok(claim);
        }
        let claim = self.cluster.objects::<PersistentVolumeClaim>().get(name).await?;
        known().insert(name.to_owned(), claim.clone());
        Ok(claim)
    }

    /// Moves a captured volume, and waits for the mover's report.
    ///
    /// # Cancellation
    /// By `cancel`: the mover is told to end, and is not waited for. Disposing of it does that.
    pub(crate) async fn transfer(
        &self,
        remote: &Value,
        spec: &TransferSpec,
        progress: &Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<TransferReport> {
        let remote = Remote::deserialize_from(remote)?;
        let record = intent(&self.cluster, spec)?;
        tokio::select! {
            report = self.perform(&remote, spec, &record, progress) => report,
            () = cancel.cancelled() => {
                let parameters = DeleteParams { grace_period_seconds: Some(GRACE), ..DeleteParams::default() };
                let pods = self.cluster.objects::<Pod>();
                let told = pods.delete_with(&record.name, &parameters);
                if !matches!(tokio::time::timeout(Duration::from_secs(5), told).await, Ok(Ok(_))) {
                    tracing::warn!("the pod {} could not be told to end yet", record.name);
                }
                Err(Error::cancelled(format!("storing the artifact {} was cancelled", spec.artifact())))
            }
        }
    }

    async fn perform(
        &self,
        remote: &Remote,
        spec: &TransferSpec,
        record: &MoverRecord,
        progress: &Arc<dyn Progress>,
    ) -> Result<TransferReport> {
        let source = self.source(remote, spec).await?;
        let written = serde_json::to_string(spec)
            .map_err(|cause| Error::failed("a transfer cannot be written down").because(cause))?;
        let (name, run) = (&record.name, &record.run);
        let pods = self.cluster.objects::<Pod>();
        let claims = self.cluster.objects::<PersistentVolumeClaim>();
        let claim = make(&claims, &manifests::claim(record, &self.settings, &source), name, run).await?;
        let orders = manifests::orders(record, &self.settings, &written);
        make(&self.cluster.objects::<ConfigMap>(), &orders, name, run).await?;
        if !source.for_a_pod {
            bound(&claims, &claim).await?;
        }
        let pod = make(&pods, &manifests::pod(record, &self.settings, &source), name, run).await?;
        let end = match self.started(&pod, record).await? {
            (Standing::Ended(end), _) => end,
            (_, version) => tokio::select! {
                end = ended(&pods, name, |pod| standing(pod, CONTAINER), version.clone()) => end?,
                report = output::follow(&pods, name, progress) => {
                    self.reported().insert(name.clone(), version);
                    return Ok(report);
                }
            },
        };
        output::report(&pods, name, &end).await
    }

    fn reported(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a mover and all that was made for it. It is gone when this returns.
    ///
    /// One that has reported is waited for before: a pod that has ended goes at once, and one that is told to end keeps its
    /// node busy for seconds.
    pub(crate) async fn dispose(&self, record: &MoverRecord) -> Result<Undone> {
        let reported = self.reported().remove(&record.name);
        if let Some(version) = reported {
            let pods = self.cluster.objects::<Pod>();
            let end = ended(&pods, &record.name, |pod| standing(pod, CONTAINER), version);
            if tokio::time::timeout(ENDING, end).await.is_err() {
                tracing::debug!("the pod {} has reported and does not end", record.name);
            }
        }
        dispose(&self.cluster, record).await
    }

    async fn started(&self, pod: &Pod, record: &MoverRecord) -> Result<(Standing, Option<String>)> {
        let (cluster, within) = (&self.cluster, self.settings.start);
        let judge = |pod: &Pod| standing(pod, CONTAINER);
        let start = Start { cluster, name: &record.name, within, judge };
        start.wait(Some(pod), &mut |words| tracing::info!("the pod {} is {words}", record.name)).await
    }

    /// What is read: once the snapshot can be.
    async fn source(&self, remote: &Remote, spec: &TransferSpec) -> Result<Source> {
        let restore_size = snapshot::ready(&self.cluster, &remote.snapshot).await?;
        let claim = self.claim(&remote.place.claim).await?;
        let owner = match (self.settings.data_owner, spec) {
            (Some(owner), _) => owner,
            (None, TransferSpec::PutTree(put)) => owner_of(&put.root)?,
            (None, _) => return Err(Error::failed("the owner of the files is not known")),
        };
        let source = source(claim, restore_size, &remote.snapshot, owner)?;
        Ok(Source { mount: remote.place.mount.clone(), sub_path: remote.place.sub_path.clone(), ..source })
    }
}

/// Waits until a claim has its volume. The scheduler puts off a pod whose claim has none yet, and tries again seconds
/// later. Where the claim does not get one soon, the pod is made all the same: then there is somebody to say why.
async fn bound(claims: &Objects<PersistentVolumeClaim>, claim: &PersistentVolumeClaim) -> Result<()> {
    let has_volume = |claim: Option<&PersistentVolumeClaim>| {
        let phase = claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref());
        Ok((claim.is_none() || phase == Some("Bound")).then_some(()))
    };
    if has_volume(Some(claim))?.is_none() {
        claims.wait_since(&claim.name_any(), claim.resource_version(), BOUND, has_volume).await?;
    }
    Ok(())
}

/// A source like the claim that a snapshot is of, mounted nowhere yet.
fn source(
    claim: PersistentVolumeClaim,
    restore_size: Option<String>,
    snapshot: &SnapshotRecord,
    owner: Owner,
) -> Result<Source> {
    let for_a_pod = claim.annotations().contains_key(FOR_A_POD);
    let (storage_class, size) = like(claim, restore_size, &snapshot.claim)?;
    Ok(Source {
        snapshot: snapshot.name.clone(),
        storage_class,
        for_a_pod,
        size,
        mount: PathBuf::new(),
        sub_path: None,
        owner,
    })
}

/// The storage class and the size of a claim that is made of a snapshot of another one.
pub(crate) fn like(
    claim: PersistentVolumeClaim,
    restore_size: Option<String>,
    name: &str,
) -> Result<(Option<String>, String)> {
    let has = claim.status.and_then(|status| status.capacity).and_then(|mut has| has.remove("storage"));
    let spec = claim.spec.unwrap_or_default();
    let asked = spec.resources.and_then(|asked| asked.requests);
    let asked = asked.and_then(|mut asked| asked.remove("storage"));
    let sizes = [restore_size, has.map(|size| size.0), asked.map(|size| size.0)];
    let size = size::largest(sizes.iter().flatten().map(String::as_str)).ok_or_else(|| {
        Error::failed(format!("the size of the claim {name} is not known"))
            .remedy("Check the claim; it has neither a request nor a capacity.")
    })?;
    Ok((spec.storage_class_name, size.to_owned()))
}

/// The owner of a volume that is mounted here.
fn owner_of(path: &Path) -> Result<Owner> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).map_err(|cause| {
        Error::failed(format!("the owner of {} cannot be seen", path.display()))
            .remedy("Check that the volume is mounted in the runner's pod.")
            .because(cause)
    })?;
    Ok(Owner { user: i64::from(found.uid()), group: Some(i64::from(found.gid())) })
}

/// Removes a mover and all that was made for it. It is gone when this returns.
pub(crate) async fn dispose(cluster: &Cluster, record: &MoverRecord) -> Result<Undone> {
    let cluster = cluster.in_namespace(&record.namespace);
    let (name, run) = (&record.name, &record.run);
    // The pod first: a claim goes only when nobody uses it.
    let gone = [
        cluster.objects::<Pod>().remove(name, run, GONE).await?,
        cluster.objects::<PersistentVolumeClaim>().remove(name, run, GONE).await?,
        cluster.objects::<ConfigMap>().remove(name, run, GONE).await?,
    ];
    Ok(if gone.contains(&true) { Undone::LetGo } else { Undone::AlreadyGone })
}
