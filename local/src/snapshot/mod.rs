//! Captures of volumes: real snapshots on btrfs, copies everywhere, or the live files themselves.
//!
//! - [`btrfs`]: atomic, in the time of one command
//! - [`copy`] and [`file`]: copies, sharing blocks where the file system can (reflink)
//! - [`mounts`], [`tree`]: what lies where

mod btrfs;
pub(crate) mod copy;
mod file;
pub(crate) mod mounts;
pub(crate) mod tree;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use rustix::{
    fs::{Access, Mode, OFlags, access, ioctl_ficlone, open},
    process::geteuid,
};
use standstill_core::{
    Error, Result,
    hook::Undone,
    point::RunId,
    runtime::{CaptureAbility, CaptureMode, Captured, SnapshotIntent, Snapshotter, Volume},
    units::show_bytes,
};
use tokio_util::sync::CancellationToken;

use self::mounts::Mounts;
use crate::{
    process::launcher::blocking,
    record::{Record, temporary_name},
    scratch::{room, temporary_directory},
};

/// How long a command of the file system may take.
const COMMAND_DEADLINE: Duration = Duration::from_mins(2);

/// Captures volumes of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LocalSnapshotter;

#[async_trait]
impl Snapshotter for LocalSnapshotter {
    async fn abilities(&self, volume: &Volume) -> Result<Vec<CaptureAbility>> {
        let volume = volume.clone();
        blocking(move || abilities(&volume)).await
    }

    async fn intend(&self, volume: &Volume, mode: CaptureMode, run: &RunId) -> Result<SnapshotIntent> {
        let (volume, run) = (volume.clone(), run.clone());
        blocking(move || intend(volume, mode, &run)).await
    }

    async fn capture(
        &self,
        intent: &SnapshotIntent,
        tolerate_changes: bool,
        cancel: &CancellationToken,
    ) -> Result<Captured> {
        let volume = &intent.volume;
        let path = match Record::from_value(&intent.record)? {
            Record::Nothing => volume.path.clone(),
            Record::BtrfsSnapshot { subvolume, path, below, .. } => {
                btrfs::snapshot(&subvolume, &path, cancel).await?;
                path.join(below)
            }
            Record::Copy { path, .. } => {
                let (source, cancel) = (volume.path.clone(), cancel.clone());
                blocking(move || copy::copy_volume(&source, &path, tolerate_changes, &cancel)).await?
            }
            Record::Scratch { .. } | Record::Destination(_) | Record::Keeper(_) => {
                return Err(Error::failed(format!("the capture of {} was not intended", volume.name)));
            }
        };
        Ok(Captured {
            volume: volume.name.clone(),
            mode: intent.mode,
            path,
            original: volume.path.clone(),
            remote: None,
        })
    }
}

/// Removes a snapshot that a run left.
pub(crate) async fn dispose_snapshot(run: &RunId, path: &Path) -> Result<Undone> {
    btrfs::delete(run, path).await
}

fn abilities(volume: &Volume) -> Result<Vec<CaptureAbility>> {
    let unreadable = |cause: io::Error| {
        Error::input(format!(
            "the volume {} at {} cannot be looked through",
            volume.name,
            volume.path.display()
        ))
        .remedy("Check the path and that this user may read it.")
        .because(cause)
    };
    let mounts = Mounts::read().map_err(unreadable)?;
    let incomplete = incomplete(&volume.path, &mounts).map_err(unreadable)?;
    let refuse = |reason: Option<String>| incomplete.clone().or(reason);
    let atomic = btrfs::refused(&volume.path, &mounts);
    let (by, copy) = match copy_place(volume, &mounts)? {
        Ok(place) => (if place.reflink { "reflink" } else { "copy" }, None),
        Err(reason) => ("copy", Some(reason)),
    };
    let ability = |mode, reason, by| CaptureAbility { mode, refused: refuse(reason), block_level: false, by };
    Ok(vec![
        ability(CaptureMode::Atomic, atomic, "btrfs"),
        ability(CaptureMode::Live, None, "live"),
        ability(CaptureMode::Copy, copy, by),
    ])
}

/// Why a capture would miss something, if it would: a snapshot shows nested subvolumes and mounts as empty
/// directories, without an error.
fn incomplete(path: &Path, mounts: &Mounts) -> io::Result<Option<String>> {
    let mounted = mounts.below(path).into_iter().find(|mount| !is_ours(mount)).map(Path::to_owned);
    if let Some(mounted) = mounted {
        return Ok(Some(format!(
            "another file system is mounted below the volume, at {}, and would be missing",
            mounted.display()
        )));
    }
    let nested = tree::other_devices(path, is_ours)?;
    Ok(nested.first().map(|nested| {
        format!("the volume holds a nested subvolume, {}, which would be missing", nested.display())
    }))
}

/// Whether this is a temporary thing of some run, which belongs to no volume.
fn is_ours(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(".standstill-"))
}

fn intend(volume: Volume, mode: CaptureMode, run: &RunId) -> Result<SnapshotIntent> {
    let refused = |reason: String| {
        Error::input(format!("the volume {} cannot be captured: {reason}", volume.name))
            .remedy("Choose another capture mode, or put the volume on a file system that can do it.")
    };
    let unreadable =
        |cause: io::Error| Error::failed("the mounts of this machine cannot be read").because(cause);
    let record = match mode {
        CaptureMode::Live => Record::Nothing,
        CaptureMode::Atomic => {
            let mounts = Mounts::read().map_err(unreadable)?;
            if let Some(reason) = btrfs::refused(&volume.path, &mounts) {
                return Err(refused(reason));
            }
            let place = btrfs::place(&volume.path, &mounts).map_err(refused)?;
            let path = place.directory.join(temporary_name(run, &volume.name, true));
            Record::BtrfsSnapshot { run: run.clone(), subvolume: place.subvolume, path, below: place.below }
        }
        CaptureMode::Copy => {
            let place = copy_place(&volume, &Mounts::read().map_err(unreadable)?)?.map_err(refused)?;
            let path = place.directory.join(temporary_name(run, &volume.name, place.hidden));
            Record::Copy { run: run.clone(), path }
        }
        CaptureMode::Auto => return Err(refused("the mode is not chosen yet".to_owned())),
    };
    Ok(SnapshotIntent { record: record.to_value()?, volume, mode })
}

/// Where a copy goes.
struct CopyPlace {
    directory: PathBuf,
    /// Beside the volume, where it is not to be seen.
    hidden: bool,
    /// Whether blocks are shared, so that it takes no room.
    reflink: bool,
}

/// Chooses where a copy goes: where blocks can be shared, else where there is room; or why it cannot be made.
fn copy_place(volume: &Volume, mounts: &Mounts) -> Result<Result<CopyPlace, String>> {
    let beside = volume.path.parent().map(|parent| (parent.to_owned(), true));
    let places: Vec<(PathBuf, bool)> = beside
        .into_iter()
        .chain([(temporary_directory()?, false)])
        .filter(|(place, _)| access(place, Access::WRITE_OK | Access::EXEC_OK).is_ok())
        .collect();
    let shared = places.iter().find(|(place, _)| {
        mounts.of(place).map(|mount| &mount.point) == mounts.of(&volume.path).map(|mount| &mount.point)
            && shares_blocks(place)
    });
    if let Some((place, hidden)) = shared {
        return Ok(Ok(CopyPlace { directory: place.clone(), hidden: *hidden, reflink: true }));
    }
    let needed = tree::allocated(&volume.path).map_err(|cause| {
        Error::failed(format!("the size of {} cannot be found out", volume.path.display())).because(cause)
    })?;
    if let Some((place, hidden)) = places.iter().find(|(place, _)| room(place) > needed) {
        return Ok(Ok(CopyPlace { directory: place.clone(), hidden: *hidden, reflink: false }));
    }
    let rooms: Vec<String> = places
        .iter()
        .map(|(place, _)| format!("{} has {}", place.display(), show_bytes(room(place))))
        .collect();
    Ok(Err(format!("a copy needs {} of room, and {}", show_bytes(needed), rooms.join(", "))))
}

/// Whether files of this file system can share blocks: tried with two files that have no name.
fn shares_blocks(directory: &Path) -> bool {
    let unnamed =
        || open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    match (unnamed(), unnamed()) {
        (Ok(one), Ok(other)) => ioctl_ficlone(one, other).is_ok(),
        _ => false,
    }
}

/// Whether this process runs as root.
fn is_root() -> bool {
    geteuid().is_root()
}

/// The directory that a path is or lies in.
fn directory_of(path: &Path) -> PathBuf {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_dir() => path.parent().unwrap_or(path).to_owned(),
        _ => path.to_owned(),
    }
}
