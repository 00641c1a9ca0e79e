//! What the repository library works on: our files, with one write withheld.
//!
//! The library never writes a snapshot. Its archiver skips entries whose read failed, logs that, and still writes
//! a snapshot and returns `Ok`. Here that write goes nowhere: a snapshot is written by
//! [`crate::store::Store::write_snapshot`] alone, after everything was counted. So there is no moment at which an
//! incomplete artifact exists, not even when the process is killed.
//!
//! Nor does the library stop when a write has failed: the parts of its pipeline take no notice of one that has ended,
//! and it reads its source to the very end, hours or for ever, before it says so. So the first write that fails is
//! noted here ([`Writing`]), which ends the reading, and what is still on its way is not tried any more.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};
use standstill_core::Result;
use tokio_util::sync::CancellationToken;

use crate::{fault::Attempt, objects::Objects};

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    name: String,
    objects: Arc<dyn Objects>,
    writings: Mutex<Vec<Weak<Writing>>>,
}

/// The writing of one artifact, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Writing {
    /// Is cancelled when the writing is, and when a write of it has failed.
    pub(crate) stop: CancellationToken,
    failure: OnceLock<(io::ErrorKind, String)>,
}

impl Writing {
    /// What came of it: a write that failed is the cause of whatever was told then.
    pub(crate) fn judge<T>(&self, path: &Path, outcome: Result<T>) -> Result<T> {
        let Some((kind, cause)) = self.failure.get() else { return outcome };
        let failed: io::Result<T> = Err(io::Error::new(*kind, cause.clone()));
        failed.attempt(format!("{} cannot be written to the repository", path.display()))
    }

    fn fail(&self, cause: &io::Error) {
        // The first one is the cause of the others.
        let _later = self.failure.set((cause.kind(), cause.to_string()));
        self.stop.cancel();
    }
}

impl Gate {
    /// `name` is for messages.
    pub(crate) fn new(name: String, objects: Arc<dyn Objects>) -> Self {
        Self { name, objects, writings: Mutex::default() }
    }

    /// Begins the writing of an artifact.
    pub(crate) fn begin(&self, cancel: &CancellationToken) -> Arc<Writing> {
        let writing = Arc::new(Writing { stop: cancel.child_token(), failure: OnceLock::new() });
        let mut writings = self.writings.lock().unwrap_or_else(PoisonError::into_inner);
        writings.retain(|known| known.strong_count() > 0);
        writings.push(Arc::downgrade(&writing));
        writing
    }

    /// What is being written. Whose a write is the library does not say; all of them go to the same place.
    fn writings(&self) -> Vec<Arc<Writing>> {
        let writings = self.writings.lock().unwrap_or_else(PoisonError::into_inner);
        writings.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Where a file is, relative to the repository.
pub(crate) fn path(kind: FileType, id: &Id) -> String {
    let id = id.to_hex();
    let id = id.as_str();
    match kind {
        FileType::Config => "config".to_owned(),
        FileType::Pack => format!("data/{}/{id}", &id[..2]),
        FileType::Key | FileType::Snapshot | FileType::Index => format!("{}/{id}", kind.dirname()),
    }
}

fn failed(doing: &str, kind: FileType, path: &str, cause: io::Error) -> Box<RusticError> {
    RusticError::with_source(ErrorKind::Backend, "cannot {doing} `{path}`", cause)
        .attach_context("doing", doing)
        .attach_context("path", path)
        .attach_context("kind", kind.to_string())
}

impl ReadBackend for Gate {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let folder = kind.dirname();
        let listing_failed = |cause| failed("list", kind, folder, cause);
        let short = |size: u64| u32::try_from(size).map_err(|cause| listing_failed(io::Error::other(cause)));
        if kind == FileType::Config {
            let size = self.objects.size("config").map_err(listing_failed)?;
            return size.map(|size| Ok((Id::default(), short(size)?))).into_iter().collect();
        }
        // Other names are unfinished files of this or another tool.
        let names = self.objects.list(folder).map_err(listing_failed)?.into_iter();
        let ids = names.filter_map(|(name, size)| Some((name.parse::<Id>().ok()?, size)));
        ids.map(|(id, size)| Ok((id, short(size)?))).collect()
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        let path = path(kind, id);
        self.objects.read(&path).map_err(|cause| failed("read", kind, &path, cause))
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        _: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let path = path(kind, id);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.objects
            .read_range(&path, u64::from(offset), length)
            .map_err(|cause| failed("read", kind, &path, cause))
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        path(kind, id)
    }
}

impl WriteBackend for Gate {
    fn create(&self) -> RusticResult<()> {
        self.objects.prepare().map_err(|cause| failed("make", FileType::Config, &self.name, cause))
    }

    fn write_bytes(&self, kind: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        if kind == FileType::Snapshot {
            return Ok(());
        }
        let (path, writings) = (path(kind, id), self.writings());
        if writings.iter().any(|writing| writing.failure.get().is_some()) {
            return Err(failed("write", kind, &path, io::Error::other("an earlier write has failed")));
        }
        self.objects.write(&path, content.into_vec()).map_err(|cause| {
            for writing in &writings {
                writing.fail(&cause);
            }
            failed("write", kind, &path, cause)
        })
    }

    fn remove(&self, kind: FileType, id: &Id, _: bool) -> RusticResult<()> {
        let path = path(kind, id);
        self.objects.remove(&path).map_err(|cause| failed("remove", kind, &path, cause))
    }
}
