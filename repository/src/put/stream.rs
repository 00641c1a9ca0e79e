//! Storing a stream as one file.

use std::{
    ffi::OsStr,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use rustic_core::{
    ReadSource, ReadSourceEntry, RusticResult,
    repofile::{Metadata, Node, NodeType, SnapshotFile},
};
use standstill_core::{
    Error, Result,
    point::{ArtifactKind, StoredArtifact},
    repository::{Progress, PutStream, StreamSource},
};
use tokio_util::sync::CancellationToken;

use super::{
    amend::{Fix, amend},
    archive,
    feed::{Feed, Outcome, Whole},
};
use crate::{store::Store, tags};

/// The size that a stream's node has until its true one is known. The chunker sizes its buffers by it.
const UNKNOWN_SIZE: u64 = 1 << 40;

/// One file whose content is a stream.
struct OneFile {
    path: PathBuf,
    node: Node,
    feed: Mutex<Option<Feed>>,
}

impl ReadSource for OneFile {
    type Open = Feed;
    type Iter = std::option::IntoIter<RusticResult<ReadSourceEntry<Feed>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner).take();
        feed.map(|feed| {
            Ok(ReadSourceEntry { path: self.path.clone(), node: self.node.clone(), open: Some(feed) })
        })
        .into_iter()
    }
}

/// The path of a stream in its snapshot: `/db/app` for the artifact `db/app`.
pub(crate) fn stream_path(artifact: &str) -> Result<PathBuf> {
    let path = Path::new(artifact);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if artifact.is_empty() || artifact.contains('\0') || !plain {
        return Err(Error::input(format!("`{artifact}` cannot be the name of a stream"))
            .remedy("Use names such as `dump` or `db/app`."));
    }
    Ok(Path::new("/").join(path))
}

/// Stores a stream.
pub(crate) fn put(
    store: &Store,
    request: &PutStream,
    source: Box<dyn StreamSource>,
    progress: Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<StoredArtifact> {
    let path = stream_path(&request.artifact)?;
    let lock = store.locks.shared()?;
    let more = [("application", request.application.as_str()), ("artifact", request.artifact.as_str())];
    let snapshot = tags::snapshot(tags::Kind::Stream, &request.run, &more);
    let writing = store.begin(cancel);
    let archived = archive_stream(store, snapshot, &path, source, progress, &writing.stop);
    let (snapshot, whole) = writing.judge(&path, archived)?;
    lock.confirm()?;
    let stored_bytes = snapshot.summary.as_ref().map_or(0, |summary| summary.data_added_packed);
    let snapshot = store.write_snapshot(snapshot)?;
    Ok(StoredArtifact {
        name: request.artifact.clone(),
        kind: ArtifactKind::Stream,
        snapshot: snapshot.id.to_hex().as_str().to_owned(),
        bytes: whole.bytes,
        stored_bytes,
        files: 1,
        blake3: Some(whole.blake3),
        tree_id: None,
        kept: None,
    })
}

/// Archives a stream; the snapshot that is returned is complete, but not yet written.
pub(crate) fn archive_stream(
    store: &Store,
    snapshot: SnapshotFile,
    path: &Path,
    source: Box<dyn StreamSource>,
    progress: Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<(SnapshotFile, Whole)> {
    let indexed = store.indexed()?;
    let (feed, outcome) = Feed::start(source, progress, cancel.clone())?;
    let name = path.file_name().unwrap_or(OsStr::new("stream"));
    let metadata = Metadata {
        mode: Some(0o600),
        mtime: Some(Timestamp::now()),
        size: UNKNOWN_SIZE,
        links: 1,
        ..Metadata::default()
    };
    let node = Node::new_node(name, NodeType::File, metadata);
    let file = OneFile { path: path.to_owned(), node, feed: Mutex::new(Some(feed)) };
    let archived = archive(&indexed, &file, snapshot, path.to_owned(), None);
    let (mut snapshot, whole) = complete(archived, &outcome)?;
    if cancel.is_cancelled() {
        return Err(crate::fault::cancelled("storing the stream"));
    }
    snapshot.tree = amend(store, snapshot.tree, vec![(path.to_owned(), Fix::Size(whole.bytes))])?;
    Ok((snapshot, whole))
}

/// What the archiver stored must be what was read, and what was read must be whole. The source's own error comes
/// first: it is the cause of what the archiver says.
fn complete(archived: Result<SnapshotFile>, outcome: &Outcome) -> Result<(SnapshotFile, Whole)> {
    let (snapshot, whole) = match (archived, outcome.take()) {
        (_, Some(Err(error))) | (Err(error), _) => return Err(error),
        (Ok(_), None) => return Err(Error::failed("the stream was not read to its end")),
        (Ok(snapshot), Some(Ok(whole))) => (snapshot, whole),
    };
    let (files, bytes) = snapshot
        .summary
        .as_ref()
        .map_or((0, 0), |summary| (summary.total_files_processed, summary.total_bytes_processed));
    if files == 1 && bytes == whole.bytes {
        Ok((snapshot, whole))
    } else {
        Err(Error::failed(format!("{bytes} of the stream's {} bytes were stored", whole.bytes)))
    }
}
