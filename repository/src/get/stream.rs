//! Writing a stream back, checking what is written.

use std::{
    io::{self, Write},
    sync::Arc,
};

use rustic_core::repofile::{Node, NodeType};
use standstill_core::{
    Error, Result,
    point::StoredArtifact,
    repository::{Progress, Restored},
};
use tokio_util::sync::CancellationToken;

use super::{snapshot, top};
use crate::{
    fault,
    store::{Indexed, Store},
};

/// Writes a stream to a sink.
pub(crate) fn get(
    store: &Store,
    artifact: &StoredArtifact,
    sink: Box<dyn Write + Send>,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<Restored> {
    let what = format!("the artifact {}", artifact.name);
    let _lock = store.locks.reading()?;
    let snapshot = snapshot(store, artifact)?;
    let indexed = store.indexed()?;
    let node = top(&indexed, &snapshot, &what)?;
    progress.expect(artifact.bytes);
    let mut checked =
        Checked { sink, hasher: blake3::Hasher::new(), bytes: 0, broken: None, progress, cancel };
    write_content(&indexed, &node, &mut checked, &what)?;
    let hash = checked.hasher.finalize().to_hex();
    if checked.bytes != artifact.bytes
        || artifact.blake3.as_ref().is_some_and(|wanted| *wanted != hash.as_str())
    {
        return Err(Error::damaged(format!(
            "{what} is not what was stored: {} bytes with another hash",
            checked.bytes
        ))
        .remedy("Do not use what was written; restore from another recovery point."));
    }
    Ok(Restored { entries: 1, bytes: checked.bytes })
}

/// Writes a file's content to a sink that watches. The sink's own error comes first.
fn write_content(indexed: &Indexed, node: &Node, sink: &mut Checked, what: &str) -> Result<()> {
    if node.node_type != NodeType::File {
        return Err(Error::damaged(format!("{what} is not a file in the repository")));
    }
    let written = indexed.dump(node, sink);
    match (sink.broken.take(), written) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(fault::reading(&error, what)),
        (None, Ok(())) => sink.flush().map_err(|cause| sink_failed(what, cause)),
    }
}

fn sink_failed(what: &str, cause: io::Error) -> Error {
    Error::failed(format!("what reads {what} stopped reading")).because(cause)
}

/// A sink that counts and hashes, and stops when cancelled.
struct Checked {
    sink: Box<dyn Write + Send>,
    hasher: blake3::Hasher,
    bytes: u64,
    broken: Option<Error>,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
}

impl Write for Checked {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            self.broken.get_or_insert_with(|| fault::cancelled("restoring the stream"));
            return Err(io::Error::other("cancelled"));
        }
        match self.sink.write(buffer) {
            Ok(written) => {
                self.hasher.update(&buffer[..written]);
                self.bytes += written as u64;
                self.progress.advance(written as u64);
                Ok(written)
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => Err(cause),
            Err(cause) => {
                let text = cause.to_string();
                self.broken.get_or_insert_with(|| sink_failed("the stream", cause));
                Err(io::Error::other(text))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
