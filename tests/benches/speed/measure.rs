//! Measuring commands.

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

/// What a command cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub took: Duration,
    /// The most memory that the process itself had at once, in bytes.
    pub memory: u64,
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> Cost {
    let started = Instant::now();
    let child = command.spawn().unwrap_or_else(|cause| panic!("{command:?}: {cause}"));
    let cost = wait(child, started);
    cost.unwrap_or_else(|status| panic!("{command:?}: {status}"))
}

fn wait(mut child: Child, started: Instant) -> Result<Cost, std::process::ExitStatus> {
    let mut memory = 0;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let cost = Cost { took: started.elapsed(), memory };
            return if status.success() { Ok(cost) } else { Err(status) };
        }
        memory = memory.max(peak(child.id()).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The most memory that a process that still runs had at once, in bytes (`VmHWM`, proc(5)).
pub fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// The one in the middle.
pub fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort();
    durations[durations.len() / 2]
}

/// The bytes of all files below a directory.
pub fn bytes_below(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() { bytes_below(&entry.path()) } else { metadata.len() }
        })
        .sum()
}

/// One line of the result: what, how much, and the limit that it is held against.
pub fn line(what: &str, figure: &str, limit: &str) {
    println!("  {what:56} {figure:>14}   {limit}");
}

pub fn title(text: &str) {
    println!("\n{text}");
}

/// A ratio of two durations.
pub fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

pub fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

pub fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
