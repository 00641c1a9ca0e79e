//! What is snapshotted: the claim that a volume lies on, and the driver behind it.

use std::path::PathBuf;

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use standstill_core::{ErrorKind, Result, runtime::Volume};

use crate::{client::Cluster, target::Target};

/// Who made the volume of a claim: written by Kubernetes itself, under its older or newer name.
const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

/// Where a volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Place {
    /// The claim.
    pub(crate) claim: String,
    /// Where the target's container mounts it.
    pub(crate) mount: PathBuf,
    /// The part of the claim that is mounted there.
    pub(crate) sub_path: Option<String>,
}

/// The claim that a volume lies on; or why there is none that could be captured whole.
pub(crate) fn place(target: &Target, volume: &Volume) -> Result<Result<Place, String>> {
    let found = match target.volume_path(&volume.path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::Input => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    let below = |path: &PathBuf| path != &found.mount && path.starts_with(&volume.path);
    if let Some(mount) = target.mounts.iter().find(|mount| below(&mount.path)) {
        return Ok(Err(format!(
            "another volume is mounted below it, at {}, and would be missing",
            mount.path.display()
        )));
    }
    let mount = target.mounts.iter().find(|mount| mount.path == found.mount);
    let sub_path = mount.and_then(|mount| mount.sub_path.clone());
    Ok(Ok(Place { claim: found.claim, mount: found.mount, sub_path }))
}

/// The driver behind a claim; or why there is none.
pub(crate) async fn driver(
    cluster: &Cluster,
    claim: &PersistentVolumeClaim,
) -> Result<Result<String, String>> {
    if let Some(driver) = PROVISIONER.iter().find_map(|name| claim.annotations().get(*name)) {
        return Ok(Ok(driver.clone()));
    }
    let spec = claim.spec.clone().unwrap_or_default();
    if let Some(class) = spec.storage_class_name.filter(|name| !name.is_empty())
        && let Some(class) = cluster.global::<StorageClass>().find(&class).await?
        && class.provisioner != "kubernetes.io/no-provisioner"
    {
        return Ok(Ok(class.provisioner));
    }
    let Some(volume) = spec.volume_name.filter(|name| !name.is_empty()) else {
        return Ok(Err(format!("the claim {} is bound to no volume", claim.name_any())));
    };
    let volume = cluster.global::<PersistentVolume>().find(&volume).await?;
    let csi = volume.and_then(|volume| volume.spec).and_then(|spec| spec.csi);
    Ok(csi.map(|csi| csi.driver).ok_or_else(|| {
        format!(
            "the volume of the claim {} belongs to no CSI driver, so there are no snapshots of it",
            claim.name_any()
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Mount, Source};

    fn target(mounts: Vec<Mount>) -> Target {
        Target {
            namespace: "db".into(),
            found_by: "statefulset/pg".into(),
            peers: None,
            pod: None,
            container: "postgres".into(),
            image: "postgres".into(),
            pull_policy: None,
            pull_secrets: Vec::new(),
            mounts,
            run_as_user: None,
            run_as_group: None,
            tolerations: Vec::new(),
        }
    }

    fn mount(path: &str, claim: Option<&str>, sub_path: Option<&str>) -> Mount {
        let source =
            claim.map_or_else(|| Source::Other("emptyDir".into()), |name| Source::Claim(name.into()));
        Mount { path: path.into(), source, sub_path: sub_path.map(Into::into), read_only: false }
    }

    fn volume(path: &str) -> Volume {
        Volume { name: "data".into(), path: path.into() }
    }

    #[test]
    fn a_volume_below_a_mount_is_captured_with_the_whole_claim() {
        let target = target(vec![mount("/var/lib/postgresql", Some("data-pg-0"), Some("pg"))]);
        let place = place(&target, &volume("/var/lib/postgresql/data")).unwrap().unwrap();
        assert_eq!(place.claim, "data-pg-0");
        assert_eq!(place.mount, PathBuf::from("/var/lib/postgresql"));
        assert_eq!(place.sub_path.as_deref(), Some("pg"));
    }

    #[test]
    fn a_volume_with_another_one_mounted_in_it_would_be_captured_in_part_and_is_refused() {
        let target =
            target(vec![mount("/data", Some("data"), None), mount("/data/pg_wal", Some("wal"), None)]);
        let reason = place(&target, &volume("/data")).unwrap().unwrap_err();
        assert_eq!(reason, "another volume is mounted below it, at /data/pg_wal, and would be missing");
        assert!(place(&target, &volume("/data/pg_wal")).unwrap().is_ok());
    }

    #[test]
    fn what_lies_on_no_claim_is_refused_with_the_kind_of_its_volume() {
        let target = target(vec![mount("/data", None, None)]);
        let reason = place(&target, &volume("/data/db")).unwrap().unwrap_err();
        assert!(reason.contains("emptyDir"), "{reason}");
    }
}
