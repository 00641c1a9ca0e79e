//! A copy of a database that goes on being written to.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    time::{Duration, Instant},
};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use standstill_core::{Error, Result, units::milliseconds};

use super::{
    super::task::{BackedUp, BackupTask, Count, JournalMode, Method, microseconds},
    files, open,
    read::{count_rows, problems, tables},
};

/// Pages that are copied between two looks at the clock.
const PAGES: i32 = 1024;

/// Copies a database as of one moment.
///
/// The source is read in one transaction, so that a writer in another process does not make the copy start again.
/// In WAL mode that keeps nobody waiting. In rollback-journal mode it keeps commits waiting, so it has a limit there.
pub(super) fn back_up(task: &BackupTask) -> Result<BackedUp> {
    let started = Instant::now();
    let path = files::resolve(&task.database)?;
    let copy = prepare(task, &path)?;
    let source = open::reader(&path)?;
    let journal_mode = open::journal_mode(&source, &path)?;
    let failed = |cause| open::fault("copy", &path, cause);
    let block = Duration::from_millis(task.block_milliseconds);
    let limit = (journal_mode == JournalMode::Rollback).then_some(block);

    let opened = Instant::now();
    let cut = started.elapsed();
    match task.method {
        Method::Backup => {
            source.execute_batch("BEGIN").map_err(failed)?;
            // The first read is what fixes the moment.
            open::page_count(&source, &path)?;
            copy_pages(&source, &copy, &path, limit)?;
        }
        // It opens a transaction of its own.
        Method::Vacuum => vacuum(&source, &copy, &path, limit)?,
    }
    drop(source);
    let froze = if limit.is_some() { opened.elapsed() } else { Duration::ZERO };
    let copied = Instant::now();

    keep(&path, &copy).map_err(|cause| {
        Error::failed(format!("cannot keep the copy {}", copy.display()))
            .remedy("Make room on the file system of the scratch directory.")
            .because(cause)
    })?;
    let result = open::alone(&copy)?;
    Ok(BackedUp {
        page_count: open::page_count(&result, &copy)?,
        bytes: files::size(&copy)?,
        journal_mode,
        froze_microseconds: microseconds(froze),
        cut_microseconds: microseconds(cut),
        problems: task.integrity.then(|| problems(&result, &copy)).transpose()?,
        counts: count(&result, &copy, task.tables)?,
        after_microseconds: microseconds(copied.elapsed()),
    })
}

/// Makes room for the copy: its directory, without what an earlier attempt of the same run left.
fn prepare(task: &BackupTask, path: &Path) -> Result<PathBuf> {
    let failed = |cause: io::Error| {
        Error::failed(format!("cannot make the directory {}", task.into.display())).because(cause)
    };
    match fs::remove_dir_all(&task.into) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed(cause)),
        _ => {}
    }
    let copy = task.into.join(&task.database.file);
    let parent = copy.parent().unwrap_or(&task.into);
    fs::create_dir_all(parent).map_err(failed)?;
    fs::set_permissions(&task.into, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    if copy == *path {
        return Err(Error::input("the copy would replace the database itself"));
    }
    Ok(copy)
}

fn copy_pages(source: &Connection, copy: &Path, path: &Path, limit: Option<Duration>) -> Result<()> {
    let failed = |cause| open::fault("copy", path, cause);
    let mut target = Connection::open(copy).map_err(|cause| open::fault("make", copy, cause))?;
    // It is synced once, when it is whole; a half of one is never used.
    target.execute_batch("PRAGMA synchronous = off").map_err(|cause| open::fault("make", copy, cause))?;
    let started = Instant::now();
    let backup = Backup::new(source, &mut target).map_err(failed)?;
    loop {
        match backup.step(PAGES).map_err(failed)? {
            StepResult::Done => break,
            StepResult::More => {}
            _ => {
                return Err(Error::temporary(format!("{} is locked", path.display()))
                    .remedy("Try again when no long transaction is open."));
            }
        }
        if let Some(limit) = limit
            && started.elapsed() >= limit
        {
            return Err(too_long(path, limit));
        }
    }
    drop(backup);
    target.close().map_err(|(_, cause)| open::fault("make", copy, cause))
}

fn vacuum(source: &Connection, copy: &Path, path: &Path, limit: Option<Duration>) -> Result<()> {
    let target = copy.to_str().ok_or_else(|| {
        Error::input(format!("{} is not UTF-8", copy.display())).remedy("Use the method `backup`.")
    })?;
    let interrupt = source.get_interrupt_handle();
    let (done, ended) = sync_channel::<()>(1);
    let timer = std::thread::spawn(move || {
        let Some(limit) = limit else { return false };
        let (mut late, mut patience) = (false, limit);
        // Again and again: an interrupt before the statement has begun interrupts nothing.
        while matches!(ended.recv_timeout(patience), Err(RecvTimeoutError::Timeout)) {
            (late, patience) = (true, Duration::from_millis(5));
            interrupt.interrupt();
        }
        late
    });
    let outcome = source.execute("VACUUM INTO ?1", [target]);
    drop(done);
    let late = timer.join().unwrap_or(false);
    match outcome {
        Ok(_) => Ok(()),
        Err(_) if late => Err(too_long(path, limit.unwrap_or_default())),
        Err(cause) => Err(open::fault("copy", path, cause)),
    }
}

fn too_long(path: &Path, limit: Duration) -> Error {
    Error::failed(format!(
        "copying {} kept writers waiting for {} ms and was given up",
        path.display(),
        milliseconds(limit)
    ))
    .remedy("Let the application use `PRAGMA journal_mode = WAL`, take a snapshot with `sqlite/write-lock`, or raise `maxBlock`.")
}

/// Makes the copy durable, and its mode and owner those of the database.
fn keep(path: &Path, copy: &Path) -> io::Result<()> {
    let metadata = path.metadata()?;
    fs::set_permissions(copy, metadata.permissions())?;
    let made = copy.metadata()?;
    if (made.uid(), made.gid()) != (metadata.uid(), metadata.gid()) {
        std::os::unix::fs::chown(copy, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    fs::File::open(copy)?.sync_all()
}

fn count(connection: &Connection, path: &Path, limit: Option<u32>) -> Result<Vec<Count>> {
    let failed = |cause| open::fault("count the rows of", path, cause);
    let Some(limit) = limit else { return Ok(Vec::new()) };
    tables(connection, limit)
        .map_err(failed)?
        .into_iter()
        .map(|table| {
            let rows = Some(count_rows(connection, &table).map_err(failed)?);
            Ok(Count { table, rows })
        })
        .collect()
}
