//! Making entries in a directory that is held open. Names and types come from the repository and are hostile
//! until checked: no path is ever put together from them, and no link is ever followed.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use rustic_core::repofile::{Metadata, Node};
use rustix::{
    fs::{
        AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
        fsetxattr, futimens, linkat, mkdirat, mknodat, openat, symlinkat, utimensat,
    },
    io::Errno,
};

use crate::metadata::from_go_mode;

/// A name as it may stand in a directory, or `None`.
pub(crate) fn checked_name(node: &Node) -> Option<Box<OsStr>> {
    let name = node.name();
    let bytes = name.as_bytes();
    let plain =
        !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/') && !bytes.contains(&0);
    plain.then(|| Box::from(&*name))
}

/// Opens the directory into which a tree is written.
pub(crate) fn open_destination(path: &std::path::Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes a directory, or opens the one that is there. A link in its place is refused.
pub(crate) fn directory(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Makes a new file. One that is there, or a link, is refused.
pub(crate) fn file(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Makes another name for a file that was written before.
pub(crate) fn hard_link(
    root: BorrowedFd<'_>,
    existing: &std::path::Path,
    parent: BorrowedFd<'_>,
    name: &OsStr,
) -> io::Result<()> {
    Ok(linkat(root, existing, parent, name, AtFlags::empty())?)
}

/// Makes a symbolic link, with its owner and times. Where it points to is data.
pub(crate) fn symlink(parent: BorrowedFd<'_>, name: &OsStr, node: &Node) -> io::Result<()> {
    symlinkat(node.node_type.to_link(), parent, name)?;
    let (uid, gid) = owner(&node.meta);
    allowed(chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
    utimensat(parent, name, &times(&node.meta), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Makes a named pipe, with its owner, mode and times.
pub(crate) fn fifo(parent: BorrowedFd<'_>, name: &OsStr, node: &Node) -> io::Result<()> {
    let mode = Mode::from_raw_mode(from_go_mode(node.meta.mode.unwrap_or(0o600)) & 0o777);
    mknodat(parent, name, rustix::fs::FileType::Fifo, mode, 0)?;
    let (uid, gid) = owner(&node.meta);
    allowed(chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
    utimensat(parent, name, &times(&node.meta), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Sets owner, mode, extended attributes and times of an open file or directory, in the order in which they do
/// not undo each other.
pub(crate) fn set_metadata(entry: BorrowedFd<'_>, metadata: &Metadata) -> io::Result<()> {
    let (uid, gid) = owner(metadata);
    let owned = allowed(fchown(entry, uid, gid))?;
    if let Some(mode) = metadata.mode {
        // A program that runs as its owner must not run as somebody else.
        let kept = if owned { 0o7777 } else { 0o1777 };
        fchmod(entry, Mode::from_raw_mode(from_go_mode(mode) & kept))?;
    }
    for attribute in &metadata.extended_attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        match fsetxattr(entry, attribute.name.as_str(), value, XattrFlags::empty()) {
            Ok(()) => {}
            // Which names a file system takes, and from whom, is its own affair (`security.*`, `btrfs.*`).
            Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {
                tracing::warn!(attribute = attribute.name, "an extended attribute cannot be set here");
            }
            Err(error) => return Err(error.into()),
        }
    }
    futimens(entry, &times(metadata))?;
    Ok(())
}

/// Only root can give files away; for anybody else they stay their own.
fn allowed(result: rustix::io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(Errno::PERM) if !rustix::process::geteuid().is_root() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn owner(metadata: &Metadata) -> (Option<Uid>, Option<Gid>) {
    // The highest id means "leave it" to the kernel, so nothing can be owned by it.
    let usable = |id: &u32| *id != u32::MAX;
    (metadata.uid.filter(usable).map(Uid::from_raw), metadata.gid.filter(usable).map(Gid::from_raw))
}

fn times(metadata: &Metadata) -> Timestamps {
    let spec = |time: Option<jiff::Timestamp>| {
        let nanoseconds = time.map_or(0, jiff::Timestamp::as_nanosecond);
        let part = nanoseconds.rem_euclid(1_000_000_000);
        Timespec {
            tv_sec: i64::try_from((nanoseconds - part) / 1_000_000_000).unwrap_or_default(),
            tv_nsec: i64::try_from(part).unwrap_or_default(),
        }
    };
    let modified = spec(metadata.mtime);
    Timestamps {
        last_access: metadata.atime.map_or(modified, |time| spec(Some(time))),
        last_modification: modified,
    }
}

/// Flushes everything on the file system of a directory to its disk.
pub(crate) fn sync(directory: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(directory)?)
}
