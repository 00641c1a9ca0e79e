//! What `/proc` says about processes.

use std::{fs, path::PathBuf};

/// A process, as far as it can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub command: Vec<String>,
    pub program: Option<PathBuf>,
    pub state: char,
}

impl Process {
    /// The command line in one piece.
    pub fn line(&self) -> String {
        self.command.join(" ")
    }
}

/// All processes that are not zombies.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(look).filter(|process| !"ZX".contains(process.state)).collect()
}

/// One process, if it is there.
pub fn look(pid: u32) -> Option<Process> {
    let (state, parent) = stat(pid)?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = command
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    Some(Process { pid, parent, command, program, state })
}

/// The state of a process: `R`, `S`, `T` and so on.
pub fn state(pid: u32) -> Option<char> {
    stat(pid).map(|(state, _)| state)
}

fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
