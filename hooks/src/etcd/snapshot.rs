//! The verb `snapshot`: the database as the member sends it, proven by the digest that it sends last.

use std::{io::Read, time::Duration};

use bytes::{Buf as _, Bytes};
use sha2::{Digest as _, Sha256};
use standstill_core::{Error, Result, hook::HookContext, runtime::Producer, units::show_duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    api::{Member, piece},
    rpc::Answers,
};
use crate::server::driver::{AbortOnDrop, spawn};

/// The name of the verb.
pub(super) const VERB: &str = "snapshot";

/// How long the member may take for the next piece.
const SILENCE: Duration = Duration::from_secs(30);

/// How many pieces may wait for the repository.
const WAITING: usize = 64;

/// The length of the digest at the end.
const DIGEST: usize = 32;

/// Begins a snapshot.
pub(super) async fn begin(context: &HookContext) -> Result<Box<dyn Producer>> {
    let member = Member::open(context).await?;
    let answers = member.snapshot().await?;
    let (sender, pieces) = mpsc::channel(WAITING);
    let place = member.place().to_owned();
    let task = AbortOnDrop(spawn(hand_over(member, answers, sender, context.cancel.clone()))?);
    Ok(Box::new(Snapshot {
        place,
        pieces,
        _task: task,
        piece: Bytes::new(),
        digested: Digested::default(),
        left: None,
        end: None,
    }))
}

/// What the task that reads the network hands over: pieces with the number of bytes that follow, then how it ended.
enum Part {
    Piece(u64, Bytes),
    End(Result<()>),
}

async fn hand_over(
    member: Member,
    mut answers: Answers,
    sender: mpsc::Sender<Part>,
    cancel: CancellationToken,
) {
    let end = loop {
        let next = tokio::select! {
            next = tokio::time::timeout(SILENCE, answers.next()) => next,
            () = cancel.cancelled() => break Err(Error::cancelled("cancelled on taking a snapshot of etcd")),
        };
        let read = match next {
            Ok(Ok(Some(answer))) => piece(&answer),
            Ok(Ok(None)) => break Ok(()),
            Ok(Err(failure)) => break Err(member.error(failure, "take a snapshot")),
            Err(_elapsed) => break Err(silent(member.place())),
        };
        let part = match read {
            Ok((left, bytes)) => Part::Piece(left, bytes),
            Err(error) => break Err(error),
        };
        if sender.send(part).await.is_err() {
            return;
        }
    };
    let _nobody_reads = sender.send(Part::End(end)).await;
}

fn silent(place: &str) -> Error {
    Error::temporary(format!("etcd at {place} sent nothing of its snapshot for {}", show_duration(SILENCE)))
        .remedy("Check the network and the member's load, and run the backup again.")
}

/// A snapshot on its way.
struct Snapshot {
    place: String,
    pieces: mpsc::Receiver<Part>,
    _task: AbortOnDrop<()>,
    piece: Bytes,
    digested: Digested,
    /// How many bytes of the database were still to come, as the member said with the last piece.
    left: Option<u64>,
    end: Option<Result<()>>,
}

impl Snapshot {
    /// Waits for the next piece; `false` at the end. The repository reads on a thread that may wait.
    fn fill(&mut self) -> bool {
        while self.piece.is_empty() {
            if self.end.is_some() {
                return false;
            }
            match self.pieces.blocking_recv() {
                Some(Part::Piece(left, bytes)) => {
                    self.left = Some(left);
                    self.piece = bytes;
                }
                Some(Part::End(end)) => self.end = Some(end),
                None => self.end = Some(Err(Error::failed("the snapshot of etcd broke off"))),
            }
        }
        true
    }
}

impl Read for Snapshot {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.fill() {
            return Ok(0);
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece[..count]);
        self.digested.take(&self.piece[..count]);
        self.piece.advance(count);
        Ok(count)
    }
}

impl Producer for Snapshot {
    fn finish(&mut self) -> Result<()> {
        match self.end.take() {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(error),
            None => {
                return Err(Error::failed(format!(
                    "the snapshot of etcd at {} was not read to its end",
                    self.place
                )));
            }
        }
        let incomplete = |why: &str| {
            Error::failed(format!("the snapshot of etcd at {} is not whole: {why}", self.place))
                .remedy("Run the backup again; if it repeats, look into the member's log and its disk.")
        };
        if self.left.is_none_or(|left| left > 0) {
            return Err(incomplete("the member announced more than it sent"));
        }
        if self.digested.agrees() { Ok(()) } else { Err(incomplete("its digest is not that of its bytes")) }
    }
}

/// The digest of everything but the last bytes, which are what it must be.
#[derive(Default)]
struct Digested {
    digest: Sha256,
    last: Vec<u8>,
}

impl Digested {
    fn take(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(bytes);
        let surplus = self.last.len().saturating_sub(DIGEST);
        self.digest.update(&self.last[..surplus]);
        self.last.drain(..surplus);
    }

    fn agrees(&self) -> bool {
        self.last.len() == DIGEST && self.digest.clone().finalize().as_slice() == self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digested(bytes: &[u8], at_once: usize) -> Digested {
        let mut digested = Digested::default();
        bytes.chunks(at_once).for_each(|bytes| digested.take(bytes));
        digested
    }

    #[test]
    fn a_digest_at_the_end_is_found_however_the_bytes_come() {
        let mut bytes = vec![7; 1000];
        bytes.extend(Sha256::digest(&bytes));
        for at_once in [1, 31, 32, 33, 500, 2000] {
            assert!(digested(&bytes, at_once).agrees(), "{at_once}");
        }
    }

    #[test]
    fn a_flipped_a_missing_and_an_added_byte_are_noticed() {
        let mut bytes = vec![7; 1000];
        bytes.extend(Sha256::digest(&bytes));
        let mut flipped = bytes.clone();
        flipped[500] ^= 1;
        assert!(!digested(&flipped, 100).agrees());
        assert!(!digested(&bytes[1..], 100).agrees());
        assert!(!digested(&bytes[..1031], 100).agrees());
        assert!(!digested(&[], 100).agrees());
        bytes.push(0);
        assert!(!digested(&bytes, 100).agrees());
    }
}
