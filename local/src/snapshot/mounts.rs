//! What is mounted where (`/proc/self/mountinfo`, `proc_pid_mountinfo(5)`).

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// All mounts, in the order in which they were made.
#[derive(Debug, Clone)]
pub(crate) struct Mounts(Vec<Mount>);

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// The kind of file system.
    pub(crate) kind: String,
    /// The options of the mount and of its file system.
    options: Vec<String>,
}

impl Mount {
    /// Whether it has an option.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|present| present == option)
    }
}

impl Mounts {
    /// The mounts that this process sees.
    pub(crate) fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read("/proc/self/mountinfo")?))
    }

    fn parse(bytes: &[u8]) -> Self {
        Self(bytes.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
    }

    /// The mount that a path is on; the path is absolute and without links.
    pub(crate) fn of(&self, path: &Path) -> Option<&Mount> {
        // Of several at the same place the last one is seen; `max_by_key` takes the last of equals.
        self.0
            .iter()
            .filter(|mount| path.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.as_os_str().len())
    }

    /// All places below a path where something is mounted.
    pub(crate) fn below(&self, path: &Path) -> Vec<&Path> {
        let below = |mount: &&Mount| mount.point != path && mount.point.starts_with(path);
        self.0.iter().filter(below).map(|mount| mount.point.as_path()).collect()
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let text = String::from_utf8_lossy(line);
    let (place, system) = text.split_once(" - ")?;
    let options = place.split(' ').nth(5)?;
    let mut system = system.split(' ');
    let kind = system.next()?.to_owned();
    let options = options.split(',').chain(system.nth(1)?.split(',')).map(str::to_owned).collect();
    // From the bytes, since a path need not be UTF-8.
    let point = line.split(|byte| *byte == b' ').nth(4)?;
    Some(Mount { point: PathBuf::from(OsString::from_vec(unescape(point))), kind, options })
}

/// Blank, tab, line break and backslash are written as a backslash with three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        if let (b'\\', Some(byte)) = (first, tail.get(..3).and_then(octal)) {
            plain.push(byte);
            rest = tail.get(3..).unwrap_or_default();
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /srv rw - btrfs /dev/loop0 rw,user_subvol_rm_allowed,subvol=/
31 30 0:27 / /srv/with\\040blank rw,noatime shared:3 - tmpfs tmpfs rw
";

    #[test]
    fn a_path_is_on_the_longest_mount_point_above_it() {
        let mounts = Mounts::parse(SAMPLE);
        assert_eq!(mounts.of(Path::new("/srv/data")).unwrap().kind, "btrfs");
        assert!(mounts.of(Path::new("/srv/data")).unwrap().has("user_subvol_rm_allowed"));
        assert_eq!(mounts.of(Path::new("/srvx")).unwrap().kind, "ext4");
        assert_eq!(mounts.of(Path::new("/srv/with blank/x")).unwrap().kind, "tmpfs");
    }

    #[test]
    fn mounts_below_a_path_are_found_but_not_the_path_itself() {
        let mounts = Mounts::parse(SAMPLE);
        assert_eq!(mounts.below(Path::new("/srv")), [Path::new("/srv/with blank")]);
        assert!(mounts.below(Path::new("/srv/with blank")).is_empty());
    }

    #[test]
    fn the_mounts_of_this_process_are_understood() {
        assert!(
            Mounts::read().unwrap().of(Path::new("/proc/self")).is_some_and(|mount| mount.kind == "proc")
        );
    }
}
