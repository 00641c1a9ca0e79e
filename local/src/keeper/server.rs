//! The keeper process: `standstill agent keep`.

use std::{
    ffi::OsString,
    io::{self, BufRead, Write},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::setsid;
use standstill_core::{Error, Result, journal::Failure};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{
    client::Client,
    lease::Lease,
    pair::Pair,
    protocol::{Order, OrderKind, Program, Reply, Said, Start},
    record::KeeperFiles,
};
use crate::{identity::ProcessIdentity, process::launcher::Launcher};

/// How long a client may take to end by itself when the lease is over.
const CLIENT_PATIENCE: Duration = Duration::from_secs(1);

/// How long letting go is tried again, once the lease is over.
const LET_GO_LIMIT: Duration = Duration::from_hours(1);

/// How long the end of the process may be held up by notes about it.
const LAST_NOTES: Duration = Duration::from_secs(5);

/// `standstill agent keep`: acquires, holds on for as long as it is renewed, and lets go.
///
/// Standard input takes the start and the orders, standard output gives the replies; arguments are not used.
///
/// # Guarantees
/// It runs in a process session of its own. At end of file of its standard input, at SIGTERM, SIGINT and SIGHUP, and
/// when nothing was heard for the lease (`CLOCK_BOOTTIME`) it lets go by itself and tries that again until it
/// succeeds or an hour has passed. It never waits for somebody to read its replies, nor for a disk, before it lets go.
pub fn keep_main(_arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Fails only for the leader of a process group, which is nobody's background job.
    let _ = setsid();
    let mut line = Zeroizing::new(String::new());
    if io::stdin().lock().read_line(&mut line).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(start) = serde_json::from_str::<Start>(&line) else { return ExitCode::FAILURE };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let kept = runtime.block_on(keep(start));
    // A thread that still reads standard input must not hold up the end.
    runtime.shutdown_background();
    match kept {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn keep(start: Start) -> Result<()> {
    let files = KeeperFiles::new(&start.directory);
    let mut replies = Replies::start()?;
    let mut holder = match begin(start, &files) {
        Ok(begun) => begun,
        Err(error) => {
            replies.give(0, Err(error));
            replies.finish();
            return Ok(());
        }
    };
    let lease = Arc::new(Lease::new(holder.lease));
    let mut orders = follow_orders(Arc::clone(&lease))?;
    end_at_signals(&lease)?;
    let acquired = acquire(&mut holder, &lease).await;
    let held = acquired.is_ok();
    replies.give(0, acquired);
    let released = held && obey(&mut holder, &mut orders, &lease, &mut replies).await;
    let outcome = if released { Ok(()) } else { let_go(&mut holder).await };
    if outcome.is_ok() {
        note_release(files);
    }
    replies.finish();
    outcome
}

/// Makes ready, and says which process this is; nothing is acquired yet.
fn begin(start: Start, files: &KeeperFiles) -> Result<Holder> {
    let noted = ProcessIdentity::current().and_then(|identity| files.write_keeper(&identity));
    noted.map_err(|cause| {
        Error::failed(format!("the keeper cannot write to {}", start.directory.display()))
            .remedy("Free space for the state directory, and check its owner.")
            .because(cause)
    })?;
    if files.is_forbidden() {
        return Err(Error::cancelled("the run is over already"));
    }
    // This very program, also when its file has been replaced or removed since it started.
    let mut agent = vec!["/proc/self/exe".to_owned()];
    agent.extend(start.agent_arguments);
    let lease = Duration::from_millis(start.lease_milliseconds);
    let timeout = Duration::from_millis(start.timeout_milliseconds);
    let launcher = Launcher::new(agent, lease);
    let work = match start.program {
        Program::Pair(program) => Work::Pair(Box::new(Pair { program, launcher, timeout })),
        Program::Session(program) => {
            Work::Session(Box::new(Client::new(program, launcher, files.clone(), timeout)?))
        }
    };
    Ok(Holder { work, lease, timeout })
}

/// Acquires. When the lease is over first, whatever acquires is ended before anything is released, so that it cannot
/// acquire after that.
async fn acquire(holder: &mut Holder, lease: &Lease) -> Result<Said> {
    let cancel = CancellationToken::new();
    let acquiring = holder.acquire(&cancel);
    tokio::pin!(acquiring);
    tokio::select! {
        acquired = &mut acquiring => acquired,
        why = lease.over() => {
            cancel.cancel();
            let _ = acquiring.await;
            Err(Error::lapsed(format!("it was given up while it was being acquired: {why}")))
        }
    }
}

/// Does what the runner says until it says to let go and that succeeded: then true.
async fn obey(
    holder: &mut Holder,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    lease: &Lease,
    replies: &mut Replies,
) -> bool {
    loop {
        let order = tokio::select! {
            biased;
            _ = lease.over() => return false,
            order = orders.recv() => order,
        };
        let Some(Order { id, order }) = order else { return false };
        match order {
            OrderKind::Renew => replies.give(id, holder.keep_alive().await),
            OrderKind::Confirm => tokio::select! {
                confirmed = holder.confirm() => replies.give(id, confirmed),
                _ = lease.over() => return false,
            },
            OrderKind::Release => {
                let released = holder.release(holder.timeout).await;
                let done = released.is_ok();
                replies.give(id, released);
                if done {
                    return true;
                }
            }
        }
    }
}

/// Lets go without anybody asking, again and again until it succeeds.
async fn let_go(holder: &mut Holder) -> Result<()> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        match holder.release(CLIENT_PATIENCE.min(holder.timeout)).await {
            Ok(_) => return Ok(()),
            Err(error) if started.elapsed() > LET_GO_LIMIT => return Err(error),
            Err(_) => {
                // Nothing tells when it may succeed.
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(10));
            }
        }
    }
}

/// What holds.
struct Holder {
    work: Work,
    lease: Duration,
    timeout: Duration,
}

enum Work {
    Pair(Box<Pair>),
    Session(Box<Client>),
}

impl Holder {
    async fn acquire(&mut self, cancel: &CancellationToken) -> Result<Said> {
        match &mut self.work {
            Work::Pair(pair) => pair.acquire(cancel).await,
            Work::Session(client) => tokio::select! {
                acquired = client.acquire() => acquired,
                () = cancel.cancelled() => Err(Error::cancelled("it was given up")),
            },
        }
    }

    async fn keep_alive(&mut self) -> Result<Said> {
        match &mut self.work {
            Work::Pair(_) => {}
            Work::Session(client) => client.keep_alive().await?,
        }
        Ok(Said::default())
    }

    async fn confirm(&mut self) -> Result<Said> {
        match &mut self.work {
            Work::Pair(pair) => pair.confirm().await,
            Work::Session(client) => client.confirm().await,
        }
    }

    async fn release(&mut self, patience: Duration) -> Result<Said> {
        match &mut self.work {
            Work::Pair(pair) => pair.release().await,
            Work::Session(client) => client.release(patience).await,
        }
    }
}

/// Reads orders on a thread; every line renews the lease, also while another order is being done.
fn follow_orders(lease: Arc<Lease>) -> Result<mpsc::UnboundedReceiver<Order>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    spawn("orders", move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            lease.renew();
            // A line that is not understood comes from a newer runner; it is a sign of life all the same.
            if let Ok(order) = serde_json::from_str(&line)
                && sender.send(order).is_err()
            {
                break;
            }
        }
        lease.end("the runner is gone");
    })?;
    Ok(receiver)
}

fn end_at_signals(lease: &Arc<Lease>) -> Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut asked =
            signal(kind).map_err(|cause| Error::failed("signals cannot be handled").because(cause))?;
        let lease = Arc::clone(lease);
        tokio::spawn(async move {
            while asked.recv().await.is_some() {
                lease.end("it was asked to end");
            }
        });
    }
    Ok(())
}

/// Notes durably that nothing is held any more, but never waits long for the disk: it may be one that was frozen.
fn note_release(files: KeeperFiles) {
    let (done, noted) = std::sync::mpsc::channel();
    let spawned = spawn("last note", move || {
        // Without the note the release is run once more, which it must stand.
        let _ = files.mark_released();
        let _ = done.send(());
    });
    if spawned.is_ok() {
        let _ = noted.recv_timeout(LAST_NOTES);
    }
}

/// Gives replies from a thread, so that a runner that does not read them cannot hold up the keeper.
struct Replies {
    sender: Option<std::sync::mpsc::Sender<Reply>>,
    done: std::sync::mpsc::Receiver<()>,
}

impl Replies {
    fn start() -> Result<Self> {
        let (sender, receiver) = std::sync::mpsc::channel::<Reply>();
        let (finished, done) = std::sync::mpsc::channel();
        spawn("replies", move || {
            for reply in receiver {
                let Ok(mut line) = serde_json::to_vec(&reply) else { continue };
                line.push(b'\n');
                let mut output = io::stdout().lock();
                // Nobody reads any more when the runner is gone.
                let _ = output.write_all(&line).and_then(|()| output.flush());
            }
            let _ = finished.send(());
        })?;
        Ok(Self { sender: Some(sender), done })
    }

    fn give(&mut self, id: u64, outcome: Result<Said>) {
        let reply = Reply { id, outcome: outcome.map_err(|error| Failure::from(&error)) };
        if let Some(sender) = &self.sender {
            let _ = sender.send(reply);
        }
    }

    /// Waits a moment for the last reply to be taken.
    fn finish(&mut self) {
        self.sender = None;
        // A runner that is stopped does not take it; it will see the end of file.
        let _ = self.done.recv_timeout(LAST_NOTES);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    match std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        Ok(_) => Ok(()),
        Err(cause) => Err(Error::failed("a thread cannot be started").because(cause)),
    }
}
