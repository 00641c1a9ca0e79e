//! From a command to a guarded child.

use std::{
    env, fs,
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{getegid, geteuid},
};
use serde::{Deserialize, Serialize};
use standstill_core::{
    Error, Result,
    runtime::{Command, RunAs},
    secret::Secret,
    units::milliseconds,
};

use crate::guard::{
    client::Guarded,
    protocol::{ChildSpec, GuardSpec},
    renewal::Renewals,
};

/// Where programs are looked up when the runner itself has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command as it will be started: everything about the runner's surroundings has been decided. It holds secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Prepared {
    /// The child.
    pub(crate) child: ChildSpec,
    /// Text for its standard input.
    pub(crate) stdin: Option<String>,
    /// [`Command::may_outlive`].
    #[serde(default)]
    pub(crate) may_outlive: Duration,
}

impl Prepared {
    /// The program's file name, for messages.
    pub(crate) fn program(&self) -> &str {
        self.child.argv.first().map_or("", |program| program.rsplit('/').next().unwrap_or(program))
    }
}

/// One of a child's standard streams.
pub(crate) struct Pipe {
    /// The end that this process keeps.
    pub(crate) ours: OwnedFd,
    /// The child's end.
    pub(crate) theirs: OwnedFd,
}

impl Pipe {
    /// A pipe that the child reads from.
    pub(crate) fn to_child() -> io::Result<Self> {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { ours, theirs })
    }

    /// A pipe that the child writes to.
    pub(crate) fn from_child() -> io::Result<Self> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { ours, theirs })
    }
}

/// Starts guarded children.
pub(crate) struct Launcher {
    /// The command line of this program's own `agent` subcommand.
    agent: Vec<String>,
    lease: Duration,
    renewals: Mutex<Option<Renewals>>,
    /// Where commands run that name no directory: the run's scratch directory, once it was made.
    directory: Mutex<Option<PathBuf>>,
}

impl Launcher {
    /// A launcher of children that outlive this process, or its last renewal, by at most the lease, and by what their
    /// command allows.
    pub(crate) fn new(agent: Vec<String>, lease: Duration) -> Arc<Self> {
        let lease = lease.max(Duration::from_millis(30));
        Arc::new(Self { agent, lease, renewals: Mutex::new(None), directory: Mutex::new(None) })
    }

    /// The command line of this program's own `agent` subcommand.
    pub(crate) fn agent(&self) -> &[String] {
        &self.agent
    }

    /// From now on, commands of the runner's own user that name no directory run here.
    pub(crate) fn set_directory(&self, directory: &Path) {
        *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = Some(directory.to_owned());
    }

    /// Decides user, environment and directory of a command.
    pub(crate) fn prepare(&self, command: &Command) -> Result<Prepared> {
        if command.argv.is_empty() {
            return Err(
                Error::input("a command is empty").remedy("Write the program and its arguments as a list.")
            );
        }
        let user = user_of(&command.run_as)?;
        let mut environment = base_environment(user);
        let named = command.env.iter().map(|(name, value)| (name.clone(), value.clone()));
        let secret = command.secret_env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
        for (name, value) in named.chain(secret) {
            environment.retain(|(present, _)| *present != name);
            environment.push((name, value));
        }
        let directory = command.directory.clone().unwrap_or_else(|| self.default_directory(user));
        if !directory.is_dir() {
            return Err(Error::input(format!(
                "the working directory {} does not exist",
                directory.display()
            ))
            .remedy("Name a directory that exists, or none."));
        }
        let child = ChildSpec { argv: command.argv.clone(), environment, directory, user };
        let stdin = command.stdin.as_ref().map(|secret| secret.expose().to_owned());
        Ok(Prepared { child, stdin, may_outlive: command.may_outlive })
    }

    fn default_directory(&self, user: Option<(u32, u32)>) -> PathBuf {
        let directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (user, directory) {
            // Another user cannot enter the runner's private directory.
            (None, Some(directory)) if directory.is_dir() => directory,
            _ => PathBuf::from("/"),
        }
    }

    /// Starts a child with these standard streams. `grace` is how long it may take to end by itself when this
    /// process is gone, if it may not outlive it for longer.
    pub(crate) async fn start(
        self: &Arc<Self>,
        prepared: &Prepared,
        streams: [OwnedFd; 3],
        grace: Duration,
    ) -> Result<Guarded> {
        let launcher = Arc::clone(self);
        let spec = GuardSpec {
            child: prepared.child.clone(),
            lease_milliseconds: milliseconds(self.lease + prepared.may_outlive).max(1),
            grace_milliseconds: milliseconds(grace.max(prepared.may_outlive)),
        };
        blocking(move || {
            let mut guard = launcher.agent.clone();
            guard.push("guard".to_owned());
            let guarded = Guarded::start(&guard, &spec, &streams)?;
            launcher.renew(&guarded)?;
            Ok(guarded)
        })
        .await
    }

    fn renew(&self, guarded: &Guarded) -> Result<()> {
        let mut renewals = self.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        let started = match renewals.take() {
            Some(started) => started,
            None => Renewals::start(self.lease).map_err(|cause| {
                Error::failed("cannot start the thread that renews guards").because(cause)
            })?,
        };
        started.add(guarded.control());
        *renewals = Some(started);
        Ok(())
    }
}

/// Runs blocking work on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(cause) => Err(Error::failed("a worker thread was lost").because(cause)),
    }
}

/// What is left when a standard stream leads nowhere.
pub(crate) fn null() -> io::Result<OwnedFd> {
    Ok(fs::OpenOptions::new().read(true).write(true).open("/dev/null")?.into())
}

/// The error of a process that cannot be given its standard streams.
pub(crate) fn no_streams(program: &str) -> impl FnOnce(io::Error) -> Error + '_ {
    move |cause| {
        Error::failed(format!("cannot connect to {program}"))
            .remedy("Raise the limit of open files (`ulimit -n`).")
            .because(cause)
    }
}

/// The numeric user and group to change to, if any.
fn user_of(run_as: &RunAs) -> Result<Option<(u32, u32)>> {
    let RunAs::OwnerOf(path) = run_as else { return Ok(None) };
    let owner = fs::symlink_metadata(path).map_err(|cause| {
        Error::input(format!("the owner of {} cannot be found out", path.display()))
            .remedy("Check that the path exists and that this user may reach it.")
            .because(cause)
    })?;
    let (user, group) = (owner.uid(), owner.gid());
    if (user, group) == (geteuid().as_raw(), getegid().as_raw()) {
        Ok(None)
    } else if geteuid().is_root() {
        Ok(Some((user, group)))
    } else if user == geteuid().as_raw() {
        // The group may be one of this user's others; only root could change to it.
        Ok(None)
    } else {
        Err(Error::input(format!(
            "a command is to run as user {user}, the owner of {}, but this is user {}",
            path.display(),
            geteuid().as_raw()
        ))
        .remedy(format!("Run Standstill as root or as user {user}.")))
    }
}

/// `PATH`, `HOME`, `LANG` and `TZ`, and nothing else of the runner's environment.
fn base_environment(user: Option<(u32, u32)>) -> Vec<(String, String)> {
    let path = env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    let home = match user {
        Some((user, _)) => home_of(user),
        None => env::var("HOME").unwrap_or_else(|_| home_of(geteuid().as_raw())),
    };
    let mut environment =
        vec![("PATH".to_owned(), path), ("HOME".to_owned(), home), ("LANG".to_owned(), "C.UTF-8".to_owned())];
    environment.extend(env::var("TZ").ok().map(|zone| ("TZ".to_owned(), zone)));
    environment
}

/// The home directory of a user as `/etc/passwd` has it (passwd(5)), else the root directory.
fn home_of(user: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let home = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(user)).then(|| fields.get(5).map(|home| (*home).to_owned()))?
    });
    home.filter(|home| !home.is_empty()).unwrap_or_else(|| "/".to_owned())
}

/// Finds a program in the directories given, then on `PATH`.
pub(crate) fn find_program(name: &str, search: &[PathBuf]) -> Result<PathBuf> {
    let runnable = |path: &Path| {
        fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let path = PathBuf::from(name);
        return if runnable(&path) {
            Ok(path)
        } else {
            Err(Error::input(format!("{name} is not a program that can be run"))
                .remedy("Check the path and its permissions."))
        };
    }
    let path = env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    let places: Vec<PathBuf> = search.iter().cloned().chain(env::split_paths(&path)).collect();
    places.iter().map(|place| place.join(name)).find(|path| runnable(path)).ok_or_else(|| {
        let searched: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        Error::input(format!("the program {name} was not found in {}", searched.join(", ")))
            .remedy(format!("Install {name}, or add its directory to PATH or to the blueprint's `search`."))
    })
}

/// Writes a secret text to a child's standard input and closes it. Ends early when the child does not read.
pub(crate) fn feed(input: OwnedFd, text: Option<String>) -> io::Result<()> {
    let Some(text) = text.map(Secret::new) else { return Ok(()) };
    std::thread::Builder::new().name("standard input".to_owned()).spawn(move || {
        // A child that ends without reading it all has its reasons; its exit status tells.
        let _ = fs::File::from(input).write_all(text.expose().as_bytes());
    })?;
    Ok(())
}
