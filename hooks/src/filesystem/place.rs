//! The file system that a volume is, and whether something of ours is on it.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, open, statfs, syncfs};
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext, Probe},
    point::{Outputs, Version},
};

/// The bit of `CAP_SYS_ADMIN` (capabilities(7)), which freezing takes.
const SYS_ADMIN: u32 = 21;
/// `BTRFS_SUPER_MAGIC` of linux/magic.h.
const BTRFS: i64 = 0x9123_683e;

/// The program, and where it is found besides `PATH`: it is an administrator's.
pub(super) async fn fsfreeze(context: &HookContext) -> Result<PathBuf> {
    let search = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    context.runtime.program("fsfreeze", &search).await
}

/// The device that a path's file system has.
fn device(path: &Path) -> Result<u64> {
    fs::metadata(path).map(|metadata| metadata.dev()).map_err(|cause| {
        Error::input(format!("{} cannot be looked at", path.display()))
            .remedy("Check the path and that this user may reach it.")
            .because(cause)
    })
}

/// The verb `ready`.
pub(super) async fn ready(context: &HookContext) -> Result<Called> {
    let volume = context.volume()?;
    permitted()?;
    whole(volume)?;
    supported(volume)?;
    nothing_of_ours(context).await?;
    let kind = kind(volume);
    Ok(Called {
        outputs: Outputs::from([
            ("type".into(), json!(kind)),
            ("device".into(), json!(number(device(volume)?))),
        ]),
        ..Called::default()
    })
}

/// The verb `sync`.
pub(super) async fn sync(context: &HookContext) -> Result<Called> {
    let volume = context.volume()?.clone();
    let synced = tokio::task::spawn_blocking(move || write_back(&volume)).await;
    synced.map_err(|cause| Error::failed("writing back broke off").because(cause))??;
    Ok(Called::default())
}

/// Writes back all that is dirty in the file system of a path.
pub(super) fn write_back(path: &Path) -> Result<()> {
    let synced = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).and_then(syncfs);
    synced.map_err(|cause| {
        Error::failed(format!("the file system at {} cannot be written back", path.display()))
            .remedy("Look into the kernel's log for errors of its disk.")
            .because(cause)
    })
}

/// The `probe` of the hook.
pub(super) fn probe(context: &HookContext) -> Result<Probe> {
    let volume = context.volume()?;
    Ok(Probe {
        version: Version::default(),
        role: None,
        identity: format!("filesystem:{}", number(device(volume)?)),
    })
}

/// Refuses a process that may freeze nothing. Where that cannot be seen, freezing itself will tell.
fn permitted() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if may_administer(&status).unwrap_or(true) {
        return Ok(());
    }
    Err(Error::input("this process may freeze no file system: it lacks the capability CAP_SYS_ADMIN").remedy(
        "Run it as root on the machine of the file system. No pod of a run is given that: in a cluster capture the volume by a snapshot, or have the application pause by `pair` or `session`.",
    ))
}

/// Whether the effective capabilities of a process, in its `/proc/PID/status`, have that of an administrator.
fn may_administer(status: &str) -> Option<bool> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let bits = u64::from_str_radix(effective.trim(), 16).ok()?;
    Some(bits >> SYS_ADMIN & 1 == 1)
}

/// A freeze stops everything on a file system; a directory of it is not all that it stops, and a copy of that would
/// have to be written somewhere. So only a volume that is a whole file system is frozen.
pub(super) fn whole(volume: &Path) -> Result<()> {
    let below = match volume.parent() {
        Some(parent) => device(parent)? == device(volume)?,
        // The root: what is ours is on it, and that is what is said of it.
        None => false,
    };
    if !below && volume.is_dir() {
        return Ok(());
    }
    Err(Error::input(format!("{} is not where a file system is mounted", volume.display())).remedy(
        "Freezing stops the whole file system: give the directory that it is mounted at, or capture without a freeze.",
    ))
}

/// btrfs can be frozen, but a snapshot of it waits for the thaw (tried with Linux 6.18), and needs no freeze.
pub(super) fn supported(volume: &Path) -> Result<()> {
    let found = statfs(volume)
        .map_err(|cause| Error::input(format!("{} cannot be looked at", volume.display())).because(cause))?;
    if found.f_type == BTRFS {
        return Err(Error::input(format!(
            "{} is a btrfs, whose snapshots wait while it is frozen",
            volume.display()
        ))
        .remedy("Leave the freeze out: a snapshot of btrfs is of one moment by itself."));
    }
    Ok(())
}

/// Whoever writes to a frozen file system waits, and cannot thaw it any more. So nothing that a run writes to or runs
/// from may be on it.
pub(super) async fn nothing_of_ours(context: &HookContext) -> Result<()> {
    let frozen = device(context.volume()?)?;
    let mut ours = vec![
        ("the directory of this run".to_owned(), context.scratch.clone()),
        ("this program".to_owned(), PathBuf::from("/proc/self/exe")),
        ("the program fsfreeze".to_owned(), fsfreeze(context).await?),
        ("the standard output of this program".to_owned(), PathBuf::from("/proc/self/fd/1")),
        ("the log of this program".to_owned(), PathBuf::from("/proc/self/fd/2")),
    ];
    ours.extend(context.runtime.places().into_iter().map(|path| ("what runs leave".to_owned(), path)));
    for (what, path) in ours {
        // What is not there is on no file system: a standard output that is closed, say.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.dev() == frozen {
            let shown = fs::canonicalize(&path).unwrap_or(path);
            return Err(Error::input(format!(
                "{what} ({}) is on the file system that is to be frozen, and would wait for its own thaw",
                shown.display()
            ))
            .remedy("Put it on another disk: set XDG_STATE_HOME and TMPDIR, install the program elsewhere, or send its output elsewhere."));
        }
    }
    Ok(())
}

/// What kind of file system it is, for people.
fn kind(path: &Path) -> String {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of_path = |line: &&str| line.split(' ').nth(1) == path.to_str();
    let line = table.lines().rev().find(of_path);
    line.and_then(|line| line.split(' ').nth(2)).unwrap_or("unknown").to_owned()
}

/// A device's number as `major:minor`.
fn number(device: u64) -> String {
    format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_freeze_is_seen_in_the_effective_capabilities() {
        assert_eq!(may_administer("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(true));
        assert_eq!(may_administer("CapPrm:\t000001ffffffffff\nCapEff:\t00000000a80425fb\n"), Some(false));
        assert_eq!(may_administer("Name:\tx\n"), None);
    }
}
