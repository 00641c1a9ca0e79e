//! What the repository library works on: our files, with one write withheld.
//!
//! The library never writes a snapshot. Its archiver skips entries whose read failed, logs that, and still writes
//! a snapshot and returns `Ok`. Here that write goes nowhere: a snapshot is written by
//! [`crate::store::Store::write_snapshot`] alone, after everything was counted. So there is no moment at which an
//! incomplete artifact exists, not even when the process is killed.

use std::{io, sync::Arc};

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use crate::objects::Objects;

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    name: String,
    objects: Arc<dyn Objects>,
}

impl Gate {
    /// `name` is for messages.
    pub(crate) fn new(name: String, objects: Arc<dyn Objects>) -> Self {
        Self { name, objects }
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
        let path = path(kind, id);
        self.objects.write(&path, content.into_vec()).map_err(|cause| failed("write", kind, &path, cause))
    }

    fn remove(&self, kind: FileType, id: &Id, _: bool) -> RusticResult<()> {
        let path = path(kind, id);
        self.objects.remove(&path).map_err(|cause| failed("remove", kind, &path, cause))
    }
}
