//! The last part of what a process says, for messages.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// How much is kept.
const KEPT: usize = 64 * 1024;

/// How many of the last lines a message shows.
const SHOWN_LINES: usize = 5;

/// How much of them a message shows at most, in bytes.
const SHOWN_BYTES: usize = 1000;

/// Follows a stream on a thread of its own and keeps its end.
#[derive(Clone)]
pub(crate) struct Tail(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    complete: bool,
}

impl Tail {
    /// Follows a stream until its end.
    pub(crate) fn follow(stream: OwnedFd) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let followed = Arc::clone(&shared);
        std::thread::Builder::new().name("standard error".to_owned()).spawn(move || {
            let mut stream = File::from(stream);
            let mut buffer = vec![0; 16 * 1024];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => followed.push(buffer.get(..count).unwrap_or_default()),
                    Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            followed.complete();
        })?;
        Ok(Self(shared))
    }

    /// All that is kept, after waiting a moment for the end of the stream: call it when the process has ended.
    pub(crate) fn text_at_end(&self) -> String {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited =
            self.0.changed.wait_timeout_while(state, Duration::from_secs(1), |state| !state.complete);
        text(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// As [`Tail::text_at_end`], for a task.
    pub(crate) async fn read_to_end(&self) -> String {
        let waited = self.clone();
        match tokio::task::spawn_blocking(move || waited.text_at_end()).await {
            Ok(text) => text,
            Err(_) => self.text(),
        }
    }

    /// All that is kept by now.
    pub(crate) fn text(&self) -> String {
        text(&self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    fn push(&self, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes.extend(bytes);
        let excess = state.bytes.len().saturating_sub(KEPT);
        state.bytes.drain(..excess);
    }

    fn complete(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).complete = true;
        self.changed.notify_all();
    }
}

fn text(state: &State) -> String {
    let bytes: Vec<u8> = state.bytes.iter().copied().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines of a text, in one line, as an ending of a message: empty, or `: line; line`.
pub(crate) fn last_lines(text: &str) -> String {
    let mut lines: Vec<&str> =
        text.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(SHOWN_LINES).collect();
    if lines.is_empty() {
        return String::new();
    }
    lines.reverse();
    let joined = lines.join("; ");
    let from = joined.len().saturating_sub(SHOWN_BYTES);
    let from = (from..=joined.len()).find(|index| joined.is_char_boundary(*index)).unwrap_or(0);
    format!(": {}", joined.get(from..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_the_end_of_a_long_text_is_kept() {
        let (reader, writer) = io::pipe().unwrap();
        let tail = Tail::follow(reader.into()).unwrap();
        let mut writer = File::from(OwnedFd::from(writer));
        writer.write_all(&vec![b'a'; 100_000]).unwrap();
        writer.write_all(b"the end").unwrap();
        drop(writer);
        let text = tail.text_at_end();
        assert_eq!(text.len(), KEPT);
        assert!(text.ends_with("the end"));
    }

    #[test]
    fn a_message_shows_the_last_lines_in_one_line() {
        assert_eq!(last_lines("\n \n"), "");
        assert_eq!(last_lines("1\n2\n3\n4\n5\n\n6\n"), ": 2; 3; 4; 5; 6");
        assert!(last_lines(&"ä".repeat(5000)).len() <= SHOWN_BYTES + 4);
    }
}
