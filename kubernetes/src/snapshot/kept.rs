//! Snapshots that are kept as artifacts: what is known of one, how it outlives its run, is found again and removed.

use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{ResourceExt, api::DynamicObject};
use serde::{Deserialize, Serialize};
use serde_json::json;
use standstill_core::{
    Error, Result,
    point::{KeptSnapshot, RunId},
    runtime::Captured,
};

use super::{GONE, Remote, api, claim::Place, own, ready};
use crate::{client::Cluster, mover, names, record::SnapshotRecord};

/// The role of a snapshot that is kept.
const KEPT: &str = "kept";
/// Who can restore and remove it.
const RUNTIME: &str = "kubernetes";
/// Where the claims that are made of kept snapshots are mounted, out of the way of any database's path.
const MOUNTS: &str = "/.standstill/kept";

/// What a recovery point knows of a snapshot that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeptRecord {
    /// The snapshot.
    pub(crate) snapshot: SnapshotRecord,
    /// Its unique id: one of the same name that came later is another one.
    pub(crate) uid: String,
    /// What the storage has of it.
    pub(crate) content: String,
    /// The storage class of the claim that it is of.
    pub(crate) storage_class: Option<String>,
    /// How large a claim that is made of it must be.
    pub(crate) size: String,
    /// Where the claim was mounted.
    pub(crate) place: Place,
    /// The volume, below the mount.
    pub(crate) below: PathBuf,
}

impl KeptRecord {
    /// As a recovery point holds it.
    ///
    /// # Errors
    /// When another runtime kept it, or it is not understood.
    pub(crate) fn of(kept: &KeptSnapshot) -> Result<Self> {
        if kept.runtime != RUNTIME {
            return Err(Error::input(format!("{} was kept by the runtime `{}`", kept.called, kept.runtime))
                .remedy("Use it there."));
        }
        let record = Self::deserialize(&kept.record).map_err(|cause| {
            Error::failed(format!("what is known of {} is not understood", kept.called))
                .remedy("Use the version of Standstill that kept it.")
                .because(cause)
        })?;
        if !record.is_sound() {
            return Err(Error::failed(format!("what is known of {} cannot be true", kept.called))
                .remedy("Do not use this recovery point, and find out who wrote it into the repository."));
        }
        Ok(record)
    }

    /// Whether it names a snapshot of its run, and paths that lead nowhere else: whoever writes into the repository says
    /// what is mounted, read and removed here.
    fn is_sound(&self) -> bool {
        let SnapshotRecord { run, name, version, .. } = &self.snapshot;
        let is_label = name.len() <= 63 && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-');
        let inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        is_label
            && name.starts_with("standstill-")
            && name.ends_with(run.as_str())
            && api::VERSIONS.contains(&version.as_str())
            && inside(&self.below)
            && self.place.sub_path.as_deref().is_none_or(|path| inside(Path::new(path)))
    }

    /// Where a runner's pod sees its claim.
    pub(crate) fn mount(&self) -> PathBuf {
        Path::new(MOUNTS).join(&self.snapshot.name)
    }

    /// The snapshot, if it is still there, and the very same.
    async fn find(&self, cluster: &Cluster) -> Result<Option<DynamicObject>> {
        let cluster = cluster.in_namespace(&self.snapshot.namespace);
        let found =
            cluster.dynamic(&api::snapshots(&self.snapshot.version)).find(&self.snapshot.name).await?;
        Ok(found.filter(|found| found.uid().as_deref() == Some(&self.uid)))
    }

    /// The claim that is made of it, for one run.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it is in another namespace, or gone: then its data is lost.
    pub(crate) async fn claim(
        &self,
        cluster: &Cluster,
        kept: &KeptSnapshot,
        name: &str,
        run: &RunId,
    ) -> Result<serde_json::Value> {
        if self.snapshot.namespace != cluster.namespace() {
            return Err(Error::input(format!(
                "{} is of no use in the namespace {}",
                kept.called,
                cluster.namespace()
            ))
            .remedy(format!("Restore or verify in the namespace {}.", self.snapshot.namespace)));
        }
        if self.find(cluster).await?.is_none() {
            return Err(Error::input(format!("{} is gone, and what it held with it", kept.called))
                .remedy("Choose another recovery point; `standstill forget` removes this one."));
        }
        Ok(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "labels": names::labels(run, "restore")},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": self.storage_class,
                "resources": {"requests": {"storage": self.size}},
                "dataSource": {"apiGroup": api::GROUP, "kind": "VolumeSnapshot", "name": self.snapshot.name},
            },
        }))
    }
}

/// Makes a snapshot outlive its run, once it can be used.
pub(super) async fn keep(cluster: &Cluster, captured: &Captured) -> Result<KeptSnapshot> {
    let Some(remote) = &captured.remote else {
        return Err(Error::failed(format!("the capture of {} is no volume snapshot", captured.volume)));
    };
    let Remote { snapshot, place } = Remote::deserialize_from(remote)?;
    let restore_size = ready(cluster, &snapshot).await?;
    let claim = cluster.objects::<PersistentVolumeClaim>().get(&place.claim).await?;
    let (storage_class, size) = mover::like(claim, restore_size, &place.claim)?;
    let snapshots = cluster.dynamic(&api::snapshots(&snapshot.version));
    own(&snapshots.get(&snapshot.name).await?, &snapshot.run)?;
    // It no longer goes with its run.
    let patch = json!({"metadata": {"ownerReferences": null, "labels": {names::ROLE: KEPT}}});
    let found = snapshots.merge(&snapshot.name, &patch).await?;
    let content = api::SnapshotStatus::of(&found)?.bound_volume_snapshot_content_name.unwrap_or_default();
    let called = format!("the VolumeSnapshot {} in the namespace {}", snapshot.name, snapshot.namespace);
    let below = captured.original.strip_prefix(&place.mount).unwrap_or(Path::new("")).to_owned();
    let uid = found.uid().unwrap_or_default();
    let record = KeptRecord { snapshot, uid, content, storage_class, size, place, below };
    let record = serde_json::to_value(record)
        .map_err(|cause| Error::failed(format!("{called} cannot be described")).because(cause))?;
    Ok(KeptSnapshot { runtime: RUNTIME.to_owned(), called, record, exclude: Vec::new() })
}

/// Whether a snapshot that a recovery point kept is in this cluster.
///
/// # Errors
/// When that cannot be seen.
pub async fn has_kept(cluster: &Cluster, kept: &KeptSnapshot) -> Result<bool> {
    Ok(KeptRecord::of(kept)?.find(cluster).await?.is_some())
}

/// Removes a snapshot that a recovery point kept. `false`: it was gone already.
///
/// # Errors
/// What the API server refuses, and when it does not go.
pub async fn remove_kept(cluster: &Cluster, kept: &KeptSnapshot) -> Result<bool> {
    let record = KeptRecord::of(kept)?;
    let Some(found) = record.find(cluster).await? else { return Ok(false) };
    own(&found, &record.snapshot.run)?;
    let cluster = cluster.in_namespace(&record.snapshot.namespace);
    let snapshots = cluster.dynamic(&api::snapshots(&record.snapshot.version));
    snapshots.remove(&record.snapshot.name, &record.snapshot.run, GONE).await.map_err(|error| {
        Error::new(error.kind(), format!("{} could not be removed", kept.called))
            .remedy(format!(
                "Run `kubectl delete volumesnapshot {} --namespace={}`.",
                record.snapshot.name, record.snapshot.namespace
            ))
            .because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> KeptRecord {
        let run = RunId::generate();
        KeptRecord {
            snapshot: SnapshotRecord {
                name: names::of_run("data", &run),
                run,
                namespace: "db".into(),
                version: "v1".into(),
                class: "file".into(),
                cut_when_ready: false,
                claim: "data-pg-0".into(),
            },
            uid: "u1".into(),
            content: "content-1".into(),
            storage_class: None,
            size: "1Gi".into(),
            place: Place { claim: "data-pg-0".into(), mount: "/var/lib/pg".into(), sub_path: None },
            below: "data".into(),
        }
    }

    fn kept(record: &KeptRecord) -> KeptSnapshot {
        KeptSnapshot {
            runtime: RUNTIME.into(),
            called: "the VolumeSnapshot data".into(),
            record: serde_json::to_value(record).unwrap(),
            exclude: Vec::new(),
        }
    }

    #[test]
    fn what_a_repository_says_of_a_snapshot_leads_to_no_other_place() {
        let sound = record();
        assert_eq!(KeptRecord::of(&kept(&sound)).unwrap(), sound);
        let wrong: [fn(&mut KeptRecord); 6] = [
            |record| record.below = "../../var/run/secrets".into(),
            |record| record.below = "/etc".into(),
            |record| record.place.sub_path = Some("../other".into()),
            |record| record.snapshot.name.insert(0, '/'),
            |record| record.snapshot.name = "somebody-elses".into(),
            |record| record.snapshot.version = "../v1".into(),
        ];
        for change in wrong {
            let mut record = sound.clone();
            change(&mut record);
            let error = KeptRecord::of(&kept(&record)).unwrap_err();
            assert_eq!(error.to_string(), "what is known of the VolumeSnapshot data cannot be true");
        }
    }

    #[test]
    fn what_another_runtime_kept_is_left_to_it() {
        let other = KeptSnapshot { runtime: "zfs".into(), ..kept(&record()) };
        let error = KeptRecord::of(&other).unwrap_err();
        assert_eq!(error.to_string(), "the VolumeSnapshot data was kept by the runtime `zfs`");
    }
}
