//! Looking through directory trees without following links.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The bytes that a file or a tree takes up on disk; hard links count once. What vanishes meanwhile counts nothing.
pub(crate) fn allocated(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    // st_blocks counts 512 bytes each, whatever the file system's blocks are (stat(3type)).
    let mut sum = metadata.blocks() * 512;
    let mut linked = HashSet::new();
    let mut waiting = if metadata.is_dir() { vec![path.to_owned()] } else { Vec::new() };
    while let Some(directory) = waiting.pop() {
        for_each_entry(&directory, |path, metadata| {
            if metadata.is_dir() {
                waiting.push(path);
            } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
                return;
            }
            sum += metadata.blocks() * 512;
        })?;
    }
    Ok(sum)
}

/// The directories below a path that lie on another device: mounts, and nested subvolumes of btrfs.
/// `passed_over` says which ones to leave alone.
pub(crate) fn other_devices(path: &Path, passed_over: impl Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
    let metadata = fs::symlink_metadata(path)?;
    let mut found = Vec::new();
    let mut waiting = if metadata.is_dir() { vec![path.to_owned()] } else { Vec::new() };
    while let Some(directory) = waiting.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && directory != path => continue,
            Err(cause) => return Err(cause),
        };
        for entry in entries {
            let entry = entry?;
            // Only directories are looked at more closely: a volume may have millions of files.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || passed_over(&entry.path()) {
                continue;
            }
            match entry.metadata() {
                Ok(inner) if inner.dev() == metadata.dev() => waiting.push(entry.path()),
                Ok(_) => found.push(entry.path()),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(cause),
            }
        }
    }
    Ok(found)
}

/// Gives this user the permission to empty every directory of a tree that is its own.
pub(crate) fn make_removable(path: &Path) -> io::Result<()> {
    let mut waiting = vec![path.to_owned()];
    while let Some(directory) = waiting.pop() {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        for_each_entry(&directory, |path, metadata| {
            if metadata.is_dir() {
                waiting.push(path);
            }
        })?;
    }
    Ok(())
}

fn for_each_entry(directory: &Path, mut each: impl FnMut(PathBuf, fs::Metadata)) -> io::Result<()> {
    let gone = |cause: &io::Error| cause.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(cause) if gone(&cause) => return Ok(()),
        Err(cause) => return Err(cause),
    };
    for entry in entries {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) => each(entry.path(), metadata),
            Err(cause) if gone(&cause) => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}
