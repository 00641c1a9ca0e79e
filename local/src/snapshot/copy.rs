//! Copies of volumes that keep modes, owners, times, links and holes.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, Metadata},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, symlink},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmod, chownat, lgetxattr,
        llistxattr, lsetxattr, mknodat, utimensat,
    },
    io::Errno,
};
use standstill_core::{Error, Result, filter::Filter, repository::Restored};
use tokio_util::sync::CancellationToken;

use super::{file::copy_file, is_ours, is_root};

/// Copies a volume into a new private directory; the path of the copy in it.
pub(super) fn copy_volume(
    source: &Path,
    directory: &Path,
    tolerate_changes: bool,
    cancel: &CancellationToken,
) -> Result<PathBuf> {
    let name = source.file_name().ok_or_else(|| {
        Error::input(format!("{} cannot be copied", source.display()))
            .remedy("Name a directory below the root.")
    })?;
    let target = directory.join(name);
    let made = DirBuilder::new().mode(0o700).create(directory);
    let copied = made.map_err(|cause| Failed::new(directory, cause)).and_then(|()| {
        let mut copier = Copier::new(source, tolerate_changes, None, cancel);
        copier.copy(source, &target)
    });
    match copied {
        Ok(()) => Ok(target),
        Err(_) if cancel.is_cancelled() => {
            Err(Error::cancelled(format!("the copy of {} was given up", source.display())))
        }
        Err(Failed { path, cause }) => {
            Err(Error::failed(format!("{} cannot be copied into {}", path.display(), directory.display()))
                .remedy(remedy(&cause))
                .because(cause))
        }
    }
}

/// Copies what is in a directory into another one that is there, without what is left out, and makes that like it.
pub(crate) fn copy_into(
    source: &Path,
    directory: &Path,
    left_out: &Filter,
    cancel: &CancellationToken,
) -> Result<Restored> {
    let mut copier = Copier::new(source, false, Some(left_out), cancel);
    let done = fs::symlink_metadata(source)
        .map_err(|cause| Failed::new(source, cause))
        .and_then(|metadata| copier.fill(source, directory, &metadata));
    match done {
        Ok(()) => Ok(copier.copied),
        Err(_) if cancel.is_cancelled() => {
            Err(Error::cancelled(format!("the copy of {} was given up", source.display())))
        }
        Err(Failed { path, cause }) => {
            Err(Error::failed(format!("{} cannot be copied into {}", path.display(), directory.display()))
                .remedy("Check that there is room, and that this user may read the one and write the other.")
                .because(cause))
        }
    }
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Free space, or set TMPDIR to a place with room."
        }
        io::ErrorKind::PermissionDenied => "Run Standstill as root or as the owner of the volume.",
        io::ErrorKind::NotFound | io::ErrorKind::Other => {
            "Use a hold under which the files do not change, or an atomic capture."
        }
        _ => "Check the file system and the permissions of this user.",
    }
}

/// What could not be copied, and why.
struct Failed {
    path: PathBuf,
    cause: io::Error,
}

impl Failed {
    fn new(path: &Path, cause: io::Error) -> Self {
        Self { path: path.to_owned(), cause }
    }
}

struct Copier<'run> {
    /// What is copied.
    root: &'run Path,
    tolerate_changes: bool,
    /// What is not copied, by its path below the root.
    left_out: Option<&'run Filter>,
    cancel: &'run CancellationToken,
    /// Where the first of several hard links was copied to, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
    copied: Restored,
}

impl<'run> Copier<'run> {
    fn new(
        root: &'run Path,
        tolerate_changes: bool,
        left_out: Option<&'run Filter>,
        cancel: &'run CancellationToken,
    ) -> Self {
        Self { root, tolerate_changes, left_out, cancel, linked: HashMap::new(), copied: Restored::default() }
    }

    fn dress(&self, source: &Path, target: &Path, metadata: &Metadata) -> io::Result<()> {
        // As in a restore from the repository: who may not give files away keeps them.
        dress(source, target, metadata, self.left_out.is_none() || is_root())
    }

    fn leaves_out(&self, source: &Path) -> bool {
        let below = source.strip_prefix(self.root).ok();
        self.left_out.zip(below).is_some_and(|(filter, below)| filter.excludes(below))
    }

    /// Copies one entry with everything below it.
    fn copy(&mut self, source: &Path, target: &Path) -> Result<(), Failed> {
        if self.cancel.is_cancelled() {
            return Err(Failed::new(source, io::Error::from(io::ErrorKind::Interrupted)));
        }
        match self.copy_present(source, target) {
            Err(Failed { path, cause }) if self.tolerate_changes && has_vanished(&path, source, &cause) => {
                Ok(())
            }
            other => other,
        }
    }

    fn copy_present(&mut self, source: &Path, target: &Path) -> Result<(), Failed> {
        let here = |cause: io::Error| Failed::new(source, cause);
        let metadata = fs::symlink_metadata(source).map_err(here)?;
        let kind = metadata.file_type();
        if kind.is_socket() {
            // It belongs to a process, not to the data.
            return Ok(());
        }
        if kind.is_dir() {
            return self.copy_directory(source, target, &metadata);
        }
        if metadata.nlink() > 1 {
            let place = self.linked.entry((metadata.dev(), metadata.ino()));
            match place {
                std::collections::hash_map::Entry::Occupied(first) => {
                    return fs::hard_link(first.get(), target).map_err(here);
                }
                std::collections::hash_map::Entry::Vacant(first) => {
                    first.insert(target.to_owned());
                }
            }
        }
        let copied = self.copy_leaf(source, target, &metadata);
        if copied.is_ok() {
            self.copied.entries += 1;
            self.copied.bytes += if kind.is_file() { metadata.len() } else { 0 };
        } else {
            self.linked.remove(&(metadata.dev(), metadata.ino()));
        }
        copied.map_err(here)
    }

    fn copy_leaf(&self, source: &Path, target: &Path, metadata: &Metadata) -> io::Result<()> {
        let kind = metadata.file_type();
        if kind.is_symlink() {
            symlink(fs::read_link(source)?, target)?;
        } else if kind.is_file() {
            copy_file(source, target, self.tolerate_changes, self.cancel)?;
        } else {
            mknodat(CWD, target, FileType::from_raw_mode(metadata.mode()), Mode::RUSR, metadata.rdev())?;
        }
        self.dress(source, target, metadata)
    }

    fn copy_directory(&mut self, source: &Path, target: &Path, metadata: &Metadata) -> Result<(), Failed> {
        fs::read_dir(source).map_err(|cause| Failed::new(source, cause))?;
        DirBuilder::new().mode(0o700).create(target).map_err(|cause| Failed::new(target, cause))?;
        self.copied.entries += 1;
        self.fill(source, target, metadata)
    }

    /// Copies what is in a directory into one that is there.
    fn fill(&mut self, source: &Path, target: &Path, metadata: &Metadata) -> Result<(), Failed> {
        let here = |cause: io::Error| Failed::new(source, cause);
        for entry in fs::read_dir(source).map_err(here)? {
            let entry = entry.map_err(here)?;
            if !is_ours(&entry.path()) && !self.leaves_out(&entry.path()) {
                self.copy(&entry.path(), &target.join(entry.file_name()))?;
            }
        }
        // Last: filling a directory changes its time, and it may be one that is not to be written to.
        self.dress(source, target, metadata).map_err(here)
    }
}

/// Whether a failure means that a file was removed meanwhile, and not that the copy's own place is missing.
fn has_vanished(failed: &Path, source: &Path, cause: &io::Error) -> bool {
    failed == source
        && cause.kind() == io::ErrorKind::NotFound
        && fs::symlink_metadata(source).is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound)
}

/// Gives the copy the original's owner, mode, attributes and times, in this order: each may change the one before.
fn dress(source: &Path, target: &Path, metadata: &Metadata, owner: bool) -> io::Result<()> {
    let present = fs::symlink_metadata(target)?;
    if owner && (present.uid(), present.gid()) != (metadata.uid(), metadata.gid()) {
        let (user, group) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
        chownat(CWD, target, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if !metadata.file_type().is_symlink() {
        chmod(target, Mode::from_raw_mode(metadata.mode()))?;
    }
    copy_attributes(source, target)?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: metadata.atime(), tv_nsec: metadata.atime_nsec() },
        last_modification: Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() },
    };
    Ok(utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Copies access control lists and the attributes of users; those of the system where this user may.
fn copy_attributes(source: &Path, target: &Path) -> io::Result<()> {
    // The kernel's own limits for a list and for a value are 64 KiB (xattr(7)).
    let mut names = vec![0_u8; 64 * 1024];
    let length = match llistxattr(source, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
        Err(cause) => return Err(cause.into()),
    };
    if length == 0 {
        return Ok(());
    }
    let mut value = vec![0_u8; 64 * 1024];
    let names = names.get(..length).unwrap_or_default();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let copied = lgetxattr(source, name, &mut value[..]).and_then(|length| {
            lsetxattr(target, name, value.get(..length).unwrap_or_default(), XattrFlags::empty())
        });
        match copied {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(Errno::PERM | Errno::OPNOTSUPP) if !name.starts_with(b"user.") => {}
            Err(cause) => return Err(cause.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
