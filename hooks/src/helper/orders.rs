//! Orders from the runner, as lines on standard input, under a lease.

use std::{marker::PhantomData, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{getpgrp, getpid, setsid},
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};
use serde::de::DeserializeOwned;
use standstill_core::{Error, Result};

use super::wire::Request;

/// More than any order is long.
const LONGEST_LINE: usize = 4096;

/// What ended a wait.
#[derive(Debug)]
pub(crate) enum Wake<O> {
    /// An order came.
    Order(Request<O>),
    /// The runner is gone.
    Closed,
    /// The lease ran out.
    Lapsed,
    /// The time to wait is over.
    Elapsed,
}

/// The orders, and the lease that each of them prolongs.
pub(crate) struct Orders<O> {
    timer: OwnedFd,
    unread: Vec<u8>,
    closed: bool,
    lapsed: bool,
    order: PhantomData<O>,
}

impl<O: DeserializeOwned> Orders<O> {
    /// Leaves the runner's process session, so that what stops the runner's group does not stop this process and
    /// with it the end of its lease. Nothing is held yet, so a stop before this does no harm.
    ///
    /// # Errors
    /// When this process would go on sharing a group with others.
    pub(crate) fn in_own_session() -> Result<Self> {
        if let Err(cause) = setsid() {
            // A leader cannot start a session; alone in its group it is as far from the runner as is needed.
            if getpgrp() != getpid() {
                return Err(Error::failed("cannot leave the runner's process session").because(cause));
            }
        }
        // It also counts while the machine sleeps.
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map_err(|cause| Error::failed("cannot make the timer of the lease").because(cause))?;
        Ok(Self { timer, unread: Vec::new(), closed: false, lapsed: false, order: PhantomData })
    }

    /// Starts the lease anew; `None` switches it off.
    pub(crate) fn prolong(&self, lease: Option<Duration>) -> Result<()> {
        // A zero would switch it off.
        let lease = lease.map_or(Duration::ZERO, |lease| lease.max(Duration::from_millis(1)));
        let value = timespec(lease);
        let once = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)
            .map(drop)
            .map_err(|cause| Error::failed("cannot set the timer of the lease").because(cause))
    }

    /// The next order.
    pub(crate) fn next(&mut self) -> Result<Wake<O>> {
        self.wait(None)
    }

    /// Waits for `pause` unless the runner goes or the lease ends; orders stay unread.
    pub(crate) fn pause(&mut self, pause: Duration) -> Result<Wake<O>> {
        self.poll(Some(pause))?;
        Ok(if self.lapsed {
            Wake::Lapsed
        } else if self.closed {
            Wake::Closed
        } else {
            Wake::Elapsed
        })
    }

    fn wait(&mut self, limit: Option<Duration>) -> Result<Wake<O>> {
        loop {
            let line_end = self.unread.iter().position(|byte| *byte == b'\n');
            // With a line at hand this only looks whether the lease has ended: a renewal that waited in the pipe
            // while this process was stopped comes too late.
            self.poll(if line_end.is_some() { Some(Duration::ZERO) } else { limit })?;
            if self.lapsed {
                return Ok(Wake::Lapsed);
            }
            if let Some(end) = line_end {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Wake::Order).map_err(|cause| {
                    Error::failed("cannot understand an order of the runner").because(cause)
                });
            }
            if self.closed {
                return Ok(Wake::Closed);
            }
        }
    }

    /// Waits for input, the end of the lease or the limit, and takes in what came.
    fn poll(&mut self, limit: Option<Duration>) -> Result<()> {
        let stdin = std::io::stdin();
        let limit = limit.map(timespec);
        let events = {
            let watched = if self.closed { PollFlags::empty() } else { PollFlags::IN };
            let mut files = [PollFd::new(&self.timer, PollFlags::IN), PollFd::new(&stdin, watched)];
            match poll(&mut files, limit.as_ref()) {
                Ok(_) => [files[0].revents(), files[1].revents()],
                Err(Errno::INTR) => return Ok(()),
                Err(cause) => return Err(Error::failed("cannot wait for orders").because(cause)),
            }
        };
        self.lapsed |= !events[0].is_empty();
        if !self.closed && !events[1].is_empty() {
            self.read(&stdin)?;
        }
        Ok(())
    }

    fn read(&mut self, stdin: &std::io::Stdin) -> Result<()> {
        let mut bytes = [0; LONGEST_LINE];
        match rustix::io::read(stdin, &mut bytes[..]) {
            Ok(0) | Err(Errno::IO) => self.closed = true,
            Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(cause) => return Err(Error::failed("cannot read orders").because(cause)),
        }
        if self.unread.len() > 4 * LONGEST_LINE {
            return Err(Error::failed("the runner sends what is no order"));
        }
        Ok(())
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
