//! What was heard from a keeper and not looked at yet.

use std::collections::VecDeque;

use super::{connection::Heard, frames::Frames};

/// How much is kept of what a command says.
const KEPT: usize = 64 * 1024;

/// What was heard from the shell and not looked at yet.
pub(super) struct Seen {
    pub(super) output: Frames,
    pub(super) error: Frames,
    /// What the script said: of each order, that it is done on either stream.
    marks: Vec<String>,
    /// The beginning of a line of a client.
    line: String,
    /// The lines of a client.
    pub(super) lines: VecDeque<String>,
    /// Whether it is a client.
    by_lines: bool,
    word: String,
}

impl Seen {
    pub(super) fn new(word: &str, by_lines: bool) -> Self {
        Self {
            output: Frames::new(word, KEPT),
            error: Frames::new(word, KEPT),
            marks: Vec::new(),
            line: String::new(),
            lines: VecDeque::new(),
            by_lines,
            word: format!("{word} "),
        }
    }

    pub(super) fn take_in(&mut self, heard: &Heard) {
        match heard {
            Heard::Output(bytes) if self.by_lines => self.lines_of(bytes),
            Heard::Output(bytes) => {
                let marks = self.output.take_in(bytes);
                self.marks.extend(marks.into_iter().map(|mark| format!("1 {mark}")));
            }
            Heard::Error(bytes) => {
                let marks = self.error.take_in(bytes);
                self.marks.extend(marks.into_iter().map(|mark| format!("2 {mark}")));
            }
            Heard::Ended(_) | Heard::Lost(_) => {}
        }
    }

    fn lines_of(&mut self, bytes: &[u8]) {
        self.line.push_str(&String::from_utf8_lossy(bytes));
        while let Some(end) = self.line.find('\n') {
            let line: String = self.line.drain(..=end).collect();
            let line = line.trim_end_matches(['\n', '\r']);
            match line.strip_prefix(&self.word) {
                Some(mark) => self.marks.push(format!("1 {mark}")),
                None => self.lines.push_back(line.to_owned()),
            }
        }
        // A client that never ends its line is not waited for with all the memory there is.
        if self.line.len() > KEPT {
            self.line.clear();
        }
    }

    /// Takes out what the script said that begins so; the rest of it.
    fn mark(&mut self, start: &str) -> Option<String> {
        let at = self.marks.iter().position(|mark| mark.starts_with(start))?;
        let mark = self.marks.remove(at);
        Some(mark.get(start.len()..).unwrap_or_default().trim().to_owned())
    }

    /// The exit status of an order that is done: both streams have been read up to its end.
    pub(super) fn done(&mut self, order: &str) -> Option<i32> {
        let error = format!("2 done {order}");
        self.marks.iter().position(|mark| *mark == error)?;
        let status = self.mark(&format!("1 done {order} "))?;
        self.mark(&error);
        status.parse().ok()
    }

    /// What the shell's standard error said last, as an ending of a message.
    pub(super) fn words(&mut self) -> String {
        let said = self.error.said();
        let last: Vec<&str> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(5).collect();
        if last.is_empty() {
            return String::new();
        }
        format!(": {}", last.into_iter().rev().collect::<Vec<_>>().join("\n  "))
    }

    /// Whether a renewal was heard; those before it were answered too, or are not waited for any more.
    pub(super) fn renewed(&mut self, id: u64) -> bool {
        let renewed = format!("2 renewed {id}");
        let heard = self.marks.contains(&renewed);
        if heard {
            self.marks.retain(|mark| !mark.starts_with("2 renewed "));
        }
        heard
    }

    /// Whether a client has ended.
    pub(super) fn is_over(&self) -> bool {
        self.marks.iter().any(|mark| mark.starts_with("1 done release"))
    }
}
