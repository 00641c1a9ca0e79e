//! Everything that a child started, however often it forked and whatever process session it made.
//!
//! The guard is a child subreaper (prctl(2)), so an orphan among its descendants becomes its own child: when the
//! guard has no child any more, it has no descendant any more.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process_group, pidfd_open, pidfd_send_signal, wait,
};
use standstill_core::runtime::Exit;

use crate::identity::Stat;

/// How long killed processes may take to be gone: one in an uninterruptible wait stays until that ends.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// The guard's children: the one that it started, and the orphans that came to it.
pub(super) struct Family {
    /// The child that it started.
    child: Pid,
    /// How that ended, once it has.
    pub(super) exit: Option<Exit>,
}

impl Family {
    /// The family of a child that was just started.
    pub(super) const fn new(child: Pid) -> Self {
        Self { child, exit: None }
    }

    /// The child that the guard started.
    pub(super) const fn child(&self) -> Pid {
        self.child
    }

    /// Waits for every child that has ended, without blocking; whether any child is left.
    pub(super) fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.child => {
                    self.exit = Some(match (status.exit_status(), status.terminating_signal()) {
                        (Some(status), _) => Exit::Status(status),
                        (None, Some(signal)) => Exit::Signal(signal),
                        (None, None) => Exit::Unknown,
                    });
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Sends a signal to the child alone.
    pub(super) fn signal(&self, signal: Signal) {
        if self.exit.is_none() {
            // It was not waited for yet, so its id cannot mean another process. It may have ended just now.
            let _ = rustix::process::kill_process(self.child, signal);
        }
    }

    /// Waits for the descendants to end by themselves; whether they all did.
    pub(super) fn settle(&mut self, within: Duration) -> bool {
        self.until_empty(within, |_| {})
    }

    /// Kills the child and every descendant, and waits until all are gone. How many there were.
    pub(super) fn kill(&mut self) -> usize {
        let mut killed = HashSet::new();
        self.until_empty(KILL_DEADLINE, |family| {
            if family.exit.is_none() {
                // At once for the whole group, so that it cannot fork away faster than it is looked through.
                let _ = kill_process_group(family.child, Signal::KILL);
            }
            for (pid, start) in descendants(getpid().as_raw_nonzero().get()) {
                if kill_exactly(pid, start) {
                    killed.insert((pid, start));
                }
            }
        });
        killed.len()
    }

    fn until_empty(&mut self, within: Duration, mut each_time: impl FnMut(&Self)) -> bool {
        let deadline = Instant::now() + within;
        let mut pause = Duration::from_millis(1);
        loop {
            if !self.reap() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            each_time(self);
            if !self.reap() {
                return true;
            }
            // No event tells that the last of several children is gone without handling signals.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// All descendants of a process that still run, with their start times.
pub(crate) fn descendants(ancestor: i32) -> Vec<(i32, u64)> {
    let processes: HashMap<i32, Stat> =
        process_ids().into_iter().filter_map(|pid| Some((pid, Stat::read(pid).ok()?))).collect();
    let descends = |mut pid: i32| {
        // Bounded: what is read one after the other could hold a loop.
        for _ in 0..processes.len() {
            match processes.get(&pid).map(|stat| stat.parent) {
                Some(parent) if parent == ancestor => return true,
                Some(parent) => pid = parent,
                None => return false,
            }
        }
        false
    };
    processes
        .iter()
        .filter(|(pid, stat)| stat.state != 'Z' && descends(**pid))
        .map(|(pid, stat)| (*pid, stat.start))
        .collect()
}

fn process_ids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Kills the process that was seen, and no other that has got its id since. Whether it was there.
fn kill_exactly(pid: i32, start: u64) -> bool {
    let kill = || -> io::Result<bool> {
        let Some(id) = Pid::from_raw(pid) else { return Ok(false) };
        let descriptor = pidfd_open(id, PidfdFlags::empty())?;
        if Stat::read(pid)?.start != start {
            return Ok(false);
        }
        pidfd_send_signal(descriptor, Signal::KILL)?;
        Ok(true)
    };
    // It ended meanwhile, or it changed its user: the next look says which.
    kill().unwrap_or(false)
}
