//! File metadata, between the file system and restic's nodes.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use rustic_core::repofile::Metadata;

/// Go's bits of `os.FileMode`, in which restic keeps modes, and the Unix bits they stand for.
const GO_BITS: [(u32, u32); 3] = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];
/// Go's bits for the type of a file.
const GO_TYPES: [(u32, u32); 6] = [
    (0o040_000, 1 << 31),
    (0o120_000, 1 << 27),
    (0o060_000, 1 << 26),
    (0o020_000, (1 << 26) | (1 << 21)),
    (0o010_000, 1 << 25),
    (0o140_000, 1 << 24),
];
const TYPE_MASK: u32 = 0o170_000;

/// restic's mode of a Unix one.
pub(crate) fn to_go_mode(mode: u32) -> u32 {
    let special = GO_BITS.iter().filter(|(_, unix)| mode & unix != 0).fold(0, |bits, (go, _)| bits | go);
    let kind = GO_TYPES.iter().find(|(unix, _)| mode & TYPE_MASK == *unix).map_or(0, |(_, go)| *go);
    (mode & 0o777) | special | kind
}

/// The Unix permissions of restic's mode.
pub(crate) fn from_go_mode(mode: u32) -> u32 {
    let special = GO_BITS.iter().filter(|(go, _)| mode & go != 0).fold(0, |bits, (_, unix)| bits | unix);
    (mode & 0o777) | special
}

/// Which files may change again without their times showing it: those that were changed at or after `from`, by the
/// grain of a file system's clock.
///
/// Such a file is stored with the time of the upload as its time of change. The next backup finds another one, and
/// so reads it again, whatever else its metadata says (git does the like with its index).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Racy {
    /// A second before the cut, or before the upload started if that was earlier.
    pub(crate) from: Timestamp,
    /// When the upload started.
    pub(crate) now: Timestamp,
}

impl Racy {
    fn change_time(self, metadata: &fs::Metadata) -> Option<Timestamp> {
        let (modified, changed) = (modified(metadata), changed(metadata));
        if modified.max(changed).is_none_or(|last| last >= self.from) { Some(self.now) } else { changed }
    }
}

fn modified(metadata: &fs::Metadata) -> Option<Timestamp> {
    timestamp(metadata.mtime(), metadata.mtime_nsec())
}

fn changed(metadata: &fs::Metadata) -> Option<Timestamp> {
    timestamp(metadata.ctime(), metadata.ctime_nsec())
}

fn timestamp(seconds: i64, nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok()
}

/// What makes two trees of the same volume compare equal: no times of access, no names of users (numbers count),
/// and no device numbers, which differ between snapshots, except below a mount.
///
/// A file that is `racy` is stored with a change time that it does not have (see [`Racy`]).
pub(crate) fn to_node(
    metadata: &fs::Metadata,
    root_device: u64,
    racy: Racy,
    extended: Vec<(String, Vec<u8>)>,
) -> Metadata {
    let modified = modified(metadata);
    let directory = metadata.is_dir();
    let mut node = Metadata {
        mode: Some(to_go_mode(metadata.mode())),
        mtime: modified,
        atime: modified,
        ctime: if metadata.is_file() { racy.change_time(metadata) } else { changed(metadata) },
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
        inode: metadata.ino(),
        device_id: if metadata.dev() == root_device { 0 } else { metadata.dev() },
        size: if metadata.is_file() { metadata.len() } else { 0 },
        links: if directory { 0 } else { metadata.nlink() },
        ..Metadata::default()
    };
    set_extended(&mut node, extended);
    node
}

/// Sets extended attributes, whose type the library does not name for us.
fn set_extended(node: &mut Metadata, extended: Vec<(String, Vec<u8>)>) {
    for (name, value) in extended {
        if let Some(attribute) = attribute(&name, &value) {
            node.extended_attributes.push(attribute);
        }
    }
}

fn attribute<T: serde::de::DeserializeOwned>(name: &str, value: &[u8]) -> Option<T> {
    serde_json::from_value(serde_json::json!({"name": name, "value": BASE64_STANDARD.encode(value)})).ok()
}

/// Extended attributes of an entry, links not followed. A file system without them has none.
pub(crate) fn extended_attributes(path: &Path) -> rustix::io::Result<Vec<(String, Vec<u8>)>> {
    use rustix::{
        fs::{lgetxattr, llistxattr},
        io::Errno,
    };
    // The kernel's limits for the list of names and for one value.
    let mut names = Vec::with_capacity(64 * 1024);
    match llistxattr(path, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // Names that are not UTF-8 cannot be kept in restic's format.
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let mut value = Vec::with_capacity(64 * 1024);
        match lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => found.push((name.to_owned(), value)),
            Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_survive_the_way_to_restic_and_back() {
        for mode in [0o100_644, 0o104_755, 0o102_755, 0o041_777, 0o040_700, 0o120_777] {
            assert_eq!(from_go_mode(to_go_mode(mode)), mode & 0o7777, "{mode:o}");
        }
        assert_eq!(to_go_mode(0o040_755), 0o755 | 1 << 31);
    }
}
