//! A stream on its way into the archiver: read, counted and hashed on a thread of its own.
//!
//! The archiver's side never waits on the producer itself, so a cancelled upload ends at once, even while the
//! producer is silent.

use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

use standstill_core::{
    Error, Result,
    repository::{Progress, StreamSource},
};
use tokio_util::sync::CancellationToken;

/// How much is read at a time, and how many such pieces wait for the archiver at most.
const PIECE: usize = 512 * 1024;
const WAITING: usize = 4;
/// How long a cancellation may go unnoticed.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// What a stream was, once it ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
}

enum Piece {
    Bytes(Vec<u8>),
    /// End of file, and what the producer says about it.
    End(Result<Whole>),
}

/// The archiver's end of a stream.
pub(crate) struct Feed {
    pieces: Receiver<Piece>,
    current: io::Cursor<Vec<u8>>,
    outcome: Arc<Mutex<Option<Result<Whole>>>>,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
    ended: bool,
}

/// How a stream ended; read after the archiver is done.
pub(crate) struct Outcome(Arc<Mutex<Option<Result<Whole>>>>);

impl Outcome {
    /// The whole stream, or why it is not whole; `None` if the archiver stopped reading before either was known.
    pub(crate) fn take(&self) -> Option<Result<Whole>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Feed {
    /// Starts reading.
    pub(crate) fn start(
        source: Box<dyn StreamSource>,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<(Self, Outcome)> {
        let (sender, pieces) = sync_channel(WAITING);
        std::thread::Builder::new().name("stream".to_owned()).spawn(move || pump(source, &sender)).map_err(
            |cause| Error::temporary("no thread can be started to read the stream").because(cause),
        )?;
        let outcome = Arc::new(Mutex::new(None));
        let current = io::Cursor::default();
        let feed = Self { pieces, current, outcome: Arc::clone(&outcome), progress, cancel, ended: false };
        Ok((feed, Outcome(outcome)))
    }

    /// Gets the next piece; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        while !self.ended {
            if self.cancel.is_cancelled() {
                self.end(Err(crate::fault::cancelled("storing the stream")))?;
            }
            match self.pieces.recv_timeout(LOOK_AROUND) {
                Ok(Piece::Bytes(bytes)) => {
                    self.progress.advance(bytes.len() as u64);
                    self.current = io::Cursor::new(bytes);
                    return Ok(true);
                }
                Ok(Piece::End(outcome)) => self.end(outcome)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.end(Err(Error::failed("the stream's reader ended unexpectedly")))?;
                }
            }
        }
        Ok(false)
    }

    /// Notes how it ended. An error also stops the archiver.
    fn end(&mut self, outcome: Result<Whole>) -> io::Result<()> {
        let result = match &outcome {
            Ok(_) => Ok(()),
            Err(error) => Err(io::Error::other(error.chain())),
        };
        self.ended = true;
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(outcome);
        result
    }
}

impl Read for Feed {
    /// Fills the whole buffer unless the stream ends. The archiver's chunker cuts its buffer down to the shortest
    /// read it ever got and never lets it grow again: after one read of a single byte it would go byte by byte.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = self.current.read(&mut buffer[filled..])?;
            filled += read;
            if read == 0 && !self.advance()? {
                break;
            }
        }
        Ok(filled)
    }
}

/// Reads the source to its end, and hands over what it read. Ends early when nobody wants it any more.
fn pump(mut source: Box<dyn StreamSource>, sender: &SyncSender<Piece>) {
    let mut hasher = blake3::Hasher::new();
    let mut bytes: u64 = 0;
    loop {
        let (piece, read) = fill(&mut *source);
        bytes += piece.len() as u64;
        if let Err(cause) = read {
            let error = Error::failed(format!("the stream broke off after {bytes} bytes")).because(cause);
            let _ = sender.send(Piece::End(Err(error)));
            return;
        }
        if piece.is_empty() {
            break;
        }
        hasher.update(&piece);
        if sender.send(Piece::Bytes(piece)).is_err() {
            return;
        }
    }
    let end = source.finish().and_then(|sent| {
        if sent == bytes {
            Ok(Whole { bytes, blake3: hasher.finalize().to_hex().to_string() })
        } else {
            Err(Error::failed(format!("the producer handed over {sent} bytes, but {bytes} were read"))
                .remedy("Run the backup again; if it happens again, the way between them loses data."))
        }
    });
    let _ = sender.send(Piece::End(end));
}

/// The next piece, full unless the stream ends or breaks off in it.
fn fill(source: &mut dyn StreamSource) -> (Vec<u8>, io::Result<usize>) {
    let mut piece = Vec::with_capacity(PIECE);
    // `take` retries interrupted reads and stops at the end of the piece or of the stream.
    let read = source.take(PIECE as u64).read_to_end(&mut piece);
    (piece, read)
}
