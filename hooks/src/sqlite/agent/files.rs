//! Where a database's files are, without opening any of them through SQLite.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use standstill_core::{Error, Result};

use super::super::task::{Database, JournalMode};

/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The length of the file header (file format, section 1.3).
const HEADER: usize = 100;

/// What the file header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub page_size: u64,
    /// How many pages the file had at its last change; not kept up to date by very old writers.
    pub page_count: u64,
    pub journal_mode: JournalMode,
    /// `SQLITE_VERSION_NUMBER` of the last writer.
    pub writer: u32,
}

impl Header {
    /// Reads a header; `None` if it is not one of a SQLite database.
    fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        if !bytes.starts_with(MAGIC) {
            return None;
        }
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let page_size = match u16::from_be_bytes([bytes[16], bytes[17]]) {
            1 => 65_536,
            size => u64::from(size),
        };
        Some(Self {
            page_size,
            page_count: u64::from(number(28)),
            journal_mode: if bytes[18] == 2 { JournalMode::Wal } else { JournalMode::Rollback },
            writer: number(96),
        })
    }

    /// The last writer's version in its usual form.
    pub(super) fn written_by(self) -> Option<String> {
        let version = self.writer;
        (version >= 3_000_000)
            .then(|| format!("{}.{}.{}", version / 1_000_000, version / 1_000 % 1_000, version % 1_000))
    }
}

/// Reads a file's header; `None` if it is too short or not a database's.
///
/// Opening a file here and closing it again drops this process' locks on it, so this is called before SQLite opens
/// anything, or in a process that holds nothing.
pub(super) fn header(path: &Path) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER];
    match File::open(path)?.read_exact(&mut bytes) {
        Ok(()) => Ok(Header::parse(&bytes)),
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Finds a database's file: the real path, which is what SQLite names the files beside it after.
///
/// # Errors
/// When it does not exist, is no plain file, or lies outside the volume.
pub(super) fn resolve(database: &Database) -> Result<PathBuf> {
    let Database { directory, file } = database;
    if file.as_os_str().is_empty() || file.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(Error::input(format!(
            "`{}` is not a file's path relative to the volume",
            file.display()
        ))
        .remedy("Name the database file relative to its volume, without `..`."));
    }
    let found = |path: &Path| {
        path.canonicalize().map_err(|cause| {
            Error::input(format!("cannot find the database {}", path.display()))
                .remedy("Check the volume's path and `file`.")
                .because(cause)
        })
    };
    let volume = found(directory)?;
    let path = found(&volume.join(file))?;
    if !path.starts_with(&volume) {
        return Err(Error::input(format!(
            "{} is a link to {}, which is outside the volume",
            volume.join(file).display(),
            path.display()
        ))
        .remedy("Declare the directory that really holds the database as the volume."));
    }
    let metadata = path.metadata().map_err(|cause| unreadable(&path).because(cause))?;
    if !metadata.is_file() {
        return Err(Error::input(format!("{} is not a plain file", path.display()))
            .remedy("Check the volume's path and `file`."));
    }
    if metadata.nlink() > 1 {
        // By another name its log has another name too: two users of it would not see each other's changes.
        return Err(Error::input(format!("{} has {} hard links", path.display(), metadata.nlink()))
            .remedy("Leave it one name only: SQLite keeps its log beside the name that it was opened by."));
    }
    Ok(path)
}

/// A file beside the database: `-wal`, `-shm`, `-journal`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The size of a file; 0 if it is not there.
pub(super) fn size(path: &Path) -> Result<u64> {
    match path.metadata() {
        Ok(metadata) => Ok(metadata.len()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(cause) => Err(unreadable(path).because(cause)),
    }
}

/// An error about a file that cannot be read.
pub(super) fn unreadable(path: &Path) -> Error {
    Error::input(format!("cannot read {}", path.display()))
        .remedy("Run as a user who may read the database's files and write beside them.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(directory: &Path, file: &str) -> Database {
        Database { directory: directory.to_owned(), file: file.into() }
    }

    #[test]
    fn a_link_that_leaves_the_volume_is_refused() {
        let (volume, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("real.db"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path().join("real.db"), volume.path().join("app.db")).unwrap();
        let error = resolve(&database(volume.path(), "app.db")).unwrap_err();
        assert!(error.to_string().contains("outside the volume"), "{error}");
    }

    #[test]
    fn a_path_that_climbs_out_is_refused() {
        let volume = tempfile::tempdir().unwrap();
        for file in ["../app.db", "/etc/passwd", "", "./app.db"] {
            let error = resolve(&database(volume.path(), file)).unwrap_err();
            assert!(error.to_string().contains("relative to the volume"), "{file}: {error}");
        }
    }

    #[test]
    fn a_second_name_of_the_file_is_refused() {
        let volume = tempfile::tempdir().unwrap();
        std::fs::write(volume.path().join("app.db"), "x").unwrap();
        std::fs::hard_link(volume.path().join("app.db"), volume.path().join("same.db")).unwrap();
        let error = resolve(&database(volume.path(), "app.db")).unwrap_err();
        assert!(error.to_string().contains("2 hard links"), "{error}");
    }

    #[test]
    fn a_header_gives_page_size_mode_and_last_writer() {
        let mut bytes = [0; HEADER];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..20].copy_from_slice(&[0, 1, 2, 2]);
        bytes[96..].copy_from_slice(&3_040_001_u32.to_be_bytes());
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header.page_size, 65_536);
        assert_eq!(header.journal_mode, JournalMode::Wal);
        assert_eq!(header.written_by().unwrap(), "3.40.1");
        assert_eq!(Header::parse(&[0; HEADER]), None);
    }
}
