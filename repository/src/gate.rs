//! The backend that the repository library works on: the storage library's, with two things put right.
//!
//! - Listings are strict (see [`crate::objects`]).
//! - The library never writes a snapshot. Its archiver skips entries whose read failed, logs that, and still
//!   writes a snapshot and returns `Ok`. Here that write goes nowhere: a snapshot is written by
//!   [`crate::store::Store::write_snapshot`] alone, after everything was counted. So there is no moment at which
//!   an incomplete artifact exists, not even when the process is killed.

use std::{fmt, io, sync::Arc};

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use crate::objects::Objects;

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    storage: Arc<dyn WriteBackend>,
    objects: Arc<dyn Objects>,
}

impl Gate {
    pub(crate) fn new(storage: Arc<dyn WriteBackend>, objects: Arc<dyn Objects>) -> Self {
        Self { storage, objects }
    }
}

fn listing_failed(kind: FileType, cause: io::Error) -> Box<RusticError> {
    RusticError::with_source(ErrorKind::Backend, "the files of type `{type}` cannot be listed", cause)
        .attach_context("type", kind.to_string())
}

impl ReadBackend for Gate {
    fn location(&self) -> String {
        self.storage.location()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let short = |size: u64| {
            u32::try_from(size).map_err(|cause| listing_failed(kind, io::Error::other(cause)))
        };
        if kind == FileType::Config {
            let size = self.objects.size("config").map_err(|cause| listing_failed(kind, cause))?;
            return size.map(|size| Ok((Id::default(), short(size)?))).into_iter().collect();
        }
        let names = self.objects.list(kind.dirname()).map_err(|cause| listing_failed(kind, cause))?;
        // Other names are unfinished files of this or another tool.
        let ids = names.into_iter().filter_map(|(name, size)| Some((name.parse::<Id>().ok()?, size)));
        ids.map(|(id, size)| Ok((id, short(size)?))).collect()
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.storage.read_full(kind, id)
    }

    fn read_partial(&self, kind: FileType, id: &Id, cacheable: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        self.storage.read_partial(kind, id, cacheable, offset, length)
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.storage.warmup_path(kind, id)
    }
}

impl WriteBackend for Gate {
    fn create(&self) -> RusticResult<()> {
        self.storage.create()
    }

    fn write_bytes(&self, kind: FileType, id: &Id, cacheable: bool, content: BytesList) -> RusticResult<()> {
        if kind == FileType::Snapshot {
            return Ok(());
        }
        self.storage.write_bytes(kind, id, cacheable, content)
    }

    fn remove(&self, kind: FileType, id: &Id, cacheable: bool) -> RusticResult<()> {
        self.storage.remove(kind, id, cacheable)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.location())
    }
}
