//! The runner's side of a guard.

use std::{
    io::{self, BufRead, BufReader, IoSlice, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{Pid, Signal, kill_process_group},
};
use standstill_core::{Error, Result};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::protocol::{self, Ended, GuardSpec, Report};
use crate::identity::ProcessIdentity;

/// How long a guard may take to start its child on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// The control socket of one guard.
pub(crate) struct Control(UnixStream);

impl Control {
    /// Tells the guard that the runner lives.
    pub(super) fn renew(&self) {
        self.order(protocol::RENEW);
    }

    /// Never blocks: a guard that does not read is stopped, and then its buffer already holds a renewal.
    fn order(&self, byte: u8) {
        let _ = rustix::net::send(&self.0, &[byte], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

/// A child under a guard. Dropping it kills the child with everything it started.
pub(crate) struct Guarded {
    control: Arc<Control>,
    guard: i32,
    child: ProcessIdentity,
    end: Arc<End>,
}

/// How the child ended: awaited by tasks and by threads.
struct End {
    published: watch::Sender<Option<Ended>>,
    kept: Mutex<Option<Ended>>,
    changed: Condvar,
}

impl Guarded {
    /// Starts a guard and, under it, the child. Blocks the thread until the child runs.
    ///
    /// `guard` is the command line of `standstill agent guard`; `streams` are the child's standard input, output
    /// and error.
    pub(crate) fn start(guard: &[String], spec: &GuardSpec, streams: &[OwnedFd; 3]) -> Result<Self> {
        let program = spec.child.argv.first().cloned().unwrap_or_default();
        let failed = |cause: io::Error| {
            Error::failed(format!("cannot start {program} under a guard"))
                .remedy("Check that this user may start more processes and open more files.")
                .because(cause)
        };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let mut process = start_guard(guard, theirs).map_err(failed)?;
        let mut reports = BufReader::new(ours.try_clone().map_err(failed)?);
        let first = send(&ours, spec, streams).and_then(|()| first_report(&ours, &mut reports));
        let child = match first {
            Ok(Report::Started(child)) => child,
            Ok(Report::Refused { missing, message }) => {
                reap(&mut process);
                return Err(refused(&program, missing, &message));
            }
            Ok(Report::Ended(_)) => return Err(failed(io::Error::other("the guard is not understood"))),
            Err(cause) => {
                // Without its socket the guard ends by itself; it has nothing to guard yet.
                let _ = process.kill();
                reap(&mut process);
                return Err(failed(cause));
            }
        };
        let end = Arc::new(End {
            published: watch::Sender::new(None),
            kept: Mutex::new(None),
            changed: Condvar::new(),
        });
        let guard = process.id().cast_signed();
        let (published, watched) = (Arc::clone(&end), child.clone());
        std::thread::Builder::new()
            .name("guard".to_owned())
            .spawn(move || published.publish(last_report(reports, process, &watched)))
            .map_err(failed)?;
        Ok(Self { control: Arc::new(Control(ours)), guard, child, end })
    }

    /// The control socket, for the renewals.
    pub(crate) const fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Which process the child is.
    pub(crate) const fn child(&self) -> &ProcessIdentity {
        &self.child
    }

    /// The process id of the guard, whose descendants are the child and everything that it started.
    pub(crate) const fn guard(&self) -> i32 {
        self.guard
    }

    /// Kills the child and all its descendants.
    pub(crate) fn kill(&self) {
        self.control.order(protocol::KILL);
    }

    /// Sends the child alone one of the signals that a guard knows.
    pub(crate) fn ask(&self, order: u8) {
        self.control.order(order);
    }

    /// How the child ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        *self.end.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end.
    pub(crate) async fn wait(&self) -> Ended {
        let mut seen = self.end.published.subscribe();
        match seen.wait_for(Option::is_some).await {
            Ok(ended) => ended.unwrap_or(Ended::UNKNOWN),
            Err(_) => Ended::UNKNOWN,
        }
    }

    /// Waits for the end, if it comes in time.
    pub(crate) async fn wait_at_most(&self, within: Duration) -> Option<Ended> {
        tokio::time::timeout(within, self.wait()).await.ok()
    }

    /// Waits for the end and blocks the thread.
    pub(crate) fn wait_blocking(&self) -> Ended {
        let mut kept = self.end.kept.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(ended) = *kept {
                return ended;
            }
            kept = self.end.changed.wait(kept).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

impl End {
    fn publish(&self, ended: Ended) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        self.changed.notify_all();
        self.published.send_replace(Some(ended));
    }
}

/// Starts the guard process itself. Its environment holds nothing of the runner's, which may hold secrets.
fn start_guard(guard: &[String], control: UnixStream) -> io::Result<Child> {
    let Some((program, arguments)) = guard.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program for the guard is known"));
    };
    Command::new(program)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(control)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Sends the spec with the child's standard streams.
fn send(control: &UnixStream, spec: &GuardSpec, streams: &[OwnedFd; 3]) -> io::Result<()> {
    let text = Zeroizing::new(serde_json::to_vec(spec)?);
    let length = u32::try_from(text.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the command is too long"))?
        .to_be_bytes();
    let descriptors: Vec<BorrowedFd<'_>> = streams.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for the descriptors"));
    }
    let sent = sendmsg(control, &[IoSlice::new(&length)], &mut ancillary, SendFlags::NOSIGNAL)?;
    let mut control = control;
    control.write_all(length.get(sent..).unwrap_or_default())?;
    control.write_all(&text)
}

fn first_report(control: &UnixStream, reports: &mut BufReader<UnixStream>) -> io::Result<Report> {
    control.set_read_timeout(Some(START_DEADLINE))?;
    let report = next_report(reports)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the guard ended before it began"))?;
    control.set_read_timeout(None)?;
    Ok(report)
}

fn next_report(reports: &mut BufReader<UnixStream>) -> io::Result<Option<Report>> {
    let mut line = String::new();
    if reports.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

/// Waits for the guard's last word. When there is none the guard was lost, and its child is ended from here.
fn last_report(mut reports: BufReader<UnixStream>, mut guard: Child, child: &ProcessIdentity) -> Ended {
    let ended = loop {
        match next_report(&mut reports) {
            Ok(Some(Report::Ended(ended))) => break ended,
            Ok(Some(Report::Started(_) | Report::Refused { .. })) => {}
            Ok(None) | Err(_) => {
                kill_orphan(child);
                break Ended::UNKNOWN;
            }
        }
    };
    reap(&mut guard);
    ended
}

/// Ends a child whose guard was lost, with its process group; descendants that left the group are out of reach.
fn kill_orphan(child: &ProcessIdentity) {
    if child.is_alive()
        && let Some(group) = Pid::from_raw(child.pid)
    {
        let _ = kill_process_group(group, Signal::KILL);
        child.signal(Signal::KILL);
        child.wait_for_end(Duration::from_secs(5));
    }
}

/// Takes note of the guard's end, so that it does not stay a zombie.
fn reap(guard: &mut Child) {
    let started = Instant::now();
    if let Err(cause) = guard.wait() {
        tracing::debug!(?cause, waited = ?started.elapsed(), "a guard could not be waited for");
    }
}

fn refused(program: &str, missing: bool, message: &str) -> Error {
    let error = Error::input(format!("cannot start {program}: {message}"));
    if missing {
        error.remedy(format!(
            "Install the program {program}, or give its full path; the working directory must exist too."
        ))
    } else {
        error.remedy(format!("Check that this user may run {program}."))
    }
}
