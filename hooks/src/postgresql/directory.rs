//! A restored data directory: telling that it is one, and keeping everything in it inside it.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown},
    path::{Path, PathBuf},
};

use standstill_core::{Error, Result, hook::HookContext};

/// Directories that a backup may leave out and that the server expects.
const EXPECTED: &[&str] = &[
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_logical",
    "pg_logical/mappings",
    "pg_logical/snapshots",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_tblspc",
    "pg_twophase",
    "pg_wal",
    "pg_wal/archive_status",
];

/// A data directory that no server runs on.
#[derive(Debug)]
pub(super) struct DataDirectory {
    /// Its path without links.
    pub path: PathBuf,
    uid: u32,
    gid: u32,
}

impl DataDirectory {
    /// The data directory that the step's volume is, or has under a relative path.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it is none.
    pub fn of(context: &HookContext, under: &Path) -> Result<Self> {
        let volume = context.volume()?;
        if under.is_absolute() || under.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(Error::input(format!("`under` is {}, which leaves the volume", under.display()))
                .remedy("Give a path relative to the volume."));
        }
        let path = volume.join(under);
        let real = path.canonicalize().map_err(|cause| none(&path).because(cause))?;
        let metadata = fs::metadata(real.join("PG_VERSION")).map_err(|cause| none(&path).because(cause))?;
        if !real.join("global/pg_control").exists() {
            return Err(none(&path));
        }
        if !real.starts_with(volume.canonicalize().map_err(|cause| none(volume).because(cause))?) {
            return Err(none(&path));
        }
        Ok(Self { path: real, uid: metadata.uid(), gid: metadata.gid() })
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file with the directory's owner, on disk before it counts.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.join(name);
        let written = (|| {
            use std::io::Write as _;
            // A link in its place would lead the write out of the directory.
            self.discard(name)?;
            let mut file = fs::File::create_new(&path)?;
            file.write_all(text.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            chown(&path, Some(self.uid), Some(self.gid))?;
            file.sync_all()
        })();
        written.map_err(|cause| unwritable(&path, cause))
    }

    /// Removes a file if it is there.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.discard(name).map_err(|cause| unwritable(&self.join(name), cause))
    }

    fn discard(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.join(name)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        }
    }

    /// Replaces a link, or nothing, by a directory.
    pub fn real_directory(&self, name: &str) -> Result<()> {
        let path = self.join(name);
        let made = (|| {
            match fs::symlink_metadata(&path) {
                // One that a restore made may belong to whoever restored.
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    fs::remove_file(&path)?;
                    fs::create_dir(&path)?;
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => fs::create_dir(&path)?,
                Err(cause) => return Err(cause),
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
            chown(&path, Some(self.uid), Some(self.gid))
        })();
        made.map_err(|cause| unwritable(&path, cause))
    }

    /// Makes it what the server wants: all its directories there, slots of another life gone, WAL owned by it,
    /// mode 0700.
    pub fn tidy(&self) -> Result<()> {
        for name in EXPECTED {
            self.real_directory(name)?;
        }
        let slots = self.join("pg_replslot");
        for entry in list(&slots)? {
            fs::remove_dir_all(&entry).map_err(|cause| unwritable(&entry, cause))?;
        }
        for entry in list(&self.join("pg_wal"))? {
            lchown(&entry, Some(self.uid), Some(self.gid)).map_err(|cause| unwritable(&entry, cause))?;
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&self.path, private).map_err(|cause| unwritable(&self.path, cause))
    }

    /// Points a link of it to another place.
    pub fn link(&self, name: &Path, to: &Path) -> Result<()> {
        let path = self.join(name);
        let linked = (|| {
            fs::remove_file(&path)?;
            std::os::unix::fs::symlink(to, &path)?;
            lchown(&path, Some(self.uid), Some(self.gid))
        })();
        linked.map_err(|cause| unwritable(&path, cause))
    }

    /// Refuses links that lead out of it and of the other places given: a server started on this directory must
    /// not be able to reach the files of the one that was backed up.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`], naming the link.
    pub fn refuse_leaving_links(&self, also: &[PathBuf]) -> Result<()> {
        let mut roots = vec![self.path.clone()];
        for root in also {
            roots.push(root.canonicalize().map_err(|cause| unreadable(root, cause))?);
        }
        let mut waiting = roots.clone();
        while let Some(directory) = waiting.pop() {
            for entry in list(&directory)? {
                let metadata = fs::symlink_metadata(&entry).map_err(|cause| unreadable(&entry, cause))?;
                if metadata.is_dir() {
                    waiting.push(entry);
                } else if metadata.is_symlink() {
                    let to = fs::read_link(&entry).map_err(|cause| unreadable(&entry, cause))?;
                    let real = entry.canonicalize().ok();
                    if !real.is_some_and(|real| roots.iter().any(|root| real.starts_with(root))) {
                        return Err(leaves(&entry, &to));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A link that leads out of the restored volume.
pub(super) fn leaves(link: &Path, to: &Path) -> Error {
    Error::input(format!("the link {} leads out of the restored volume, to {}", link.display(), to.display()))
        .remedy("Back up what it points to as a volume of its own and name it in `moved`, or remove the link. A server started here could change the files of the one that was backed up.")
}

/// The entries of a directory.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).map_err(|cause| unreadable(directory, cause))?;
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(|cause| unreadable(directory, cause)))
        .collect()
}

fn none(path: &Path) -> Error {
    Error::input(format!("{} is not a PostgreSQL data directory", path.display()))
        .remedy("Name the volume that the data directory was restored to; `under` names a directory in it.")
}

/// Something that cannot be read.
pub(super) fn unreadable(path: &Path, cause: io::Error) -> Error {
    Error::failed(format!("{} cannot be read", path.display())).because(cause)
}

fn unwritable(path: &Path, cause: io::Error) -> Error {
    Error::failed(format!("{} cannot be written", path.display()))
        .remedy("Check the space and the owner of the volume.")
        .because(cause)
}
