//! Writing a tree back.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::repofile::{Node, NodeType};
use standstill_core::{
    Error, Result,
    point::StoredArtifact,
    repository::{Progress, Restored},
};
use tokio_util::sync::CancellationToken;

use super::{entries, snapshot, sparse::SparseFile, top};
use crate::{
    fault,
    store::{Indexed, Store},
};

/// Writes a tree into a directory that exists.
pub(crate) fn get(
    store: &Store,
    artifact: &StoredArtifact,
    destination: &Path,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<Restored> {
    let what = format!("the artifact {}", artifact.name);
    let _lock = store.locks.reading()?;
    let snapshot = snapshot(store, artifact)?;
    let indexed = store.indexed()?;
    let node = top(&indexed, &snapshot, &what)?;
    progress.expect(artifact.bytes);
    let root = entries::open_destination(destination).map_err(|cause| {
        Error::failed(format!("the directory {} cannot be opened", destination.display()))
            .remedy("Make it first, and check that this user may write to it.")
            .because(cause)
    })?;
    let mut restore = Restore {
        indexed,
        destination,
        root,
        progress,
        cancel,
        links: HashMap::new(),
        restored: Restored::default(),
    };
    restore.run(&node)?;
    if restore.restored.bytes != artifact.bytes {
        let bytes = restore.restored.bytes;
        return Err(Error::damaged(format!(
            "{what} has {bytes} bytes in the repository, not {}",
            artifact.bytes
        )));
    }
    Ok(restore.restored)
}

struct Restore<'a> {
    indexed: Arc<Indexed>,
    destination: &'a Path,
    root: OwnedFd,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
    /// Files with several names, by device, inode and content: the name that was written first.
    links: HashMap<(u64, u64), (PathBuf, Node)>,
    restored: Restored,
}

/// A directory that is being filled; its own metadata is set when it is full.
struct Level {
    handle: OwnedFd,
    relative: PathBuf,
    node: Node,
    /// Entries still to come, last first.
    entries: Vec<Node>,
}

impl Restore<'_> {
    fn run(&mut self, node: &Node) -> Result<()> {
        let root = self.root.try_clone().map_err(|cause| self.failed(Path::new(""), cause))?;
        match node.node_type {
            NodeType::Dir => {
                let mut levels = vec![self.level(root, PathBuf::new(), node.clone())?];
                while let Some(level) = levels.last_mut() {
                    let Some(entry) = level.entries.pop() else {
                        self.close(levels.pop())?;
                        continue;
                    };
                    let (handle, relative) = (level.handle.as_fd(), level.relative.clone());
                    if let Some(deeper) = self.entry(handle, &relative, entry)? {
                        levels.push(deeper);
                    }
                }
            }
            NodeType::File => _ = self.entry(root.as_fd(), Path::new(""), node.clone())?,
            _ => return Err(Error::damaged("the artifact is neither a directory nor a file")),
        }
        entries::sync(&self.root).map_err(|cause| self.failed(Path::new(""), cause))
    }

    fn level(&self, handle: OwnedFd, relative: PathBuf, node: Node) -> Result<Level> {
        let id = node
            .subtree
            .ok_or_else(|| Error::damaged(format!("the directory {} has no entries", relative.display())))?;
        let tree = self.indexed.get_tree(&id).map_err(|error| fault::reading(&error, relative.display()))?;
        let mut entries = tree.nodes;
        entries.reverse();
        Ok(Level { handle, relative, node, entries })
    }

    fn close(&mut self, level: Option<Level>) -> Result<()> {
        let Some(level) = level else { return Ok(()) };
        entries::set_metadata(level.handle.as_fd(), &level.node.meta)
            .map_err(|cause| self.failed(&level.relative, cause))
    }

    /// Writes one entry; for a directory returns what is to be filled next.
    fn entry(&mut self, parent: BorrowedFd<'_>, above: &Path, node: Node) -> Result<Option<Level>> {
        if self.cancel.is_cancelled() {
            return Err(fault::cancelled("restoring the tree"));
        }
        let Some(name) = entries::checked_name(&node) else {
            return Err(Error::damaged(format!(
                "an entry in `{}` is named `{}`",
                above.display(),
                node.name.escape_debug()
            ))
            .remedy("Do not trust this repository: somebody else wrote it."));
        };
        let relative = above.join(&*name);
        self.restored.entries += 1;
        let made = match &node.node_type {
            NodeType::Dir => {
                let handle =
                    entries::directory(parent, &name).map_err(|cause| self.failed(&relative, cause))?;
                return self.level(handle, relative, node).map(Some);
            }
            NodeType::File => return self.file(parent, &name, &relative, &node).map(|()| None),
            NodeType::Symlink { .. } => entries::symlink(parent, &name, &node),
            NodeType::Fifo => entries::fifo(parent, &name, &node),
            NodeType::Dev { .. } | NodeType::Chardev { .. } | NodeType::Socket => {
                tracing::warn!(path = %relative.display(), kind = %node.node_type, "not restored: it is no data");
                self.restored.entries -= 1;
                Ok(())
            }
        };
        made.map(|()| None).map_err(|cause| self.failed(&relative, cause))
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &OsStr, relative: &Path, node: &Node) -> Result<()> {
        if node.meta.links > 1 && self.linked(parent, name, relative, node)? {
            self.restored.bytes += node.meta.size;
            self.progress.advance(node.meta.size);
            return Ok(());
        }
        let file = entries::file(parent, name).map_err(|cause| self.failed(relative, cause))?;
        let mut sparse = Watched { file: SparseFile::new(&file), broken: None, restore: self };
        let written = self.indexed.dump(node, &mut sparse);
        if let Some(error) = sparse.broken {
            return Err(if error.kind() == io::ErrorKind::Interrupted {
                fault::cancelled("restoring the tree")
            } else {
                self.failed(relative, error)
            });
        }
        let finished = sparse.file.finish();
        written.map_err(|error| fault::reading(&error, relative.display()))?;
        let bytes = finished.map_err(|cause| self.failed(relative, cause))?;
        if bytes != node.meta.size {
            let size = node.meta.size;
            return Err(Error::damaged(format!(
                "{} has {bytes} bytes in the repository, not {size}",
                relative.display()
            )));
        }
        entries::set_metadata(file.as_fd(), &node.meta).map_err(|cause| self.failed(relative, cause))?;
        self.restored.bytes += bytes;
        Ok(())
    }

    /// Makes another name of a file that was written already. Whether it is the same file is for its content to
    /// say, not for its inode number.
    fn linked(&mut self, parent: BorrowedFd<'_>, name: &OsStr, relative: &Path, node: &Node) -> Result<bool> {
        let key = (node.meta.device_id, node.meta.inode);
        let Some((first, written)) = self.links.get(&key) else {
            self.links.insert(key, (relative.to_owned(), node.clone()));
            return Ok(false);
        };
        if written.content != node.content || written.meta != node.meta {
            return Ok(false);
        }
        entries::hard_link(self.root.as_fd(), first, parent, name)
            .map_err(|cause| self.failed(relative, cause))?;
        Ok(true)
    }

    fn failed(&self, relative: &Path, cause: io::Error) -> Error {
        let path = self.destination.join(relative);
        let remedy = match cause.kind() {
            io::ErrorKind::AlreadyExists => "Restore into an empty directory.",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "Free some space there, then restore again."
            }
            io::ErrorKind::PermissionDenied => "Check that this user may write there.",
            _ => "Check the disk and the system's log.",
        };
        Error::failed(format!("{} cannot be restored", path.display())).remedy(remedy).because(cause)
    }
}

/// A file being written: stops when cancelled, and keeps the disk's own error.
struct Watched<'a, 'b> {
    file: SparseFile<'a>,
    broken: Option<io::Error>,
    restore: &'a Restore<'b>,
}

impl io::Write for Watched<'_, '_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.restore.cancel.is_cancelled() {
            self.broken = Some(io::ErrorKind::Interrupted.into());
            return Err(io::Error::other("cancelled"));
        }
        match self.file.write(buffer) {
            Ok(written) => {
                self.restore.progress.advance(written as u64);
                Ok(written)
            }
            Err(error) => {
                let text = error.to_string();
                self.broken = Some(error);
                Err(io::Error::other(text))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
