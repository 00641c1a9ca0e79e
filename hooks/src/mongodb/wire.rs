//! The wire protocol: one message out, one message in (`OP_MSG` of the manual's "MongoDB Wire Protocol").
//!
//! ```text
//!   length · request · answers · 2013 │ flags │ 0 · document │ …
//! ```
//!
//! A server is not trusted: lengths are checked before memory is given, and what is no document never leaves here.

use std::io;

use bson::{Document, RawDocumentBuf};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// `OP_MSG`.
const MESSAGE: i32 = 2013;
/// The length of a message's header.
const HEADER: usize = 16;
/// The flags and the kind of the first section.
const PREAMBLE: usize = 5;
/// The longest message that servers send (`maxMessageSizeBytes`).
const LONGEST: usize = 48_000_000;
/// The flag that says that four bytes of a checksum follow. TCP has one of its own, and TLS a better one.
const CHECKSUM: u32 = 1;
/// A kind of section that is one document.
const BODY: u8 = 0;

/// A way to a server and back.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection. Questions and answers take turns.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    last: i32,
    /// Whether a question was put whose answer was not read: then the connection is of no use any more.
    broken: bool,
}

impl Connection {
    pub fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream, last: 0, broken: false }
    }

    /// Puts a question and reads its answer. There is no deadline in here; whoever gives up in between has broken the
    /// connection.
    pub async fn exchange(&mut self, question: &[u8]) -> io::Result<RawDocumentBuf> {
        if self.broken {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.broken = true;
        self.last = self.last.wrapping_add(1);
        let message = framed(self.last, question)?;
        self.stream.write_all(&message).await?;
        self.stream.flush().await?;
        let answer = self.answer().await?;
        self.broken = false;
        Ok(answer)
    }

    async fn answer(&mut self) -> io::Result<RawDocumentBuf> {
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header).await?;
        let length = body_length(&header, self.last)?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        unframed(body)
    }
}

/// A document as a question's bytes.
pub(super) fn question(command: &Document) -> io::Result<Vec<u8>> {
    command.to_vec().map_err(io::Error::other)
}

fn framed(request: i32, question: &[u8]) -> io::Result<Vec<u8>> {
    let length = HEADER + PREAMBLE + question.len();
    let told = i32::try_from(length).ok().filter(|_| length <= LONGEST);
    let told = told.ok_or_else(|| io::Error::other("a question of too many bytes"))?;
    let mut message = Vec::with_capacity(length);
    for word in [told, request, 0, MESSAGE, 0] {
        message.extend_from_slice(&word.to_le_bytes());
    }
    message.push(BODY);
    message.extend_from_slice(question);
    Ok(message)
}

/// How many bytes follow a header.
fn body_length(header: &[u8; HEADER], request: i32) -> io::Result<usize> {
    let word = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[at..at + 4]);
        i32::from_le_bytes(bytes)
    };
    let length = usize::try_from(word(0)).unwrap_or_default();
    if word(12) != MESSAGE || word(8) != request || !(HEADER + PREAMBLE..=LONGEST).contains(&length) {
        return Err(no_answer());
    }
    Ok(length - HEADER)
}

/// The document of a message whose header was read.
fn unframed(mut body: Vec<u8>) -> io::Result<RawDocumentBuf> {
    let Some((flags, rest)) = body.split_first_chunk::<4>() else { return Err(no_answer()) };
    let checksum = if u32::from_le_bytes(*flags) & CHECKSUM == 0 { 0 } else { 4 };
    if rest.first() != Some(&BODY) {
        return Err(no_answer());
    }
    body.truncate(body.len().saturating_sub(checksum));
    body.drain(..PREAMBLE.min(body.len()));
    RawDocumentBuf::from_bytes(body).map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the bytes are no answer in MongoDB's protocol")
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn header(length: i32, answers: i32, kind: i32) -> [u8; HEADER] {
        let words = [length, 7, answers, kind].map(i32::to_le_bytes);
        words.concat().try_into().unwrap()
    }

    #[test]
    fn a_message_is_read_as_it_is_written() {
        let asked = question(&doc! {"hello": 1}).unwrap();
        let message = framed(3, &asked).unwrap();
        assert_eq!(message.len(), HEADER + PREAMBLE + asked.len());
        let found = unframed(message[HEADER..].to_vec()).unwrap();
        assert_eq!(found.get_i32("hello").unwrap(), 1);
    }

    #[test]
    fn a_checksum_is_passed_over() {
        let mut body = framed(3, &question(&doc! {"ok": 1}).unwrap()).unwrap().split_off(HEADER);
        body[0] = 1;
        body.extend([1, 2, 3, 4]);
        assert_eq!(unframed(body).unwrap().get_i32("ok").unwrap(), 1);
    }

    #[test]
    fn what_a_hostile_server_sends_is_refused_before_memory_is_given() {
        assert_eq!(body_length(&header(100, 5, MESSAGE), 5).unwrap(), 84);
        for hostile in
            [(-1, 5, MESSAGE), (i32::MAX, 5, MESSAGE), (3, 5, MESSAGE), (100, 4, MESSAGE), (100, 5, 1)]
        {
            assert!(body_length(&header(hostile.0, hostile.1, hostile.2), 5).is_err(), "{hostile:?}");
        }
        for body in [
            vec![],
            vec![0; 4],
            vec![0, 0, 0, 0, 1, 5, 0, 0, 0, 0],
            vec![1, 0, 0, 0, 0],
            vec![0, 0, 0, 0, 0, 9, 9],
        ] {
            assert!(unframed(body.clone()).is_err(), "{body:?}");
        }
    }
}
