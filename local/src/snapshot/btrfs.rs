//! Snapshots of btrfs subvolumes, by the `btrfs` command.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::{
    fs::{Access, access},
    process::geteuid,
};
use standstill_core::{Error, Result, hook::Undone, point::RunId, units::show_duration};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::{COMMAND_DEADLINE, directory_of, is_root, mounts::Mounts};
use crate::{
    process::{launcher::find_program, tail::last_lines},
    record::is_temporary_of,
};

/// The inode number of a subvolume's root directory (`BTRFS_FIRST_FREE_OBJECTID`); files have higher ones.
const SUBVOLUME_ROOT: u64 = 256;

/// What is to be snapshotted, and into what.
pub(super) struct Place {
    /// The subvolume that holds the volume.
    pub(super) subvolume: PathBuf,
    /// Where the snapshot goes.
    pub(super) directory: PathBuf,
    /// The volume's path below the subvolume.
    pub(super) below: PathBuf,
}

/// Why no snapshot of a volume can be taken, if so.
pub(super) fn refused(path: &Path, mounts: &Mounts) -> Option<String> {
    let mount = match mounts.of(path) {
        Some(mount) if mount.kind == "btrfs" => mount,
        Some(mount) => {
            return Some(format!("{} is on {}, which has no snapshots", path.display(), mount.kind));
        }
        None => return Some(format!("the file system of {} is not known", path.display())),
    };
    if let Err(missing) = find_program("btrfs", &[]) {
        return Some(missing.to_string());
    }
    let place = match place(path, mounts) {
        Ok(place) => place,
        Err(reason) => return Some(reason),
    };
    if access(&place.directory, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Some(format!(
            "the snapshot would be in {}, where this user cannot write",
            place.directory.display()
        ));
    }
    if is_root() {
        return None;
    }
    if !mount.has("user_subvol_rm_allowed") {
        return Some(format!(
            "only root could remove the snapshot: {} is mounted without user_subvol_rm_allowed",
            mount.point.display()
        ));
    }
    let owner = fs::metadata(&place.subvolume).map(|metadata| metadata.uid());
    (owner.ok() != Some(geteuid().as_raw()))
        .then(|| format!("the subvolume {} belongs to another user", place.subvolume.display()))
}

/// Finds the subvolume that holds a volume, and a place for its snapshot on the same file system.
pub(super) fn place(path: &Path, mounts: &Mounts) -> Result<Place, String> {
    let start = directory_of(path);
    let is_root_of_subvolume =
        |directory: &&Path| fs::metadata(directory).is_ok_and(|metadata| metadata.ino() == SUBVOLUME_ROOT);
    let mount = mounts.of(path).map(|mount| mount.point.clone());
    let subvolume = start
        .ancestors()
        .take_while(|ancestor| mounts.of(ancestor).map(|mount| &mount.point) == mount.as_ref())
        .find(is_root_of_subvolume);
    let Some(subvolume) = subvolume else {
        return Err(format!("the root of the subvolume that holds {} is not mounted here", path.display()));
    };
    // Beside the subvolume, so that no volume holds the snapshot; inside it where only itself is mounted.
    let beside =
        subvolume.parent().filter(|parent| mounts.of(parent).map(|mount| &mount.point) == mount.as_ref());
    Ok(Place {
        directory: beside.unwrap_or(subvolume).to_owned(),
        below: path.strip_prefix(subvolume).unwrap_or(Path::new("")).to_owned(),
        subvolume: subvolume.to_owned(),
    })
}

/// Takes a read-only snapshot. Nothing but the one command is run: writes may be waiting for it.
pub(super) async fn snapshot(subvolume: &Path, path: &Path, cancel: &CancellationToken) -> Result<()> {
    let mut command = btrfs()?;
    command.args(["subvolume", "snapshot", "-r"]).arg(subvolume).arg(path);
    let what = format!("the snapshot of {}", subvolume.display());
    tokio::select! {
        finished = run(command, &what) => finished,
        () = cancel.cancelled() => Err(Error::cancelled(format!("{what} was given up"))),
    }
}

/// Deletes a snapshot of a run. Idempotent.
pub(super) async fn delete(run_id: &RunId, path: &Path) -> Result<Undone> {
    let what = format!("the removal of the snapshot {}", path.display());
    match fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Undone::AlreadyGone),
        Err(cause) => return Err(Error::failed(format!("{what} failed")).because(cause)),
        Ok(found) if found.is_dir() && found.ino() == SUBVOLUME_ROOT && is_temporary_of(run_id, path) => {}
        Ok(_) => {
            return Err(Error::failed(format!(
                "{} is not a snapshot of run {run_id}, so it is not removed",
                path.display()
            ))
            .remedy("Look at it, and remove it by hand if it is not needed."));
        }
    }
    let mut command = btrfs()?;
    command.args(["subvolume", "delete"]).arg(path);
    run(command, &what).await.map_err(|error| {
        error.remedy(format!("Remove it by hand: btrfs subvolume delete {}", path.display()))
    })?;
    Ok(Undone::LetGo)
}

fn btrfs() -> Result<Command> {
    let mut command = Command::new(find_program("btrfs", &[])?);
    command.env_clear().env("LANG", "C.UTF-8").current_dir("/");
    // A key press that ends the runner must not end it half-way.
    command.process_group(0).kill_on_drop(true).stdin(Stdio::null());
    Ok(command)
}

async fn run(mut command: Command, what: &str) -> Result<()> {
    let failed = |detail: String| Error::failed(format!("{what} failed{detail}"));
    match tokio::time::timeout(COMMAND_DEADLINE, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(failed(last_lines(&String::from_utf8_lossy(&output.stderr)))),
        Ok(Err(cause)) => Err(failed(String::new()).because(cause)),
        Err(_) => Err(failed(format!(": it was not done within {}", show_duration(COMMAND_DEADLINE)))),
    }
}
