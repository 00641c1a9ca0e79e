//! Ending the helpers of a dead run. A lock of theirs ends with their process.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use standstill_core::{Error, Result};

use super::super::task::{Ended, Owner, Task};

/// How long the kernel may take to end a process that was killed.
const DEADLINE: Duration = Duration::from_secs(10);

/// Ends every holder and witness of a run on a database, and waits until they are gone.
pub(super) fn end(owner: &Owner) -> Result<Ended> {
    let mut processes = 0;
    for pid in candidates()? {
        // The descriptor is taken before the command line is read: it cannot come to mean another process.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        if !belongs_to(pid, owner) {
            continue;
        }
        let refused = |cause: rustix::io::Errno| {
            Error::failed(format!("cannot end process {}, which may hold a write lock", pid.as_raw_nonzero()))
                .remedy(format!("As root, run `kill -9 {}`.", pid.as_raw_nonzero()))
                .because(cause)
        };
        match pidfd_send_signal(&process, Signal::KILL) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => continue,
            Err(cause) => return Err(refused(cause)),
        }
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)) {
                Ok(0) => return Err(refused(rustix::io::Errno::TIMEDOUT)),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(cause) => return Err(refused(cause)),
            }
        }
        processes += 1;
    }
    Ok(Ended { processes })
}

/// All processes that can be seen.
fn candidates() -> Result<Vec<Pid>> {
    let entries = fs::read_dir("/proc").map_err(|cause| {
        Error::failed("cannot look for the helpers of a dead run").remedy("Mount /proc.").because(cause)
    })?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .collect())
}

/// Whether a process is a holder or a witness of that owner: its last argument is a task that says so.
fn belongs_to(pid: Pid, owner: &Owner) -> bool {
    // A process that is gone has no command line any more.
    let Ok(command) = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())) else { return false };
    let arguments: Vec<&[u8]> =
        command.strip_suffix(b"\0").unwrap_or(&command).split(|byte| *byte == 0).collect();
    let [.., agent, hold, sqlite, task] = arguments.as_slice() else { return false };
    if (*agent, *hold, *sqlite) != (b"agent", b"hold", b"sqlite") {
        return false;
    }
    match serde_json::from_slice(task) {
        Ok(Task::Hold(task)) => task.owner == *owner,
        Ok(Task::Witness(task)) => task.owner == *owner,
        _ => false,
    }
}
