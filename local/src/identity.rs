//! Which process is meant: a process id alone is reused, so the boot and the start time go with it.

use std::{fs, io, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

/// One process, told apart from every other one that ever has its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ProcessIdentity {
    /// The boot it ran under, as in `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: String,
    /// Its id.
    pub(crate) pid: i32,
    /// Its start time in clock ticks since the boot: field 22 of `/proc/PID/stat`.
    pub(crate) start: u64,
}

impl ProcessIdentity {
    /// The identity of a process that runs now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        Ok(Self { boot: boot_id()?, pid, start: Stat::read(pid)?.start })
    }

    /// The identity of this process.
    pub(crate) fn current() -> io::Result<Self> {
        Self::of(getpid().as_raw_nonzero().get())
    }

    /// Whether the machine is still running the boot that this process ran under.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot)
    }

    /// A descriptor for exactly this process, if it still lives.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        if !self.is_of_this_boot() {
            return None;
        }
        let descriptor = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Read after the descriptor was opened: from here on the id cannot come to mean another process unseen.
        let stat = Stat::read(self.pid).ok()?;
        (stat.start == self.start && stat.state != 'Z').then_some(descriptor)
    }

    /// Whether it still lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.open().is_some()
    }

    /// Sends it a signal; whether it was there to receive it.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        self.open().is_some_and(|descriptor| pidfd_send_signal(descriptor, signal).is_ok())
    }

    /// Waits for its end; whether it ended in time. Blocks the thread.
    pub(crate) fn wait_for_end(&self, within: Duration) -> bool {
        let Some(descriptor) = self.open() else { return true };
        let deadline = std::time::Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let mut waited = [PollFd::new(&descriptor, PollFlags::IN)];
            match poll(&mut waited, Some(&timespec(left))) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return !self.is_alive(),
            }
        }
    }
}

/// A duration as the kernel takes it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// What is needed of `/proc/PID/stat` (`proc_pid_stat(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Field 3: `Z` for a process that has ended and was not waited for.
    pub(crate) state: char,
    /// Field 4: the parent.
    pub(crate) parent: i32,
    /// Field 22: when it started, in clock ticks since the boot.
    pub(crate) start: u64,
}

impl Stat {
    /// Reads it of a process.
    pub(crate) fn read(pid: i32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat is not understood"))
    }

    /// The program's name stands in parentheses and may hold anything, so the fields are counted after the last one.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            start: fields.nth(17)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 99 9";
        assert_eq!(Stat::parse(text), Some(Stat { state: 'S', parent: 1, start: 123_456 }));
    }

    #[test]
    fn a_process_id_with_another_start_time_is_another_process() {
        let current = ProcessIdentity::current().unwrap();
        assert!(current.is_alive());
        assert!(!ProcessIdentity { start: current.start + 1, ..current.clone() }.is_alive());
        assert!(!ProcessIdentity { boot: "another".to_owned(), ..current }.is_alive());
    }

    #[test]
    fn the_end_of_a_process_is_awaited() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let identity = ProcessIdentity::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(!identity.wait_for_end(Duration::from_millis(20)));
        assert!(identity.signal(Signal::KILL));
        assert!(identity.wait_for_end(Duration::from_secs(5)));
        child.wait().unwrap();
        assert!(!identity.is_alive());
    }
}
