//! Directories of the user's that a restore writes to.
//!
//! A restore that did not finish empties its destination again. So that nothing else is ever emptied, a marker in the
//! run's state directory says which directory was found or made empty by this very run.

use std::{
    fs,
    fs::DirBuilder,
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use standstill_core::{Error, Result, hook::Undone, point::RunId, runtime::ScratchIntent};

use crate::{
    record::Record,
    scratch::{give_like, remove_tree},
    state::{StateDir, make_private, write_durably},
};

/// A directory that a restore is to write to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Destination {
    /// The directory.
    path: PathBuf,
    /// Whether it was there, and empty.
    existed: bool,
    /// Where it is noted that it was taken.
    marker: PathBuf,
}

/// Which directory was taken.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    device: u64,
    inode: u64,
}

impl Taken {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// Chooses a directory of the user's to restore into. Touches nothing.
pub(crate) fn intent(state: &StateDir, path: &Path, run: &RunId) -> Result<ScratchIntent> {
    let wrong = |what: &str, remedy: &str| {
        Error::input(format!("the destination {} {what}", path.display())).remedy(remedy.to_owned())
    };
    let (path, existed) = match fs::canonicalize(path) {
        Ok(found) if !found.is_dir() => {
            return Err(wrong("is not a directory", "Name a directory that is empty or not there."));
        }
        Ok(found) => {
            if !is_empty(&found)
                .map_err(|cause| wrong("cannot be read", "Check its permissions.").because(cause))?
            {
                return Err(wrong(
                    "is not empty",
                    "Name a directory that is empty or not there; nothing is overwritten.",
                ));
            }
            (found, true)
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => (place_for_new(path)?, false),
        Err(cause) => {
            return Err(wrong("cannot be reached", "Check the path and its permissions.").because(cause));
        }
    };
    let digest = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
    let marker = state.run(run).join("destinations").join(digest.as_str());
    let record = Record::Destination(Destination { path: path.clone(), existed, marker }).to_value()?;
    Ok(ScratchIntent { path, record })
}

/// The full path of a directory that is not there; the one above it must be.
fn place_for_new(path: &Path) -> Result<PathBuf> {
    let full = std::path::absolute(path).ok();
    let place = full.as_deref().and_then(|full| {
        let parent = fs::canonicalize(full.parent()?).ok().filter(|parent| parent.is_dir())?;
        Some(parent.join(full.file_name()?))
    });
    place.ok_or_else(|| {
        Error::input(format!(
            "the destination {} cannot be made, because the directory above it is not there",
            path.display()
        ))
        .remedy("Make the directory above it first, or correct the path.")
    })
}

impl Destination {
    /// Takes the directory: makes it, or makes sure that it is still empty.
    pub(crate) fn take(&self, like: Option<&Path>) -> Result<()> {
        let failed = |cause: io::Error| {
            Error::failed(format!("the destination {} cannot be used", self.path.display()))
                .remedy("Check that this user may write there and that nobody else does.")
                .because(cause)
        };
        if let Some(parent) = self.marker.parent() {
            make_private(parent).map_err(failed)?;
        }
        if self.existed {
            if !is_empty(&self.path).map_err(failed)? {
                return Err(failed(io::Error::from(io::ErrorKind::DirectoryNotEmpty)));
            }
        } else {
            DirBuilder::new().mode(0o700).create(&self.path).map_err(failed)?;
            give_like(&self.path, like).map_err(failed)?;
        }
        // Between making and noting it a crash leaves an empty directory, which harms nobody.
        let taken = Taken::of(&self.path).and_then(|taken| Ok(serde_json::to_vec(&taken)?));
        taken.and_then(|taken| write_durably(&self.marker, &taken)).map_err(failed)
    }

    /// Empties the directory again, and removes it if it was not there. Idempotent.
    pub(crate) fn dispose(&self) -> Result<Undone> {
        let failed = |cause: io::Error| {
            Error::failed(format!("what was restored into {} cannot be removed", self.path.display()))
                .remedy("Remove it by hand before the next restore.")
                .because(cause)
        };
        let taken: Taken = match fs::read(&self.marker) {
            Ok(text) => serde_json::from_slice(&text).map_err(|cause| failed(cause.into()))?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Undone::AlreadyGone),
            Err(cause) => return Err(failed(cause)),
        };
        // The user may have removed it, and put another one in its place.
        let ours = Taken::of(&self.path).is_ok_and(|present| present == taken);
        if ours {
            for entry in fs::read_dir(&self.path).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                if fs::symlink_metadata(&path).map_err(failed)?.is_dir() {
                    remove_tree(&path).map_err(failed)?;
                } else {
                    fs::remove_file(&path).map_err(failed)?;
                }
            }
            if !self.existed {
                fs::remove_dir(&self.path).map_err(failed)?;
            }
        }
        fs::remove_file(&self.marker).map_err(failed)?;
        Ok(if ours { Undone::LetGo } else { Undone::AlreadyGone })
    }
}

fn is_empty(path: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(path)?.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        place: tempfile::TempDir,
        state: StateDir,
        run: RunId,
    }

    impl Fixture {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let state = StateDir::at(&place.path().join("state")).unwrap();
            Self { place, state, run: RunId::generate() }
        }

        fn intend(&self, path: &Path) -> Destination {
            let intent = intent(&self.state, path, &self.run).unwrap();
            match Record::from_value(&intent.record).unwrap() {
                Record::Destination(destination) => destination,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_destination_that_holds_something_is_refused_and_kept() {
        let fixture = Fixture::new();
        let path = fixture.place.path().join("data");
        fs::create_dir(&path).unwrap();
        let destination = fixture.intend(&path);
        fs::write(path.join("precious"), "x").unwrap();
        let error = intent(&fixture.state, &path, &fixture.run).unwrap_err();
        assert!(error.to_string().ends_with("is not empty"), "{error}");
        // Somebody put it there after it was intended.
        assert!(destination.take(None).is_err());
        assert_eq!(destination.dispose().unwrap(), Undone::AlreadyGone);
        assert!(path.join("precious").exists());
    }

    #[test]
    fn what_was_restored_is_removed_and_a_directory_that_was_there_is_left_empty() {
        let fixture = Fixture::new();
        for existed in [true, false] {
            let path = fixture.place.path().join(format!("data-{existed}"));
            if existed {
                fs::create_dir(&path).unwrap();
            }
            let destination = fixture.intend(&path);
            destination.take(None).unwrap();
            fs::create_dir(path.join("base")).unwrap();
            fs::write(path.join("base/1"), "x").unwrap();
            fs::write(path.join("version"), "15").unwrap();
            assert_eq!(destination.dispose().unwrap(), Undone::LetGo);
            assert_eq!(path.exists(), existed);
            assert_eq!(destination.dispose().unwrap(), Undone::AlreadyGone);
        }
    }

    #[test]
    fn a_directory_that_took_the_place_of_the_destination_is_not_emptied() {
        let fixture = Fixture::new();
        let path = fixture.place.path().join("data");
        let destination = fixture.intend(&path);
        destination.take(None).unwrap();
        fs::rename(&path, fixture.place.path().join("elsewhere")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("precious"), "x").unwrap();
        assert_eq!(destination.dispose().unwrap(), Undone::AlreadyGone);
        assert!(path.join("precious").exists());
    }
}
