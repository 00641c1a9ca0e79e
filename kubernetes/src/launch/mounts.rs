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
    /// The node that the pod must be on, because the claims are in use there.
    pub node: Option<String>,
    /// Claims that are made before, where they are not there. The run does not own them: they stay.
    pub claims: Vec<Value>,
    /// Claims that are made before of snapshots that were kept. The run owns them.
    pub kept: Vec<Value>,
    /// The claim that is made before for scratch copies. The run owns it.
    pub scratch: Option<Value>,
    /// Whether files of any owner must be written, which only root can.
    pub as_root: bool,
}

impl Mounts {
    /// Those of all members of a group, in one pod.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when no pod can have those of two members: they are in use on different
    /// nodes, or at the same path or one below the other.
    pub fn of_members(members: Vec<(&str, Self)>) -> Result<Self> {
        for (index, (name, mounts)) in members.iter().enumerate() {
            for (other, others) in members.iter().take(index) {
                mounts.check_beside(name, others, other)?;
            }
        }
        Ok(members.into_iter().fold(Self::default(), |all, (_, mounts)| all.and(mounts)))
    }

    /// These and others, in one pod.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.mounted.extend(others.mounted);
        self.node = self.node.or(others.node);
        self.claims.extend(others.claims);
        self.kept.extend(others.kept);
        self.scratch = self.scratch.or(others.scratch);
        self.as_root |= others.as_root;
        self
    }

    fn check_beside(&self, name: &str, others: &Self, other: &str) -> Result<()> {
        if let (Some(here), Some(there)) = (&self.node, &others.node)
            && here != there
        {
            return Err(Error::input(format!(
                "the members {other} and {name} are on different nodes ({there} and {here}), and no pod can mount the volumes of both"
            ))
            .remedy("Bring them to one node by affinity, or back them up each by itself."));
        }
        for mounted in &self.mounted {
            let overlaps = |there: &&Mounted| {
                there.path.starts_with(&mounted.path) || mounted.path.starts_with(&there.path)
            };
            if let Some(there) = others.mounted.iter().find(overlaps) {
                return Err(Error::input(format!(
                    "the member {other} has a volume at {} and the member {name} at {}, and no pod can mount both",
                    there.path.display(),
                    mounted.path.display()
                ))
                .remedy("Mount them at different paths in their own pods, or back them up each by itself."));
            }
        }
        Ok(())
    }

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
        Self { mounted, node: target.pod.as_ref().map(|pod| pod.node.clone()), ..Self::default() }
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
        Ok(Self { mounted: vec![mounted], claims: vec![claim], as_root: true, ..Self::default() })
    }
}
