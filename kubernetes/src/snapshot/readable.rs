//! Whether a mover will be able to read a volume: it reads as one user, without any capability.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::target::Owner;

/// Made by file systems themselves, for root alone, and empty but after an accident. Whoever has it in a volume leaves
/// it out in the blueprint.
const LOST_AND_FOUND: &str = "lost+found";

/// What of a volume the mover's user could not read: the first that is found. What vanishes meanwhile is no matter.
///
/// # Errors
/// When the volume cannot be looked through: then this user, who is the mover's, cannot read it either.
pub(super) fn first_unreadable(volume: &Path, owner: Owner) -> io::Result<Option<String>> {
    let mut left = vec![volume.to_owned()];
    while let Some(directory) = left.pop() {
        let found = match look(&directory, owner) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory != volume => continue,
            Err(error) => return Err(error),
        };
        match found {
            Look::Refused(reason) => return Ok(Some(reason)),
            Look::Directories(below) => left.extend(below),
        }
    }
    Ok(None)
}

/// What a look into a directory found.
enum Look {
    /// Something that cannot be read.
    Refused(String),
    /// The directories in it.
    Directories(Vec<PathBuf>),
}

fn look(directory: &Path, owner: Owner) -> io::Result<Look> {
    let mut below = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let kind = metadata.file_type();
        if !(kind.is_dir() || kind.is_file()) || entry.file_name() == LOST_AND_FOUND {
            continue;
        }
        let may = Rights { mode: metadata.mode(), user: metadata.uid(), group: metadata.gid() };
        if !may.be_read_by(owner, kind.is_dir()) {
            return Ok(Look::Refused(format!(
                "{} belongs to the user {} and cannot be read by the user {}, as whom the rest is read",
                entry.path().display(),
                metadata.uid(),
                owner.user
            )));
        }
        if kind.is_dir() {
            below.push(entry.path());
        }
    }
    Ok(Look::Directories(below))
}

/// The owner and the mode of a file.
#[derive(Debug, Clone, Copy)]
struct Rights {
    mode: u32,
    user: u32,
    group: u32,
}

impl Rights {
    /// Whether a user without capabilities may read it; a directory must also be entered.
    fn be_read_by(self, owner: Owner, is_directory: bool) -> bool {
        let needed = if is_directory { 0o5 } else { 0o4 };
        let bits = if i64::from(self.user) == owner.user {
            self.mode >> 6
        } else if owner.group == Some(i64::from(self.group)) {
            self.mode >> 3
        } else {
            self.mode
        };
        bits & needed == needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { user: 26, group: Some(27) };

    fn rights(mode: u32, user: u32, group: u32) -> Rights {
        Rights { mode, user, group }
    }

    #[test]
    fn a_file_is_read_by_the_bits_of_its_owner_its_group_or_others() {
        assert!(rights(0o600, 26, 27).be_read_by(OWNER, false));
        assert!(rights(0o640, 0, 27).be_read_by(OWNER, false));
        assert!(rights(0o644, 0, 0).be_read_by(OWNER, false));
        assert!(!rights(0o600, 0, 27).be_read_by(OWNER, false));
        assert!(!rights(0o640, 0, 0).be_read_by(OWNER, false));
        // The owner's own bits count, not those of others.
        assert!(!rights(0o044, 26, 0).be_read_by(OWNER, false));
        assert!(!rights(0o744, 0, 0).be_read_by(OWNER, true));
        assert!(rights(0o755, 0, 0).be_read_by(OWNER, true));
    }

    #[test]
    fn the_first_file_of_somebody_else_is_named() {
        let place = std::env::temp_dir().join(format!("standstill-readable-{}", std::process::id()));
        fs::create_dir_all(place.join("base/1")).unwrap();
        fs::create_dir_all(place.join(LOST_AND_FOUND)).unwrap();
        fs::write(place.join("base/1/2"), "x").unwrap();
        let metadata = fs::metadata(place.join("base/1/2")).unwrap();
        let own = Owner { user: metadata.uid().into(), group: Some(metadata.gid().into()) };
        assert_eq!(first_unreadable(&place, own).unwrap(), None);
        let mut secret = fs::metadata(place.join("base/1/2")).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut secret, 0o600);
        fs::set_permissions(place.join("base/1/2"), secret).unwrap();
        let other = Owner { user: own.user + 1, group: None };
        let reason = first_unreadable(&place, other).unwrap().unwrap();
        assert!(reason.contains("base/1/2") && reason.contains("cannot be read by the user"), "{reason}");
        fs::remove_dir_all(&place).unwrap();
        assert!(first_unreadable(&place, own).is_err());
    }
}
