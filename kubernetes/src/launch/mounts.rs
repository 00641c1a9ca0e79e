//! What a runner's pod mounts: the target's claims where the target has them, or a new one in their place.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use standstill_core::{Error, Result};

use crate::target::Target;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// The claim.
    pub claim: String,
    /// Where.
    pub path: PathBuf,
    /// The part of it, where it is not all.
    pub sub_path: Option<String>,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// What a pod mounts, and what it may be moved to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mounts {
    /// The claims.
    pub mounted: Vec<Mounted>,
    /// Whether the pod must be on the target's node, because the claims are in use there.
    pub beside_target: bool,
    /// A claim that is made before, if it is not there. The run does not own it: it stays.
    pub claim: Option<Value>,
    /// Whether files of any owner must be written, which only root can.
    pub as_root: bool,
}

impl Mounts {
    /// For a backup: every claim of the target's container.
    pub fn of_backup(target: &Target, writing: bool) -> Self {
        let mounted = target
            .claims()
            .map(|(mount, claim)| Mounted {
                claim: claim.to_owned(),
                path: mount.path.clone(),
                sub_path: mount.sub_path.clone(),
                read_only: !writing,
            })
            .collect();
        Self { mounted, beside_target: true, ..Self::default() }
    }

    /// For a restore to `path`: the claim `into` instead of the one that the target has there. `size` and `class` are
    /// those of a claim that is made.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when the path is on none of the target's claims, or `into` is that one.
    pub fn of_restore(
        target: &Target,
        path: &Path,
        into: &str,
        size: &str,
        class: Option<&str>,
    ) -> Result<Self> {
        let place = target.volume_path(path)?;
        if place.claim == into && target.pod.is_some() {
            return Err(Error::input(format!("the claim {into} is that of {}, which runs", target.found_by))
                .remedy(
                    "Restore into another claim, or scale the workload to zero and empty the claim first.",
                ));
        }
        let mount = target.mounts.iter().find(|mount| mount.path == place.mount);
        let mounted = Mounted {
            claim: into.to_owned(),
            path: place.mount.clone(),
            sub_path: mount.and_then(|mount| mount.sub_path.clone()),
            read_only: false,
        };
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": into},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": class,
                "resources": {"requests": {"storage": size}},
            },
        });
        Ok(Self { mounted: vec![mounted], claim: Some(claim), as_root: true, beside_target: false })
    }
}
