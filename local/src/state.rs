//! Where this machine's runs leave what must outlive them.

use std::{
    env, fs,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;
use standstill_core::{Error, Result, point::RunId};

/// The state directory: journals, keepers and locks. Private to its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The user's own: `$XDG_STATE_HOME/standstill`, by default `~/.local/state/standstill`.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it cannot be made, or belongs to somebody else.
    pub fn of_user() -> Result<Self> {
        let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base =
            absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        let base = base.ok_or_else(|| {
            Error::input("there is no place for the state directory")
                .remedy("Set XDG_STATE_HOME or HOME to an absolute path.")
        })?;
        Self::at(&base.join("standstill"))
    }

    /// A state directory in a place of its own.
    ///
    /// # Errors
    /// As [`StateDir::of_user`].
    pub fn at(path: &Path) -> Result<Self> {
        let wrong = |cause: io::Error| {
            Error::input(format!("the state directory {} cannot be used", path.display()))
                .remedy("Set XDG_STATE_HOME to a directory that this user may write to.")
                .because(cause)
        };
        for directory in [path.to_owned(), path.join("runs"), path.join("locks")] {
            make_private(&directory).map_err(wrong)?;
        }
        let path = fs::canonicalize(path).map_err(wrong)?;
        let metadata = fs::metadata(&path).map_err(wrong)?;
        if metadata.uid() != geteuid().as_raw() {
            return Err(Error::input(format!(
                "the state directory {} belongs to another user",
                path.display()
            ))
            .remedy("Set XDG_STATE_HOME to a directory of this user."));
        }
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(wrong)?;
        }
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where all runs are.
    pub(crate) fn runs(&self) -> PathBuf {
        self.0.join("runs")
    }

    /// The directory of one run.
    pub(crate) fn run(&self, run: &RunId) -> PathBuf {
        self.runs().join(run.as_str())
    }

    /// Where all locks are.
    pub(crate) fn locks(&self) -> PathBuf {
        self.0.join("locks")
    }
}

/// Makes a directory with mode 0700, and those above it, if it is not there.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes what was created, renamed or removed in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes a private file as a whole: after a crash it is there with all its bytes or not at all.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no directory"))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = parent.join(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_private_even_if_it_was_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("standstill");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let state = StateDir::at(&path).unwrap();
        assert_eq!(fs::metadata(state.path()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(state.runs()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_state_directory_that_cannot_be_made_is_an_input_error_with_a_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = StateDir::at(&file.path().join("standstill")).unwrap_err();
        assert_eq!(error.kind(), standstill_core::ErrorKind::Input);
        assert!(error.remedy_text().unwrap().contains("XDG_STATE_HOME"));
    }
}
