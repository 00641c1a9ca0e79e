//! The server's side door: what it sends to a replica that asks for everything.
//!
//! The library has no words for this, so the protocol is spoken here: lines that end with `\r\n`, and then the bytes
//! of an RDB file, either as many as were announced, or up to a mark of forty characters that was.

use std::{io, time::Duration};

use standstill_core::{Error, Result, secret::Secret};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    time::timeout,
};

use super::{
    connect::{CONNECT, LOOKUP},
    dial::{Stream, dial},
    errors,
    settings::Target,
};

/// How long the server may say nothing. While it prepares it sends an empty line every second.
const SILENCE: Duration = Duration::from_mins(1);
/// Longer than any line.
const LONGEST_LINE: u64 = 1024;
/// The length of the mark at the end of a stream whose length nobody knows.
const MARK: usize = 40;

/// How the end of the file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// After this many bytes: the server had written a file of its own first.
    After(u64),
    /// With these bytes.
    With([u8; MARK]),
}

/// What a replica is told before the file comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The history that the data belongs to.
    pub history: String,
    /// How far it had got at the instant that the file is of.
    pub offset: u64,
    /// Whether the server sends without writing a file itself.
    pub diskless: bool,
}

/// A connection on which a file comes.
pub(super) struct Incoming {
    stream: BufStream<Box<dyn Stream>>,
    place: String,
    end: End,
    /// Bytes that may be a part of the mark.
    held_back: Vec<u8>,
    received: u64,
}

impl Incoming {
    /// Asks for everything, and waits until it comes.
    ///
    /// # Errors
    /// When the server does not let us in, or has nothing to send.
    pub async fn ask(target: &Target) -> Result<(Self, Beginning)> {
        let place = target.place();
        let stream = timeout(CONNECT, dial(target))
            .await
            .map_err(|_| errors::silent("open a session", &place, CONNECT))??;
        let mut talk = Talk { stream: BufStream::new(stream), place };
        let password = target.password.as_ref().map_or("", Secret::expose);
        if target.password.is_some() || target.settings.user != "default" {
            talk.expect_ok("log in (AUTH)", &["AUTH", &target.settings.user, password]).await?;
        }
        // A stream without a length will do; and after it nothing more is wanted.
        talk.expect_ok("be a replica (REPLCONF)", &["REPLCONF", "capa", "eof", "rdb-only", "1"]).await?;
        let attempt = "ask for a copy (PSYNC)";
        talk.send(attempt, &["PSYNC", "?", "-1"]).await?;
        let line = talk.line(attempt, SILENCE).await?;
        let (history, offset) = full(&line).ok_or_else(|| talk.refused(attempt, &line))?;
        let line = talk.line(attempt, SILENCE).await?;
        let end = announced(&line).ok_or_else(|| talk.refused(attempt, &line))?;
        let beginning = Beginning { history, offset, diskless: matches!(end, End::With(_)) };
        let Talk { stream, place } = talk;
        Ok((Self { stream, place, end, held_back: Vec::new(), received: 0 }, beginning))
    }

    /// The next bytes of the file, into the buffer in the place of what was there; none after the last one.
    ///
    /// # Errors
    /// When the connection ends before the file does, or nothing comes.
    pub async fn next(&mut self, buffer: &mut Vec<u8>) -> Result<bool> {
        buffer.clear();
        let left = match self.end {
            End::After(length) => length - self.received,
            End::With(_) => u64::MAX,
        };
        if left == 0 {
            return Ok(false);
        }
        buffer.append(&mut self.held_back);
        let before = buffer.len();
        buffer.resize(before + usize::try_from(left.min(256 * 1024)).unwrap_or(0), 0);
        let read = timeout(SILENCE, self.stream.read(&mut buffer[before..])).await;
        let count = match read {
            Ok(Ok(0)) => return Err(self.broken_off(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(count)) => count,
            Ok(Err(cause)) => return Err(self.broken_off(cause)),
            Err(_elapsed) => return Err(errors::silent("receive a copy", &self.place, SILENCE)),
        };
        buffer.truncate(before + count);
        self.received += count as u64;
        if let End::With(mark) = self.end {
            if buffer.ends_with(&mark) {
                buffer.truncate(buffer.len() - MARK);
                self.end = End::After(self.received);
            } else {
                // What may be the beginning of the mark waits for what follows.
                let settled = buffer.len().saturating_sub(MARK);
                self.held_back = buffer.split_off(settled);
            }
        }
        Ok(true)
    }

    fn broken_off(&self, cause: io::Error) -> Error {
        Error::failed(format!("the copy from {} broke off after {} bytes", self.place, self.received))
            .remedy("Look into the server's log; `client-output-buffer-limit replica` and `repl-timeout` end slow copies.")
            .because(cause)
    }
}

/// Lines to and fro.
struct Talk {
    stream: BufStream<Box<dyn Stream>>,
    place: String,
}

impl Talk {
    async fn send(&mut self, attempt: &str, words: &[&str]) -> Result<()> {
        // It may hold the password: it is wiped when it was sent.
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let text = Secret::new(text);
        let sending = async {
            self.stream.write_all(text.expose().as_bytes()).await?;
            self.stream.flush().await
        };
        match timeout(LOOKUP, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(errors::lost(attempt, &self.place).because(cause)),
            Err(_elapsed) => Err(errors::silent(attempt, &self.place, LOOKUP)),
        }
    }

    /// The next line that is not empty.
    async fn line(&mut self, attempt: &str, within: Duration) -> Result<String> {
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut self.stream).take(LONGEST_LINE);
            match timeout(within, limited.read_until(b'\n', &mut line)).await {
                Ok(Ok(_)) if line.ends_with(b"\n") => {}
                Ok(Ok(_)) => return Err(errors::lost(attempt, &self.place)),
                Ok(Err(cause)) => return Err(errors::lost(attempt, &self.place).because(cause)),
                Err(_elapsed) => return Err(errors::silent(attempt, &self.place, within)),
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !line.is_empty() {
                return Ok(line);
            }
        }
    }

    async fn expect_ok(&mut self, attempt: &str, words: &[&str]) -> Result<()> {
        self.send(attempt, words).await?;
        let line = self.line(attempt, LOOKUP).await?;
        if line == "+OK" { Ok(()) } else { Err(self.refused(attempt, &line)) }
    }

    fn refused(&self, attempt: &str, line: &str) -> Error {
        let said = line.trim_start_matches('-');
        let place = &self.place;
        if said.starts_with("NOPERM") {
            return Error::input(format!("may not {attempt} at {place}: {said}")).remedy(
                "Give the user the commands that the blueprint's page lists: ACL SETUSER name +command.",
            );
        }
        if said.starts_with("NOMASTERLINK") {
            return Error::temporary(format!("the replica at {place} has lost its primary: {said}"))
                .remedy("Mend the replication, or dump the primary.");
        }
        Error::failed(format!("failed to {attempt} at {place}: {said}")).remedy("Look into the server's log.")
    }
}

/// History and offset of `+FULLRESYNC HISTORY OFFSET`.
fn full(line: &str) -> Option<(String, u64)> {
    let mut words = line.strip_prefix("+FULLRESYNC ")?.split(' ');
    let (history, offset) = (words.next()?, words.next()?.parse().ok()?);
    Some((history.to_owned(), offset))
}

/// What `$LENGTH` or `$EOF:MARK` says.
fn announced(line: &str) -> Option<End> {
    let line = line.strip_prefix('$')?;
    match line.strip_prefix("EOF:") {
        Some(mark) => mark.as_bytes().try_into().ok().map(End::With),
        None => line.parse().ok().map(End::After),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(bytes: &'static [u8], end: End, piece: usize) -> Incoming {
        // A pipe that holds no more than a piece: what is read comes in such pieces.
        let (ours, mut theirs) = tokio::io::duplex(piece);
        tokio::spawn(async move {
            let _cut = theirs.write_all(bytes).await;
        });
        let stream: Box<dyn Stream> = Box::new(ours);
        let stream = BufStream::with_capacity(piece, 1, stream);
        Incoming { stream, place: "here".into(), end, held_back: Vec::new(), received: 0 }
    }

    async fn all(mut incoming: Incoming) -> Result<Vec<u8>> {
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        while incoming.next(&mut buffer).await? {
            found.extend_from_slice(&buffer);
        }
        Ok(found)
    }

    const ENDED: &[u8] = b"REDIS0011 data 0123456789012345678901234567890123456789";
    const ENDS: &[u8; MARK] = b"0123456789012345678901234567890123456789";

    #[tokio::test]
    async fn a_file_of_unknown_length_ends_with_its_mark_however_it_is_cut() {
        for piece in [1, 7, 39, 40, 41, 1000] {
            let found = all(incoming(ENDED, End::With(*ENDS), piece)).await.unwrap();
            assert_eq!(found, b"REDIS0011 data ", "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_early_is_an_error_and_not_the_end() {
        for (end, length) in [(End::With(*ENDS), ENDED.len() - 1), (End::After(60), ENDED.len())] {
            let error = all(incoming(&ENDED[..length], end, 16)).await.unwrap_err();
            assert!(error.to_string().contains("broke off after"), "{error}");
        }
        assert_eq!(all(incoming(ENDED, End::After(9), 4)).await.unwrap(), b"REDIS0011");
    }

    #[test]
    fn what_a_server_announces_is_read_strictly() {
        assert_eq!(full("+FULLRESYNC abc 17"), Some(("abc".into(), 17)));
        assert_eq!(full("+CONTINUE"), None);
        assert_eq!(announced("$12"), Some(End::After(12)));
        assert!(matches!(announced(&format!("$EOF:{}", "m".repeat(40))), Some(End::With(_))));
        assert_eq!(announced("$EOF:short"), None);
        assert_eq!(announced("-ERR no"), None);
    }
}
