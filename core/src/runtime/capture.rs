//! Volumes, and how they are captured.

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Result,
    point::{KeptSnapshot, RunId},
};

/// A volume as the runtime sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name in the blueprint.
    pub name: String,
    /// Its path as the database sees it, absolute and without links.
    pub path: PathBuf,
}

/// How a volume is captured.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum CaptureMode {
    /// A real snapshot.
    Atomic,
    /// Files are read straight into the repository while a hold that blocks no writes is on.
    Live,
    /// A copy first, then the upload.
    Copy,
    /// The first of atomic, live and copy that every hold tolerates.
    Auto,
}

/// What a snapshotter can do for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureAbility {
    /// The mode.
    pub mode: CaptureMode,
    /// `Some(reason)` if it cannot be done here.
    pub refused: Option<String>,
    /// For atomic: whether it is a snapshot of a block device rather than of a file system.
    pub block_level: bool,
    /// Who does it, for people: `btrfs`, `reflink`, `copy`.
    pub by: &'static str,
}

/// A snapshot that is about to be taken: the record is journalled before, so that it can be disposed of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotIntent {
    /// The volume.
    pub volume: Volume,
    /// The mode: atomic or copy.
    pub mode: CaptureMode,
    /// What [`super::Runtime::dispose`] needs.
    pub record: Value,
}

/// A captured volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Captured {
    /// The volume's name.
    pub volume: String,
    /// How it was captured.
    pub mode: CaptureMode,
    /// Where its files can be read: by this process, or, with `remote`, by the one that transfers them.
    pub path: PathBuf,
    /// What the path stands for in the repository: the volume's own path, so that the next backup finds its parent.
    pub original: PathBuf,
    /// `Some` when this process cannot read the files: what [`super::Runtime::transfer`] needs to reach them. No secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Value>,
}

/// Takes snapshots of volumes.
#[async_trait]
pub trait Snapshotter: Send + Sync {
    /// What can be done for a volume, best first; reads only. Also refuses what would be incomplete: nested
    /// subvolumes and mounts below the volume's path.
    async fn abilities(&self, volume: &Volume) -> Result<Vec<CaptureAbility>>;
    /// Says where the snapshot will be; touches nothing.
    async fn intend(&self, volume: &Volume, mode: CaptureMode, run: &RunId) -> Result<SnapshotIntent>;
    /// Says where the snapshots of several volumes will be, which are atomic and go with their run: they are cut at one
    /// moment where the storage can do that, and otherwise one by one. One intent for each, in their order; touches
    /// nothing.
    async fn intend_together(&self, volumes: &[Volume], run: &RunId) -> Result<Vec<SnapshotIntent>> {
        let mut intents = Vec::with_capacity(volumes.len());
        for volume in volumes {
            intents.push(self.intend(volume, CaptureMode::Atomic, run).await?);
        }
        Ok(intents)
    }
    /// Takes it. The cut is when this returns. `tolerate_changes`: whether files may vanish or change size while
    /// being copied.
    async fn capture(
        &self,
        intent: &SnapshotIntent,
        tolerate_changes: bool,
        cancel: &CancellationToken,
    ) -> Result<Captured>;

    /// Whether its snapshots can be kept as artifacts.
    fn keeps(&self) -> bool {
        false
    }

    /// Makes a snapshot that was taken outlive its run, once it can be used.
    ///
    /// # Guarantees
    /// It was intended by [`Snapshotter::intend`], whose record also disposes of it when the run does not succeed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] where snapshots cannot be kept.
    async fn keep(&self, captured: &Captured, _cancel: &CancellationToken) -> Result<KeptSnapshot> {
        Err(Error::input(format!("the snapshot of the volume `{}` cannot be kept", captured.volume))
            .remedy("Leave `keep` out of its `volume` step: then its files are stored in the repository."))
    }
}
