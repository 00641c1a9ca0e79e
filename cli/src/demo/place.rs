//! Where the demo works, and its removal.

use std::{
    fs,
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use standstill_core::{Error, Result, secret::Secret};
use tempfile::TempDir;

/// The demo's directory.
pub struct Place {
    root: PathBuf,
    /// Present if it is removed as a whole at the end.
    temporary: Option<TempDir>,
    /// Whether a directory of the user's was there before.
    existed: bool,
}

impl Place {
    /// Takes the user's directory, which must be empty or absent, or makes a temporary one.
    pub fn take(wanted: Option<&Path>) -> Result<Self> {
        let Some(wanted) = wanted else {
            let temporary =
                tempfile::Builder::new().prefix("standstill-demo-").tempdir().map_err(|cause| {
                    Error::failed("no temporary directory can be made")
                        .remedy(
                            "Set TMPDIR to a directory with some 100 MB of room, or add `--directory DIR`.",
                        )
                        .because(cause)
                })?;
            let place =
                Self { root: temporary.path().to_owned(), temporary: Some(temporary), existed: false };
            // A server of another user must pass through to its own files; it cannot list the directory.
            let mode = fs::Permissions::from_mode(0o711);
            fs::set_permissions(&place.root, mode).map_err(|cause| place.unusable(cause))?;
            return Ok(place);
        };
        let refused = |cause: io::Error| {
            Error::input(format!("the demo cannot work in {}", wanted.display()))
                .remedy("Give a directory that is empty or not there, where this user may write.")
                .because(cause)
        };
        let existed = match fs::read_dir(wanted).map(|mut entries| entries.next().is_some()) {
            Ok(true) => {
                return Err(refused(io::ErrorKind::DirectoryNotEmpty.into()));
            }
            Ok(false) => true,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(wanted).map_err(refused)?;
                false
            }
            Err(cause) => return Err(refused(cause)),
        };
        let root = fs::canonicalize(wanted).map_err(refused)?;
        Ok(Self { root, temporary: None, existed })
    }

    fn unusable(&self, cause: io::Error) -> Error {
        Error::failed(format!("the demo's directory {} cannot be written", self.root.display()))
            .remedy("Check that there is room, or choose another one with `--directory DIR`.")
            .because(cause)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the repository stays.
    pub const fn is_kept(&self) -> bool {
        self.temporary.is_none()
    }

    /// Makes a directory of this name, for its owner only.
    pub fn make(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        DirBuilder::new().mode(0o700).create(&path).map_err(|cause| self.unusable(cause))?;
        Ok(path)
    }

    /// Where the writer notes what was acknowledged.
    pub fn record(&self) -> PathBuf {
        self.root.join("acknowledged")
    }

    /// Where runs leave what must outlive them: the user's own journals are not touched.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub fn repository(&self) -> PathBuf {
        self.root.join("repository")
    }

    pub fn restored(&self) -> PathBuf {
        self.root.join("restored")
    }

    pub fn password_file(&self) -> PathBuf {
        self.root.join("password")
    }

    /// Makes up the repository's password, and leaves it in its file.
    pub fn password(&self) -> Result<Secret> {
        let password = Secret::new(uuid::Uuid::now_v7().simple().to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.password_file());
        let written = file.and_then(|mut file| file.write_all(password.expose().as_bytes()));
        written.map_err(|cause| self.unusable(cause))?;
        Ok(password)
    }

    /// Removes what nobody needs any more. In the user's directory the repository, its password and the restored
    /// copy stay, if there is a repository and the demo was not interrupted.
    pub fn clean(self, interrupted: bool) -> Result<()> {
        let root = self.root.clone();
        let failed = |cause: io::Error| {
            Error::failed(format!("{} cannot be removed", root.display()))
                .remedy(format!("Remove it by hand: rm -r {}", root.display()))
                .because(cause)
        };
        let keeps = !interrupted && self.repository().exists();
        let stays = [self.repository(), self.password_file(), self.restored()];
        if let Some(temporary) = self.temporary {
            return temporary.close().map_err(failed);
        }
        if !keeps && !self.existed {
            return fs::remove_dir_all(&root).map_err(failed);
        }
        for entry in fs::read_dir(&root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if keeps && stays.contains(&entry.path()) {
                continue;
            }
            let is_directory = entry.file_type().map_err(failed)?.is_dir();
            let removed =
                if is_directory { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
            removed.map_err(failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_place_leaves_nothing() {
        let place = Place::take(None).unwrap();
        let root = place.root().to_owned();
        place.make("data").unwrap();
        place.password().unwrap();
        place.clean(false).unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn a_directory_with_something_in_it_is_refused_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("mine"), "").unwrap();
        let error = Place::take(Some(place.path())).err().unwrap();
        assert_eq!(error.kind(), standstill_core::ErrorKind::Input);
        assert!(error.chain().contains("not empty"), "{}", error.chain());
        assert!(place.path().join("mine").exists());
    }

    #[test]
    fn in_the_users_directory_the_repository_its_password_and_the_copy_stay() {
        let outside = tempfile::tempdir().unwrap();
        let place = Place::take(Some(&outside.path().join("demo"))).unwrap();
        for name in ["data", "state", "repository", "restored"] {
            place.make(name).unwrap();
        }
        place.password().unwrap();
        let root = place.root().to_owned();
        place.clean(false).unwrap();
        let mut left: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["password", "repository", "restored"]);
    }

    #[test]
    fn a_demo_that_failed_before_it_had_a_repository_leaves_nothing() {
        let outside = tempfile::tempdir().unwrap();
        let absent = outside.path().join("demo");
        let place = Place::take(Some(&absent)).unwrap();
        place.make("data").unwrap();
        place.clean(false).unwrap();
        assert!(!absent.exists());
    }

    #[test]
    fn an_interrupted_demo_leaves_the_users_directory_as_it_was() {
        let outside = tempfile::tempdir().unwrap();
        let absent = outside.path().join("demo");
        let place = Place::take(Some(&absent)).unwrap();
        place.make("repository").unwrap();
        place.clean(true).unwrap();
        assert!(!absent.exists());
        let place = Place::take(Some(outside.path())).unwrap();
        place.make("repository").unwrap();
        place.clean(true).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
