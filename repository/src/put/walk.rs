//! A tree as the archiver's source: directory by directory in the order of names, every file opened before it is
//! handed over, everything counted.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::{
    ReadSource, ReadSourceEntry, ReadSourceOpen, RusticResult,
    repofile::{Metadata, Node, NodeType},
};
use rustix::fs::OFlags;
use standstill_core::{Error, Result, filter::Filter, repository::Progress};
use tokio_util::sync::CancellationToken;

use super::tally::Tally;
use crate::metadata::{self, Racy};

/// What a walk needs to know.
pub(crate) struct Plan {
    /// Where the tree can be read.
    pub(crate) root: PathBuf,
    /// Its path in the snapshot.
    pub(crate) original: PathBuf,
    pub(crate) filter: Filter,
    /// Whether files may vanish or change while they are read.
    pub(crate) tolerant: bool,
    /// Paths relative to the root that are left for later.
    pub(crate) later: Vec<PathBuf>,
    /// Which files the next backup must read again.
    pub(crate) racy: Racy,
    pub(crate) tally: Arc<Tally>,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) cancel: CancellationToken,
}

impl Plan {
    /// The same for one of the files that were left for later.
    pub(crate) fn for_one(&self, tally: Arc<Tally>) -> Self {
        Self {
            root: self.root.clone(),
            original: self.original.clone(),
            filter: self.filter.clone(),
            tolerant: self.tolerant,
            later: Vec::new(),
            racy: self.racy,
            tally,
            progress: Arc::clone(&self.progress),
            cancel: self.cancel.clone(),
        }
    }

    fn real(&self, relative: &Path) -> PathBuf {
        if relative.as_os_str().is_empty() { self.root.clone() } else { self.root.join(relative) }
    }

    fn stored(&self, relative: &Path) -> PathBuf {
        if relative.as_os_str().is_empty() { self.original.clone() } else { self.original.join(relative) }
    }

    /// What an error of reading means here: nothing, if the entry vanished and may.
    fn failed(&self, relative: &Path, cause: io::Error) -> Option<Error> {
        if self.tolerant && cause.kind() == io::ErrorKind::NotFound && !relative.as_os_str().is_empty() {
            return None;
        }
        let path = self.real(relative);
        let remedy = match cause.kind() {
            io::ErrorKind::PermissionDenied => "Run as a user who may read all of it.",
            io::ErrorKind::NotFound => {
                "Capture it with a snapshot, or under a hold that tolerates changing files."
            }
            _ => "Check the disk and the system's log.",
        };
        Some(Error::failed(format!("{} cannot be read", path.display())).remedy(remedy).because(cause))
    }
}

/// The archiver's view of a tree.
pub(crate) struct TreeSource {
    pub(crate) plan: Arc<Plan>,
    /// Only this one file, instead of the tree.
    pub(crate) only: Option<PathBuf>,
}

impl ReadSource for TreeSource {
    type Open = OpenedFile;
    type Iter = Walk;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Walk {
        let (start, single) = match &self.only {
            Some(file) => (file.clone(), true),
            None => (PathBuf::new(), false),
        };
        Walk { plan: Arc::clone(&self.plan), start: Some(start), single, device: None, levels: Vec::new() }
    }
}

/// One directory on the way down: its path relative to the root, and the names still to come, last first.
struct Level {
    relative: PathBuf,
    names: Vec<OsString>,
}

/// The iterator over a tree. After an error, which is in the tally, it ends.
pub(crate) struct Walk {
    plan: Arc<Plan>,
    start: Option<PathBuf>,
    single: bool,
    device: Option<u64>,
    levels: Vec<Level>,
}

type Entry = ReadSourceEntry<OpenedFile>;

impl Iterator for Walk {
    type Item = RusticResult<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.plan.cancel.is_cancelled() {
                self.plan.tally.fail(crate::fault::cancelled("storing the tree"));
            }
            if self.plan.tally.has_failed() {
                return None;
            }
            let relative = self.next_path()?;
            match self.entry(&relative) {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(cause) => {
                    if let Some(error) = self.plan.failed(&relative, cause) {
                        self.plan.tally.fail(error);
                    }
                }
            }
        }
    }
}

impl Walk {
    /// The next path that is not left out.
    fn next_path(&mut self) -> Option<PathBuf> {
        if let Some(start) = self.start.take() {
            return Some(start);
        }
        loop {
            let level = self.levels.last_mut()?;
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let relative = level.relative.join(name);
            if !self.plan.filter.excludes(&relative) && !self.plan.later.contains(&relative) {
                return Some(relative);
            }
        }
    }

    fn entry(&mut self, relative: &Path) -> io::Result<Option<Entry>> {
        let path = self.plan.real(relative);
        // The root may be reached through a link; nothing below it is.
        let root = relative.as_os_str().is_empty();
        let metadata = if root { fs::metadata(&path)? } else { fs::symlink_metadata(&path)? };
        let kind = metadata.file_type();
        if kind.is_socket() {
            // A socket is nothing without its process; the server makes it anew.
            return Ok(None);
        }
        if kind.is_file() {
            return self.file(relative, &path, root).map(Some);
        }
        let node_type = if kind.is_dir() {
            let level = list(&path, relative)?;
            if !self.single {
                self.levels.push(level);
            }
            NodeType::Dir
        } else if kind.is_symlink() {
            NodeType::from_link(&fs::read_link(&path)?)
        } else if kind.is_fifo() {
            NodeType::Fifo
        } else if kind.is_block_device() {
            NodeType::Dev { device: metadata.rdev() }
        } else {
            NodeType::Chardev { device: metadata.rdev() }
        };
        let node = self.node(relative, node_type, &path, &metadata)?;
        let counter = if node.is_dir() { &self.plan.tally.directories } else { &self.plan.tally.entries };
        Tally::count(counter, 1);
        Ok(Some(Entry { path: self.plan.stored(relative), node, open: None }))
    }

    /// A regular file: it is opened here, so that it cannot vanish between its metadata and its content.
    fn file(&mut self, relative: &Path, path: &Path, follow: bool) -> io::Result<Entry> {
        let mut flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it was replaced by something that is not a file"));
        }
        let node = self.node(relative, NodeType::File, path, &metadata)?;
        let stored = self.plan.stored(relative);
        Tally::count(&self.plan.tally.entries, 1);
        Tally::count(&self.plan.tally.files, 1);
        let open = OpenedFile {
            size: metadata.len(),
            reading: Some(Reading {
                file,
                path: path.to_owned(),
                stored: stored.clone(),
                size: metadata.len(),
                done: 0,
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                plan: Arc::clone(&self.plan),
                ended: false,
            }),
            plan: Arc::clone(&self.plan),
        };
        Ok(Entry { path: stored, node, open: Some(open) })
    }

    fn node(
        &mut self,
        relative: &Path,
        kind: NodeType,
        path: &Path,
        metadata: &fs::Metadata,
    ) -> io::Result<Node> {
        let device = *self.device.get_or_insert_with(|| metadata.dev());
        let extended = metadata::extended_attributes(path)?;
        let stored = self.plan.stored(relative);
        let name = stored.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
        let metadata: Metadata = metadata::to_node(metadata, device, self.plan.racy, extended);
        Ok(Node::new_node(name, kind, metadata))
    }
}

/// The names in a directory, in the reverse of their order: they are taken from the end.
fn list(path: &Path, relative: &Path) -> io::Result<Level> {
    let names = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = names.collect::<io::Result<Vec<OsString>>>()?;
    names.sort_unstable_by(|one, other| other.cmp(one));
    Ok(Level { relative: relative.to_owned(), names })
}

/// A file handed to the archiver. If it is dropped unread, the archiver knew its content from the parent snapshot.
pub(crate) struct OpenedFile {
    size: u64,
    reading: Option<Reading>,
    plan: Arc<Plan>,
}

impl ReadSourceOpen for OpenedFile {
    type Reader = Reading;

    fn open(mut self) -> RusticResult<Reading> {
        self.reading.take().ok_or_else(|| {
            rustic_core::RusticError::new(rustic_core::ErrorKind::Internal, "a file was opened twice")
        })
    }
}

impl Drop for OpenedFile {
    fn drop(&mut self) {
        if self.reading.is_some() {
            Tally::count(&self.plan.tally.unchanged, self.size);
            self.plan.progress.advance(self.size);
        }
    }
}

/// A file being read: as many bytes as it had when it was opened, or fewer if it shrank and may.
pub(crate) struct Reading {
    file: File,
    path: PathBuf,
    stored: PathBuf,
    size: u64,
    done: u64,
    modified: (i64, i64),
    plan: Arc<Plan>,
    ended: bool,
}

impl Reading {
    /// At the end: whether what was read is what was there.
    fn end(&mut self) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        self.ended = true;
        if !self.plan.tolerant {
            let now = self.file.metadata()?;
            if self.done != self.size
                || now.len() != self.size
                || (now.mtime(), now.mtime_nsec()) != self.modified
            {
                return Err(io::Error::other("it changed while it was being read"));
            }
        } else if self.done != self.size {
            self.plan.tally.shrank(&self.stored, self.done);
        }
        Ok(0)
    }

    fn read_more(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size - self.done;
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if left == 0 {
            return self.end();
        }
        match self.file.read(&mut buffer[..most])? {
            0 if most > 0 => self.end(),
            read => {
                self.done += read as u64;
                Tally::count(&self.plan.tally.read, read as u64);
                self.plan.progress.advance(read as u64);
                Ok(read)
            }
        }
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.plan.cancel.is_cancelled() {
            self.plan.tally.fail(crate::fault::cancelled("storing the tree"));
        }
        if self.plan.tally.has_failed() {
            return Err(io::Error::other("the upload has failed already"));
        }
        self.read_more(buffer).inspect_err(|cause| {
            if cause.kind() != io::ErrorKind::Interrupted {
                let path = self.path.display();
                self.plan.tally.fail(
                    Error::failed(format!("{path} cannot be read: {cause}"))
                        .remedy("Check the disk; if the file was written to, capture it with a snapshot."),
                );
            }
        })
    }
}

/// Whether a tree's root is there and can be stored.
pub(crate) fn look(root: &Path) -> Result<fs::Metadata> {
    fs::metadata(root).map_err(|cause| {
        Error::failed(format!("{} cannot be read", root.display()))
            .remedy("Check that it is there and that this user may read it.")
            .because(cause)
    })
}
