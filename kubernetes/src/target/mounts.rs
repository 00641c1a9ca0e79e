//! What a container mounts, and which claim a path of its lies on.

use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use serde::{Deserialize, Serialize};
use standstill_core::{Error, Result};

use super::Target;

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// Where the container sees it.
    pub path: PathBuf,
    /// What is mounted.
    pub source: Source,
    /// The part of the source that is mounted, where it is not all of it.
    pub sub_path: Option<String>,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A PersistentVolumeClaim of this name.
    Claim(String),
    /// Something that is no claim, in the API's word for it: `emptyDir`.
    Other(String),
}

/// A path of a container, as a place on a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumePath {
    /// The claim.
    pub claim: String,
    /// Where the claim (or its sub-path) is mounted.
    pub mount: PathBuf,
    /// The path on the claim, relative; empty for the claim's root.
    pub path: PathBuf,
}

impl Target {
    /// The claim that a path lies on: by the longest mount above it.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it lies on no mount, or on one that is no claim.
    pub fn volume_path(&self, path: &Path) -> Result<VolumePath> {
        let above = self.mounts.iter().filter(|mount| path.starts_with(&mount.path));
        let Some(mount) = above.max_by_key(|mount| mount.path.components().count()) else {
            let known: Vec<String> =
                self.mounts.iter().map(|mount| mount.path.display().to_string()).collect();
            return Err(Error::input(format!(
                "{} lies on no volume of the container {} ({})",
                path.display(),
                self.container,
                self.found_by
            ))
            .remedy(format!("Its volumes are mounted at: {}.", known.join(", "))));
        };
        let claim = match &mount.source {
            Source::Claim(claim) => claim.clone(),
            Source::Other(kind) => {
                return Err(Error::input(format!(
                    "{} lies on a volume of the kind {kind}, which is no PersistentVolumeClaim",
                    path.display()
                ))
                .remedy("Only claims can be backed up from another pod; give the path of the data on one."));
            }
        };
        let below = path.strip_prefix(&mount.path).unwrap_or(Path::new(""));
        let on_claim = Path::new(mount.sub_path.as_deref().unwrap_or("")).join(below);
        Ok(VolumePath { claim, mount: mount.path.clone(), path: on_claim })
    }

    /// The mounts that are claims.
    pub fn claims(&self) -> impl Iterator<Item = (&Mount, &str)> {
        self.mounts.iter().filter_map(|mount| match &mount.source {
            Source::Claim(claim) => Some((mount, claim.as_str())),
            Source::Other(_) => None,
        })
    }
}

/// The mounts of a container. `claim_of` names the claim of a volume that is not in the pod's own list (those of a
/// StatefulSet's templates), `pod` is the pod's name for claims that belong to it.
pub(super) fn of_container(
    container: &Container,
    spec: &PodSpec,
    pod: Option<&str>,
    claim_of: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Mount>> {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.as_deref().unwrap_or_default() {
        if mount.sub_path_expr.is_some() {
            return Err(Error::input(format!(
                "the container {} mounts {} by a subPathExpr, which is not understood",
                container.name, mount.mount_path
            ))
            .remedy("Use `subPath`, or back the whole volume up by another container."));
        }
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        let source = match (volume, claim_of(&mount.name)) {
            (Some(volume), _) => source(volume, pod),
            (None, Some(claim)) => Source::Claim(claim),
            (None, None) => Source::Other("unknown".into()),
        };
        mounts.push(Mount {
            path: clean(&mount.mount_path),
            source,
            sub_path: mount.sub_path.clone().filter(|path| !path.is_empty()),
            read_only: mount.read_only.unwrap_or(false),
        });
    }
    Ok(mounts)
}

/// Without `.`, doubled and trailing slashes.
fn clean(path: &str) -> PathBuf {
    Path::new(path).components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

fn source(volume: &Volume, pod: Option<&str>) -> Source {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Source::Claim(claim.claim_name.clone());
    }
    if let (Some(_), Some(pod)) = (&volume.ephemeral, pod) {
        return Source::Claim(format!("{pod}-{}", volume.name));
    }
    // The volume's one key besides its name says what it is.
    let written = serde_json::to_value(volume).unwrap_or_default();
    let kind = written.as_object().and_then(|map| map.keys().find(|key| *key != "name"));
    Source::Other(kind.map_or_else(|| "emptyDir".to_owned(), ToString::to_string))
}
