//! The server: it starts helpers for whoever connects.

use std::{
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

use super::{Ended, HOLD, KEEP, Wanted};

/// How long the runner may take to connect: its own container may have to wait for its image.
const FIRST: Duration = Duration::from_mins(10);
/// More than a first line is long.
const LONGEST: usize = 64 * 1024;

/// Runs the server to its end: the rest of the command line after `agent helpers`. It ends when the last connection has
/// ended, with status 0; with 1 when nobody ever connected, or when it cannot serve.
pub fn helpers_main(arguments: &[String]) -> ExitCode {
    let [socket] = arguments else {
        eprintln!("`agent helpers` takes the path of a socket");
        return ExitCode::from(2);
    };
    match serve(Path::new(socket)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("nobody connected to {socket} within {FIRST:?}");
            ExitCode::FAILURE
        }
        Err(cause) => {
            eprintln!("helpers cannot be served at {socket}: {cause}");
            ExitCode::FAILURE
        }
    }
}

/// How many connections there are, whether there ever was one, and whether this process was told to end.
#[derive(Default)]
struct Connections {
    open: usize,
    any: bool,
    told: bool,
}

#[derive(Default)]
struct Shared {
    connections: Mutex<Connections>,
    changed: Condvar,
}

impl Shared {
    /// A thread that panicked counted its connection; the number is still the best that is known.
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> Open {
        let mut connections = self.lock();
        connections.open += 1;
        connections.any = true;
        self.changed.notify_all();
        Open(Arc::clone(self))
    }
}

/// A connection that is counted.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
        self.0.changed.notify_all();
    }
}

/// Whether anybody ever connected, or nobody was to be waited for any more.
fn serve(socket: &Path) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A pod that is told to end tells all its containers. This one stays until the runner has let go: the signals are
    // caught, and mean nothing but that a runner that has not come yet is not waited for.
    let mut caught = runtime.block_on(async {
        io::Result::Ok([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ])
    })?;
    let listener = UnixListener::bind(socket)?;
    let shared = Arc::<Shared>::default();
    let telling = Arc::clone(&shared);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let [terminate, interrupt, hangup] = &mut caught;
        loop {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hangup.recv() => {}
                }
            });
            telling.lock().told = true;
            telling.changed.notify_all();
        }
    })?;
    let accepting = Arc::clone(&shared);
    thread::Builder::new().name("helpers".to_owned()).spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let open = accepting.begin();
            let begun = thread::Builder::new().name("helper".to_owned()).spawn(move || {
                let _open = open;
                if let Err(cause) = attend(stream) {
                    eprintln!("a helper's connection broke off: {cause}");
                }
            });
            if let Err(cause) = begun {
                eprintln!("no thread can be started for a helper: {cause}");
            }
        }
    })?;
    let waits = |connections: &mut Connections| !connections.any && !connections.told;
    let first = shared.changed.wait_timeout_while(shared.lock(), FIRST, waits);
    let connections = first.unwrap_or_else(PoisonError::into_inner).0;
    if !connections.any {
        return Ok(connections.told);
    }
    let last = shared.changed.wait_while(connections, |connections| connections.open > 0);
    drop(last.unwrap_or_else(PoisonError::into_inner));
    Ok(true)
}

/// Does what a connection asks for.
fn attend(mut stream: UnixStream) -> io::Result<()> {
    match serde_json::from_str(&first_line(&mut stream)?)? {
        Wanted::Life => {
            io::copy(&mut stream, &mut io::sink())?;
            Ok(())
        }
        Wanted::Helper(arguments) => {
            let exit_status = help(&stream, &arguments)?;
            let line = serde_json::to_string(&Ended { exit_status })?;
            // Whoever asked may be gone.
            writeln!(stream, "{line}")
        }
    }
}

/// The first line, and not a byte more: the rest is the helper's.
fn first_line(stream: &mut UnixStream) -> io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < LONGEST {
        stream.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return String::from_utf8(line).map_err(io::Error::other);
        }
        line.extend_from_slice(&byte);
    }
    Err(io::Error::other("its first line does not end"))
}

/// Runs a helper to its end; its exit status.
fn help(stream: &UnixStream, arguments: &[String]) -> io::Result<Option<i32>> {
    let helper = arguments.first().map(String::as_str).unwrap_or_default();
    if ![HOLD, KEEP].contains(&helper) {
        return Err(io::Error::other("it asks for something that is no helper"));
    }
    let end = || io::Result::Ok(Stdio::from(OwnedFd::from(stream.try_clone()?)));
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("agent").args(arguments).stdin(end()?).stdout(end()?);
    if helper == KEEP {
        // As it is started where there is no other container.
        command.env_clear().current_dir("/").stderr(Stdio::null());
    }
    let mut child = command.spawn()?;
    // With it go its ends of the connection, which only the helper may read.
    drop(command);
    Ok(child.wait()?.code())
}
