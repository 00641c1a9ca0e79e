//! What a script says among what its commands say.
//!
//! The script begins what it says by a word that nobody else knows, after a line break, and ends it by another. So what
//! remains when these are taken out is exactly what the commands said.

/// One stream, taken apart.
pub(super) struct Frames {
    start: Vec<u8>,
    unread: Vec<u8>,
    said: Vec<u8>,
    /// How much of what was said is kept; the end of it.
    room: usize,
}

impl Frames {
    /// The stream of a script that uses this word, of which the last `room` bytes are kept.
    pub(super) fn new(word: &str, room: usize) -> Self {
        let start = format!("\n{word} ").into_bytes();
        Self { start, unread: Vec::new(), said: Vec::new(), room }
    }

    /// Takes in more of it; what the script said.
    pub(super) fn take_in(&mut self, bytes: &[u8]) -> Vec<String> {
        self.unread.extend_from_slice(bytes);
        let mut marks = Vec::new();
        while let Some(at) = find(&self.unread, &self.start) {
            let begin = at + self.start.len();
            let Some(length) = self.unread.get(begin..).and_then(|rest| find(rest, b"\n")) else { break };
            let mark = self.unread.get(begin..begin + length).unwrap_or_default();
            marks.push(String::from_utf8_lossy(mark).into_owned());
            let said: Vec<u8> = self.unread.drain(..=begin + length).take(at).collect();
            self.keep(&said);
        }
        let whole = find(&self.unread, &self.start).unwrap_or_else(|| self.unread.len() - self.tail());
        let said: Vec<u8> = self.unread.drain(..whole).collect();
        self.keep(&said);
        marks
    }

    /// What the commands said since this was asked last.
    pub(super) fn said(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.said)).into_owned()
    }

    fn keep(&mut self, said: &[u8]) {
        self.said.extend_from_slice(said);
        let surplus = self.said.len().saturating_sub(self.room);
        self.said.drain(..surplus);
    }

    /// How many of the last bytes may be the beginning of something that the script says.
    fn tail(&self) -> usize {
        let longest = self.start.len().min(self.unread.len());
        (1..=longest).rev().find(|length| self.unread.ends_with(&self.start[..*length])).unwrap_or(0)
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_commands_say_is_exactly_what_remains_however_it_is_cut() {
        let text = b"paused\n\nWORD renewed 3\nand\nWORDS\nWORD done 4 0\n";
        for size in 1..text.len() {
            let mut frames = Frames::new("WORD", 1024);
            let marks: Vec<String> = text.chunks(size).flat_map(|chunk| frames.take_in(chunk)).collect();
            assert_eq!(marks, ["renewed 3", "done 4 0"], "{size}");
            assert_eq!(frames.said(), "paused\nand\nWORDS", "{size}");
        }
    }

    #[test]
    fn only_the_end_is_kept_of_a_stream_without_end() {
        let mut frames = Frames::new("WORD", 5);
        for _ in 0..100 {
            assert!(frames.take_in(b"0123456789").is_empty());
        }
        assert_eq!(frames.said(), "56789");
    }
}
