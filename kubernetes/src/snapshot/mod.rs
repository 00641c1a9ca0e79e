//! Captures of claims by CSI `VolumeSnapshot`s.
//!
//! ```text
//!   claim ──▶ its driver ──▶ class ──▶ VolumeSnapshot ⇄ VolumeSnapshotContent        cut, bound both ways: let go
//!     └──▶ several of one driver: one VolumeGroupSnapshot └──▶ (mover) claim made of it ──▶ repository
//! ```
//!
//! - [`api`]: the kinds; [`class`]: which class; [`claim`]: what is snapshotted; [`readable`]: by whom
//! - [`single`]: a snapshot of one claim; [`group`]: several claims that are cut together
//! - [`standing`]: how a snapshot stands; [`cut`]: waiting for its cut; [`ready`]: and until it can be used
//! - [`kept`]: snapshots that are kept as artifacts
//!
//! # Rights
//! In the namespace: `get` on `persistentvolumeclaims`; `create`, `get`, `list`, `watch` and `delete` on
//! `volumesnapshots`; those of [`group`]. In the cluster: `list` on `volumesnapshotclasses`, `get` on `volumesnapshotcontents`,
//! `storageclasses` and `persistentvolumes`.

pub(crate) mod api;
mod claim;
mod class;
mod cut;
mod group;
mod kept;
mod readable;
mod ready;
mod single;
mod standing;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{ResourceExt, api::ApiResource};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use standstill_core::{
    Error, ErrorKind, Result,
    point::{KeptSnapshot, RunId},
    runtime::{CaptureAbility, CaptureMode, Captured, SnapshotIntent, Snapshotter, Volume},
};
use tokio_util::sync::CancellationToken;

pub use self::kept::{has_kept, remove_kept};
use self::{
    claim::Place,
    class::Class,
    group::choose::{Wanted, choose},
};
pub(crate) use self::{group::dispose as dispose_group, kept::KeptRecord, ready::ready, single::dispose};
use crate::{
    client::Cluster,
    names,
    record::{Record, SnapshotRecord, name_part},
    target::{Owner, Security, Target},
};

/// How long the storage may take for the cut by default: a database may be held meanwhile.
pub const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(25);
/// How long a snapshot may take to be gone after it was deleted.
const GONE: Duration = Duration::from_mins(1);

/// What is asked for of snapshots.
#[derive(Debug, Clone)]
pub struct SnapshotSettings {
    /// The class; by default the one for the claim's driver.
    pub class: Option<String>,
    /// The class for several claims at once; by default the one for their driver, unless [`Self::class`] is given.
    pub group_class: Option<String>,
    /// How long the storage may take for the cut.
    pub deadline: Duration,
    /// The owner of the files, as whom they are read. A volume with files that this user may not read is refused before
    /// anything is held.
    pub read_as: Option<Owner>,
    /// The profile that movers stand under: they may read more.
    pub security: Security,
    /// What everything is owned by (an `ownerReference`), so that it goes with it: the Job of the run.
    pub owner: Option<Value>,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        Self {
            class: None,
            group_class: None,
            deadline: SNAPSHOT_DEADLINE,
            read_as: None,
            security: Security::default(),
            owner: None,
        }
    }
}

/// A captured claim, for the pod that reads it: what [`Captured::remote`] holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Remote {
    /// The snapshot.
    pub(crate) snapshot: SnapshotRecord,
    /// Where it is on the claim, and where the claim is mounted.
    pub(crate) place: Place,
}

impl Remote {
    /// As a capture holds it.
    pub(crate) fn deserialize_from(value: &Value) -> Result<Self> {
        Self::deserialize(value).map_err(|cause| {
            Error::failed("a capture of the cluster is not understood")
                .remedy("Use the version of Standstill that made it.")
                .because(cause)
        })
    }
}

/// Takes snapshots of the target's claims; what is read live is read by the runner itself.
pub(crate) struct CsiSnapshotter {
    cluster: Cluster,
    target: Option<Arc<Target>>,
    settings: SnapshotSettings,
    inner: Arc<dyn Snapshotter>,
    /// What was found about volumes, by their paths.
    known: Mutex<BTreeMap<PathBuf, Way>>,
}

/// By what a volume is snapshotted.
#[derive(Debug, Clone)]
struct Way {
    place: Place,
    version: &'static str,
    class: Class,
}

#[async_trait]
impl Snapshotter for CsiSnapshotter {
    async fn abilities(&self, volume: &Volume) -> Result<Vec<CaptureAbility>> {
        let unreadable = self.unreadable(volume).await;
        let ability = |refused, block_level| CaptureAbility {
            mode: CaptureMode::Atomic,
            refused,
            block_level,
            by: "volumesnapshot",
        };
        let atomic = match self.plan(volume).await {
            Ok(Ok(way)) => ability(self.immovable(unreadable.as_deref()), !way.class.of_filesystem),
            Ok(Err(reason)) => ability(Some(reason), true),
            // A right that was not granted: another way of capturing may need fewer.
            Err(error) if error.kind() == ErrorKind::Input => ability(Some(error.chain()), true),
            Err(error) => return Err(error),
        };
        // A copy in the pod would take the room of the pod's node, and can do nothing that the others cannot.
        let inner = self.inner.abilities(volume).await?;
        let live = inner.into_iter().filter(|ability| ability.mode == CaptureMode::Live);
        let live = live.map(|live| CaptureAbility { refused: live.refused.or(unreadable.clone()), ..live });
        Ok(std::iter::once(atomic).chain(live).collect())
    }

    async fn intend(&self, volume: &Volume, mode: CaptureMode, run: &RunId) -> Result<SnapshotIntent> {
        if mode != CaptureMode::Atomic {
            return self.inner.intend(volume, mode, run).await;
        }
        let Way { place, version, class } = self.plan(volume).await?.map_err(|reason| {
            Error::input(format!("the volume {} cannot be captured: {reason}", volume.name))
                .remedy("Put that right, or choose another capture mode.")
        })?;
        let snapshot = SnapshotRecord {
            run: run.clone(),
            namespace: self.cluster.namespace().to_owned(),
            version: version.to_owned(),
            name: names::of_run(&name_part(&volume.name), run),
            class: class.name,
            cut_when_ready: class.cut_when_ready,
            claim: place.claim,
        };
        let record = Record::Snapshot(snapshot).to_value()?;
        Ok(SnapshotIntent { volume: volume.clone(), mode, record })
    }

    async fn intend_together(&self, volumes: &[Volume], run: &RunId) -> Result<Vec<SnapshotIntent>> {
        let mut intents = Vec::with_capacity(volumes.len());
        for volume in volumes {
            intents.push(self.intend(volume, CaptureMode::Atomic, run).await?);
        }
        for wanted in self.of_one_driver(volumes).await? {
            match choose(&self.cluster, &self.settings, &wanted).await? {
                Ok(group) => {
                    tracing::info!(
                        "{} are cut together, by a VolumeGroupSnapshot of the class {}",
                        wanted.told(),
                        group.class.name
                    );
                    group::join(&mut intents, &wanted, &group)?;
                }
                Err(reason) => tracing::info!("{} are cut one by one: {reason}", wanted.told()),
            }
        }
        Ok(intents)
    }

    async fn capture(
        &self,
        intent: &SnapshotIntent,
        tolerate_changes: bool,
        cancel: &CancellationToken,
    ) -> Result<Captured> {
        let found = Record::from_value(&intent.record)?;
        let Some(record @ (Record::Snapshot(_) | Record::InGroup(_))) = found else {
            return self.inner.capture(intent, tolerate_changes, cancel).await;
        };
        let volume = &intent.volume;
        let place = claim::place(self.target()?, volume)?.map_err(Error::input)?;
        let snapshot = tokio::select! {
            taken = self.take(record) => taken?,
            () = cancel.cancelled() => {
                return Err(Error::cancelled(format!("the snapshot of {} was cancelled", volume.name)));
            }
        };
        let remote = serde_json::to_value(Remote { snapshot, place })
            .map_err(|cause| Error::failed("a capture cannot be described").because(cause))?;
        Ok(Captured {
            volume: volume.name.clone(),
            mode: CaptureMode::Atomic,
            path: volume.path.clone(),
            original: volume.path.clone(),
            remote: Some(remote),
        })
    }

    fn keeps(&self) -> bool {
        true
    }

    async fn keep(&self, captured: &Captured, cancel: &CancellationToken) -> Result<KeptSnapshot> {
        tokio::select! {
            kept = kept::keep(&self.cluster, captured) => kept,
            () = cancel.cancelled() => {
                Err(Error::cancelled(format!("keeping the snapshot of {} was cancelled", captured.volume)))
            }
        }
    }
}

impl CsiSnapshotter {
    pub(crate) fn new(
        cluster: Cluster,
        target: Option<Arc<Target>>,
        settings: SnapshotSettings,
        inner: Arc<dyn Snapshotter>,
    ) -> Self {
        Self { cluster, target, settings, inner, known: Mutex::default() }
    }

    fn target(&self) -> Result<&Target> {
        self.target.as_deref().ok_or_else(|| {
            Error::input("the target's pod is not known, so nothing of it can be captured")
                .remedy("Name the target's workload.")
        })
    }

    /// Where a volume is, and by what it would be snapshotted; or why it cannot be.
    async fn plan(&self, volume: &Volume) -> Result<Result<Way, String>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = known().get(&volume.path).cloned() {
            return Ok(Ok(way));
        }
        let found = self.find(volume).await?;
        if let Ok(way) = &found {
            known().insert(volume.path.clone(), way.clone());
        }
        Ok(found)
    }

    async fn find(&self, volume: &Volume) -> Result<Result<Way, String>> {
        let place = match claim::place(self.target()?, volume)? {
            Ok(place) => place,
            Err(reason) => return Ok(Err(reason)),
        };
        let claims = self.cluster.objects::<PersistentVolumeClaim>();
        let Some(found) = claims.find(&place.claim).await? else {
            return Ok(Err(format!("there is no claim {}", place.claim)));
        };
        let driver = match claim::driver(&self.cluster, &found).await? {
            Ok(driver) => driver,
            Err(reason) => return Ok(Err(reason)),
        };
        for version in api::VERSIONS {
            let Some(classes) = api::list_classes(&self.cluster, version).await? else { continue };
            let classes: Vec<Class> = classes.iter().filter_map(Class::of).collect();
            let chosen = class::choose(&classes, &driver, self.settings.class.as_deref());
            return Ok(chosen.map(|class| Way { place, version, class }));
        }
        Ok(Err(format!("the cluster has no volume snapshots (its API server does not know {})", api::GROUP)))
    }

    /// Why a mover could not read the volume, by what this process may not.
    fn immovable(&self, unreadable: Option<&str>) -> Option<String> {
        match self.settings.security {
            Security::Baseline => None,
            Security::Restricted => unreadable
                .map(|reason| format!("{reason}; with `security: baseline` of the target, root reads it")),
        }
    }

    /// Why this process, which is the owner of the files, could not read the volume. Outside of a pod beside the target that is not known.
    async fn unreadable(&self, volume: &Volume) -> Option<String> {
        let (path, owner) = (volume.path.clone(), self.settings.read_as?);
        let looked = tokio::task::spawn_blocking(move || readable::first_unreadable(&path, owner)).await;
        match looked {
            Ok(Ok(reason)) => reason,
            Ok(Err(cause)) => Some(format!("it cannot be looked through: {cause}")),
            Err(cause) => Some(format!("it cannot be looked through: {cause}")),
        }
    }

    /// Several claims of one driver, for each driver that has several.
    async fn of_one_driver(&self, volumes: &[Volume]) -> Result<Vec<Wanted>> {
        let mut found: BTreeMap<String, Wanted> = BTreeMap::new();
        for volume in volumes {
            let Ok(Way { place, class, .. }) = self.plan(volume).await? else { continue };
            let wanted = found.entry(class.driver.clone());
            wanted.or_insert_with(|| Wanted::of(class)).claims.insert(place.claim);
        }
        Ok(found.into_values().filter(|wanted| wanted.claims.len() > 1).collect())
    }

    /// Takes a snapshot, and waits for its cut.
    async fn take(&self, record: Record) -> Result<SnapshotRecord> {
        let (owner, within) = (self.settings.owner.as_ref(), self.settings.deadline);
        let record = match record {
            Record::Snapshot(record) => record,
            Record::InGroup(record) => return group::take(&self.cluster, &record, owner, within).await,
            _ => return Err(Error::failed("the record is of no snapshot")),
        };
        single::take(&self.cluster, &record, owner, within).await?;
        Ok(record)
    }
}

/// What a snapshot is asked for by: its kind and its manifest, and what it is by itself.
pub(crate) fn asked_for(
    record: &Record,
    owner: Option<&Value>,
) -> Option<(ApiResource, Value, SnapshotRecord)> {
    match record {
        Record::Snapshot(record) => {
            Some((api::snapshots(&record.version), single::manifest(record, owner), record.clone()))
        }
        Record::InGroup(record) => {
            Some((api::groups(&record.version), group::manifest(record, owner), record.single()))
        }
        _ => None,
    }
}

/// Refuses an object that is not this run's, whatever its name.
pub(crate) fn own(object: &impl ResourceExt, run: &RunId) -> Result<()> {
    if object.labels().get(names::RUN).is_some_and(|found| found == run.as_str()) {
        return Ok(());
    }
    Err(Error::failed(format!("{} is there already, and does not belong to run {run}", object.name_any()))
        .remedy("Rename or remove it; nothing was changed about it."))
}

/// The metadata of a snapshot that a run asks for.
fn metadata(name: &str, namespace: &str, run: &RunId, owner: Option<&Value>) -> Value {
    json!({
        "name": name,
        "namespace": namespace,
        "labels": names::labels(run, "snapshot"),
        "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
    })
}

/// The error of something that was deleted and stays.
fn not_going(what: &str, error: Error) -> Error {
    if error.kind() != ErrorKind::Temporary {
        return error;
    }
    Error::temporary(format!("{what} does not go"))
        .remedy("Look at its finalizers and events, and at the snapshot controller's log.")
        .because(error)
}
