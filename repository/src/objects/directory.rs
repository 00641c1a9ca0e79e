//! A repository in a directory.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, openat},
    io::Errno,
};

use super::Objects;

/// Files below a directory.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn walk(directory: &Path, found: &mut Vec<(String, u64)>) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                Self::walk(&entry.path(), found)?;
            } else if kind.is_file() {
                match entry.metadata() {
                    Ok(metadata) => {
                        found.push((entry.file_name().to_string_lossy().into_owned(), metadata.len()));
                    }
                    // Removed between the listing and here.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

impl Objects for Directory {
    fn prepare(&self) -> io::Result<()> {
        for folder in ["keys", "locks", "snapshots", "index", "data"] {
            fs::create_dir_all(self.0.join(folder))?;
        }
        (0..=u8::MAX).try_for_each(|number| fs::create_dir_all(self.0.join(format!("data/{number:02x}"))))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        match Self::walk(&self.0.join(folder), &mut found) {
            // The folder may be absent, the repository may not: a file system that was unmounted is no empty one.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.size("config")?.is_some() => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
            Ok(()) => Ok(found),
        }
    }

    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.0.join(path)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn read(&self, path: &str) -> io::Result<Bytes> {
        Ok(fs::read(self.0.join(path))?.into())
    }

    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut content = vec![0; length];
        File::open(self.0.join(path))?.read_exact_at(&mut content, offset)?;
        Ok(content.into())
    }

    fn write(&self, path: &str, content: Vec<Bytes>) -> io::Result<()> {
        let path = self.0.join(path);
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        // The repository itself is never made anew here: it may be on a file system that was unmounted.
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !write_unnamed(folder, &path, &content)? {
            write_renamed(&path, &content)?;
        }
        // The name must be on the disk too, before anything refers to it.
        File::open(folder)?.sync_all()
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn is_empty(&self) -> io::Result<bool> {
        match fs::read_dir(&self.0) {
            Ok(mut entries) => Ok(entries.next().transpose()?.is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}
/// Writes a file that has no name until it is whole, so that a process that is killed leaves nothing. `false` where the
/// file system has no such files, or the name is taken.
fn write_unnamed(folder: &Path, path: &Path, content: &[Bytes]) -> io::Result<bool> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = match openat(CWD, folder, flags, Mode::from_raw_mode(0o666)) {
        Ok(file) => File::from(file),
        // open(2): what file systems and kernels without O_TMPFILE say.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    content.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::NOENT | Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes a file under a name that restic ignores, since it is no id, and gives it its own once it is whole.
fn write_renamed(path: &Path, content: &[Bytes]) -> io::Result<()> {
    let mut unfinished = path.to_owned().into_os_string();
    unfinished.push("-tmp-");
    let written = File::create(&unfinished).and_then(|mut file| {
        content.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&unfinished, path));
    if done.is_err() {
        // Nothing refers to it; a later write under this name replaces it.
        let _unremovable = fs::remove_file(&unfinished);
    }
    done
}
