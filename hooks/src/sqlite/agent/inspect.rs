//! Looking at a database before a backup, and the checkpoint that makes its log short.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{Access, access, statfs};
use standstill_core::{Error, Result};

use super::{
    super::task::{Checkpointed, Database, IdentifyTask, Identity, InspectTask, Inspected, JournalMode},
    files::{self, Header},
    locks, open,
};

/// File systems of other machines (statfs(2)): locks and shared memory there do not bind their other clients.
const REMOTE: [(u64, &str); 8] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x5346_414F, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
];

/// How long a connection may take to make the index of a log, or to go after it removed it.
const MOMENT: Duration = Duration::from_secs(2);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Says which database is meant: the file, or the only one in the directory, or else the directory itself.
pub(super) fn identify(task: &IdentifyTask) -> Result<Identity> {
    let IdentifyTask { directory, file } = task;
    let (path, header) = match file {
        Some(file) => {
            let path = files::resolve(&Database { directory: directory.clone(), file: file.clone() })?;
            let header = files::header(&path).map_err(|cause| files::unreadable(&path).because(cause))?;
            let header = header.ok_or_else(|| no_database(&path))?;
            (path, Some(header))
        }
        None => {
            only_database(directory)?.map_or((directory.clone(), None), |(path, header)| (path, Some(header)))
        }
    };
    let metadata = path.metadata().map_err(|cause| files::unreadable(&path).because(cause))?;
    Ok(Identity {
        identity: format!("sqlite:{}:{}", metadata.dev(), metadata.ino()),
        written_by: header.and_then(Header::written_by),
    })
}

/// The database of a directory that has one only.
fn only_database(directory: &Path) -> Result<Option<(PathBuf, Header)>> {
    let unreadable = |cause: std::io::Error| files::unreadable(directory).because(cause);
    let mut found = None;
    for entry in directory.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let plain = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if plain && let Ok(Some(header)) = files::header(&path) {
            if found.is_some() {
                return Ok(None);
            }
            found = Some((path, header));
        }
    }
    Ok(found)
}

fn no_database(path: &Path) -> Error {
    Error::input(format!("{} is not a SQLite database", path.display()))
        .remedy("Check `file`; a database that is empty or encrypted by the application cannot be backed up.")
}

/// Whether nobody has a database with a log open: then it has no index of the log. Its first connection is there before
/// that, and its last one after it, for a moment.
///
/// # Errors
/// When somebody keeps it for itself.
fn is_unused(path: &Path) -> Result<bool> {
    let (index, begun) = (files::beside(path, "-shm"), Instant::now());
    loop {
        if index.exists() {
            return Ok(false);
        }
        let Some(process) = locks::user(path)? else { return Ok(true) };
        if begun.elapsed() > MOMENT {
            return Err(Error::input(format!("process {process} keeps {} locked exclusively", path.display()))
                .remedy("Let the application leave `PRAGMA locking_mode = EXCLUSIVE`: nobody else can read the database."));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Looks whether a backup can be made; changes nothing.
pub(super) fn inspect(task: &InspectTask) -> Result<Inspected> {
    let path = files::resolve(&task.database)?;
    refuse_remote(&path)?;
    let header = files::header(&path)
        .map_err(|cause| files::unreadable(&path).because(cause))?
        .ok_or_else(|| no_database(&path))?;
    if task.writable {
        require_writable(&path)?;
    }
    let wal_bytes = files::size(&files::beside(&path, "-wal"))?;
    // A usual reader would make an index of the log.
    let unused = header.journal_mode == JournalMode::Wal && is_unused(&path)?;
    let connection = if unused { open::alone(&path)? } else { open::reader(&path)? };
    let page_count = open::page_count(&connection, &path).map_err(explain)?;
    connection
        .query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))
        .map_err(|cause| open::fault("read", &path, cause))?;
    Ok(Inspected {
        page_size: header.page_size,
        page_count,
        journal_mode: header.journal_mode,
        bytes: files::size(&path)? + wal_bytes,
        wal_bytes,
    })
}

/// Adds what usually is behind it when a database cannot be read before a backup.
fn explain(error: Error) -> Error {
    if error.kind() == standstill_core::ErrorKind::Input {
        return error.remedy(
            "Run as a user who may write the database's files; if a crash left a hot journal, open the database once \
             with its application, which recovers it.",
        );
    }
    error
}

fn refuse_remote(path: &Path) -> Result<()> {
    let found = statfs(path).map_err(|cause| files::unreadable(path).because(cause))?;
    // The kernel's word is 32 bits wide, sign-extended on some machines.
    let kind = u64::try_from(i128::from(found.f_type) & 0xFFFF_FFFF).unwrap_or(0);
    match REMOTE.iter().find(|(magic, _)| *magic == kind) {
        Some((_, name)) => {
            Err(Error::input(format!("{} is on a network file system ({name})", path.display())).remedy(
                "Run on the machine whose disk it is: a lock taken here would not stop writers elsewhere.",
            ))
        }
        None => Ok(()),
    }
}

fn require_writable(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    for (place, wanted) in [(path, Access::WRITE_OK), (directory, Access::WRITE_OK | Access::EXEC_OK)] {
        access(place, wanted).map_err(|cause| {
            Error::input(format!("no permission to write {}", place.display()))
                .remedy("Run as the application's user: a write lock needs write permission.")
                .because(cause)
        })?;
    }
    Ok(())
}

/// Makes a PASSIVE checkpoint: it waits for nobody and keeps nobody waiting. The other kinds wait for readers with
/// the write lock in hand.
pub(super) fn checkpoint(database: &Database) -> Result<Checkpointed> {
    let path = files::resolve(database)?;
    let connection = open::shared(&path)?;
    let journal_mode = open::journal_mode(&connection, &path)?;
    if journal_mode == JournalMode::Rollback {
        return Ok(Checkpointed { journal_mode, logged: 0, moved: 0 });
    }
    let (logged, moved) = connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| Ok((row.get(1)?, row.get(2)?)))
        .map_err(|cause| open::fault("checkpoint", &path, cause))?;
    Ok(Checkpointed { journal_mode, logged, moved })
}
