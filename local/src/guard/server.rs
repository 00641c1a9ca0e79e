//! The guard process: `standstill agent guard`, with the control socket as its standard input.

use std::{
    ffi::OsString,
    io::{self, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg},
    process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, set_child_subreaper, setsid},
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};
use zeroize::Zeroizing;

use super::{
    descendants::Family,
    protocol::{ChildSpec, Ended, GuardSpec, HANGUP, INTERRUPT, KILL, QUIT, RENEW, Report, TERMINATE},
};
use crate::identity::{ProcessIdentity, timespec};

/// How long descendants may take to end after the child itself did.
const SETTLE: Duration = Duration::from_millis(500);

/// `standstill agent guard`: starts one child and ends it, with everything it started, when it is told to, when
/// the runner is gone or when the runner has not renewed for the lease.
///
/// Standard input is the control socket; arguments are not used.
///
/// # Guarantees
/// It runs in a process session of its own, so that what stops or ends the runner's process group does not reach
/// it. Its lease goes by `CLOCK_BOOTTIME`. It holds none of the child's standard streams.
pub fn guard_main(_arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // There is nobody to tell: the runner sees the end of file, which it takes as an unknown end.
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Fails only for the leader of a process group, which then has a session already or is a shell's own job.
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    let (spec, streams) = receive(&control)?;
    let child = match start(&spec.child, streams) {
        Ok(child) => child,
        Err(cause) => {
            let missing = cause.kind() == io::ErrorKind::NotFound;
            return report(&control, &Report::Refused { missing, message: cause.to_string() });
        }
    };
    let mut family = Family::new(child);
    match ProcessIdentity::of(child.as_raw_nonzero().get()) {
        Ok(identity) => report(&control, &Report::Started(identity)).unwrap_or(()),
        Err(cause) => {
            family.kill();
            return Err(cause);
        }
    }
    let left = watch(&spec, &control, &mut family).unwrap_or_else(|_| {
        family.kill();
        0
    });
    let exit = family.exit.unwrap_or(standstill_core::runtime::Exit::Unknown);
    report(&control, &Report::Ended(Ended { exit, left }))
}

/// Receives the spec and the child's three standard streams.
fn receive(control: &UnixStream) -> io::Result<(GuardSpec, [OwnedFd; 3])> {
    let mut length = [0_u8; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(control, &mut [IoSliceMut::new(&mut length)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut control = control;
    control.read_exact(length.get_mut(received.bytes..).unwrap_or_default())?;
    let mut text = Zeroizing::new(vec![0; u32::from_be_bytes(length) as usize]);
    control.read_exact(&mut text)?;
    let streams = descriptors
        .try_into()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "three descriptors were expected"))?;
    Ok((serde_json::from_slice(&text)?, streams))
}

/// Starts the child in a process group of its own.
fn start(spec: &ChildSpec, streams: [OwnedFd; 3]) -> io::Result<Pid> {
    let Some((program, arguments)) = spec.argv.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
    };
    let [input, output, error] = streams;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.directory)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(error))
        .process_group(0);
    if let Some((user, group)) = spec.user {
        // The standard library also gives up the supplementary groups when it changes the user as root.
        command.gid(group).uid(user);
    }
    let child = command.spawn()?;
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("the process id is out of range"))
}

/// Watches until the child is gone. How many processes it left behind that had to be killed.
fn watch(spec: &GuardSpec, control: &UnixStream, family: &mut Family) -> io::Result<usize> {
    let child = family.process_descriptor()?;
    let lease = Duration::from_millis(spec.lease_milliseconds);
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
    arm(&timer, lease)?;
    loop {
        let mut waited = [
            PollFd::new(&child, PollFlags::IN),
            PollFd::new(&timer, PollFlags::IN),
            PollFd::new(control, PollFlags::IN),
        ];
        match poll(&mut waited, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let [ended, over, said] = [0, 1, 2].map(|index| !waited[index].revents().is_empty());
        family.reap();
        if ended {
            return Ok(if family.settle(SETTLE) { 0 } else { family.kill() });
        }
        // Orders first: a renewal that waits to be read counts, even when the timer fired while this process was
        // kept from running.
        match if said { obey(control, family)? } else { Heard::Nothing } {
            Heard::Renewal => arm(&timer, lease)?,
            Heard::Kill => {
                family.kill();
                return Ok(0);
            }
            Heard::EndOfFile => {
                let grace = Duration::from_millis(spec.grace_milliseconds);
                if grace.is_zero() || !family.settle(grace) {
                    family.kill();
                }
                return Ok(0);
            }
            Heard::Nothing if over => {
                family.kill();
                return Ok(0);
            }
            Heard::Nothing => {}
        }
    }
}

enum Heard {
    Nothing,
    Renewal,
    Kill,
    EndOfFile,
}

/// Reads what the runner says, and does what it asks for at once.
fn obey(control: &UnixStream, family: &Family) -> io::Result<Heard> {
    let mut bytes = [0_u8; 256];
    let count = match rustix::net::recv(control, &mut bytes, RecvFlags::DONTWAIT) {
        Ok((_, 0)) | Err(rustix::io::Errno::CONNRESET) => return Ok(Heard::EndOfFile),
        Ok((_, count)) => count,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Heard::Nothing),
        Err(cause) => return Err(cause.into()),
    };
    let mut heard = Heard::Nothing;
    for byte in bytes.iter().take(count) {
        match *byte {
            KILL => return Ok(Heard::Kill),
            RENEW => heard = Heard::Renewal,
            HANGUP => family.signal(Signal::HUP),
            INTERRUPT => family.signal(Signal::INT),
            QUIT => family.signal(Signal::QUIT),
            TERMINATE => family.signal(Signal::TERM),
            _ => {}
        }
    }
    Ok(heard)
}

fn arm(timer: &OwnedFd, lease: Duration) -> io::Result<()> {
    let once = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(lease) };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(())
}

/// Reports without ever blocking or raising a signal: a runner that does not read must not keep the guard.
fn report(control: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.write_all(b"\n")?;
    rustix::net::send(control, &line, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

impl Family {
    /// A descriptor that becomes readable when the child ends. The child was not waited for yet, so its id is its own.
    fn process_descriptor(&self) -> io::Result<OwnedFd> {
        Ok(pidfd_open(self.child(), PidfdFlags::empty())?)
    }
}
