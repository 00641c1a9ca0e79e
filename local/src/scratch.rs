//! Directories that a run makes for itself, and their removal.

use std::{
    env, fs,
    fs::DirBuilder,
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Access, access, statvfs},
    process::geteuid,
};
use standstill_core::{
    Error, Result,
    hook::{Endpoint, Undone},
    point::RunId,
    runtime::{RunAs, ScratchIntent},
    units::show_bytes,
};

use crate::{
    record::{Record, file_name, is_temporary_of, temporary_name},
    snapshot::{mounts::Mounts, tree},
};

/// Where the run's own files are, below the directory that also holds its sockets.
const FILES: &str = "files";

/// The longest path of a Unix socket: `sun_path` has 108 bytes with the final zero (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;

/// Room for a socket's file name: PostgreSQL's is `.s.PGSQL.65535.lock`.
const SOCKET_NAME: usize = 24;

/// How long processes that are just being ended may still write to a directory that is removed.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Chooses a place for the run's own files.
pub(crate) fn run_intent(run: &RunId) -> Result<ScratchIntent> {
    let path = temporary_directory()?.join(format!("standstill-{run}"));
    let record = Record::Scratch { run: run.clone(), path: path.clone() }.to_value()?;
    Ok(ScratchIntent { path: path.join(FILES), record })
}

/// Chooses a place for a scratch volume: beside `like` if there is room, else among the temporary files.
pub(crate) fn volume_intent(name: &str, like: Option<&Path>, run: &RunId) -> Result<ScratchIntent> {
    let needed = match like.filter(|like| like.exists()) {
        Some(like) => tree::allocated(like).map_err(|cause| {
            Error::failed(format!("the size of {} cannot be found out", like.display()))
                .remedy("Check that this user may read it.")
                .because(cause)
        })?,
        None => 0,
    };
    let beside = like.and_then(Path::parent).filter(|parent| {
        access(*parent, Access::WRITE_OK | Access::EXEC_OK).is_ok()
            && like.is_some_and(|like| same_device(like, parent))
    });
    let temporary = temporary_directory()?;
    let mut places = beside.map(Path::to_owned).into_iter().chain([temporary.clone()]);
    let Some(place) = places.find(|place| room(place) >= needed) else {
        return Err(Error::failed(format!(
            "there is no room for the scratch volume {name}: it needs {}, and {} has {}",
            show_bytes(needed),
            temporary.display(),
            show_bytes(room(&temporary))
        ))
        .remedy("Free space, or set TMPDIR to a directory on a file system with room."));
    };
    // Not hidden: in a directory whose name begins with a dot MySQL does not look for its tablespaces, and so would
    // neither start on a new one nor recover all of a restored one.
    let path = place.join(temporary_name(run, name, false));
    let record = Record::Scratch { run: run.clone(), path: path.clone() }.to_value()?;
    Ok(ScratchIntent { path, record })
}

/// Makes a directory that was intended, with the owner of `like`.
pub(crate) fn make(intent: &ScratchIntent, like: Option<&Path>) -> Result<()> {
    let path = match Record::from_value(&intent.record)? {
        Record::Scratch { path, .. } => path,
        Record::Destination(destination) => return destination.take(like),
        _ => return Err(Error::failed(format!("{} was not intended to be made", intent.path.display()))),
    };
    let failed = |cause: io::Error| {
        Error::failed(format!("the directory {} cannot be made", intent.path.display()))
            .remedy("Check that there is room and that this user may write there, or set TMPDIR to another place.")
            .because(cause)
    };
    if path != intent.path {
        // Others may pass through to the sockets, whose directories say who may use them, but see nothing.
        DirBuilder::new().mode(0o711).create(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).map_err(failed)?;
    }
    DirBuilder::new().mode(0o700).create(&intent.path).map_err(failed)?;
    give_like(&intent.path, like).map_err(failed)
}

/// Gives a directory the owner of another one. Only root can give anything away; what others make stays theirs.
pub(crate) fn give_like(path: &Path, like: Option<&Path>) -> io::Result<()> {
    let Some(like) = like.filter(|_| geteuid().is_root()) else { return Ok(()) };
    let owner = fs::metadata(like)?;
    give(path, owner.uid(), owner.gid())
}

/// Whether this is the directory for the run's own files.
pub(crate) fn is_of_run(path: &Path) -> bool {
    path.file_name().is_some_and(|last| last == FILES)
}

/// Chooses where a service listens: a free port of the loopback address (the wished one, if it is free), and a private
/// socket directory.
pub(crate) fn endpoint(name: &str, scratch: &Path, run_as: &RunAs, port: Option<u16>) -> Result<Endpoint> {
    let failed = |cause: io::Error| {
        Error::failed(format!("the service {name} cannot be given a place to listen"))
            .remedy("Check that the loopback address is up and that the scratch directory can be written.")
            .because(cause)
    };
    let port = match port.filter(|port| is_free(*port)) {
        Some(port) => port,
        None => free_port().map_err(failed)?,
    };
    // The run's own files are closed to the user of the service, so the sockets are beside them.
    let files = scratch.ancestors().find(|above| is_of_run(above));
    let base = files.and_then(Path::parent).unwrap_or(scratch);
    let directory = socket_directory(base, name)?;
    match DirBuilder::new().mode(0o700).create(&directory) {
        Ok(()) => {}
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        Err(cause) => return Err(failed(cause)),
    }
    if let RunAs::OwnerOf(path) = run_as {
        let owner = fs::metadata(path).map_err(failed)?;
        give(&directory, owner.uid(), owner.gid()).map_err(failed)?;
    }
    Ok(Endpoint { host: Ipv4Addr::LOCALHOST.to_string(), port, socket_dir: Some(directory) })
}

/// Whether nothing listens at a port. One that this user may not take is nobody's, too: the service will say so.
fn is_free(port: u16) -> bool {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    !taken.is_err_and(|cause| cause.kind() == io::ErrorKind::AddrInUse)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A directory whose sockets have short enough paths.
fn socket_directory(base: &Path, name: &str) -> Result<PathBuf> {
    let digest = blake3::hash(name.as_bytes()).to_hex();
    let short = digest.get(..8).unwrap_or_default();
    [file_name(name).as_str(), short]
        .iter()
        .map(|last| base.join(last))
        .find(|path| path.as_os_str().as_bytes().len() + 1 + SOCKET_NAME <= LONGEST_SOCKET_PATH)
        .ok_or_else(|| {
            Error::input(format!("the path {} is too long for a socket", base.display()))
                .remedy("Set TMPDIR to a directory with a shorter path, such as /tmp.")
        })
}

/// Removes a directory of a run with everything in it, without following links or leaving its file system.
pub(crate) fn remove(run: &RunId, path: &Path) -> Result<Undone> {
    let failed = |cause: io::Error| {
        Error::failed(format!("{} cannot be removed", path.display()))
            .remedy(format!("Remove it by hand: rm -r {}", path.display()))
            .because(cause)
    };
    if !is_temporary_of(run, path) {
        return Err(Error::failed(format!(
            "{} does not bear the name of run {run}, so it is not removed",
            path.display()
        ))
        .remedy("Look at it, and remove it by hand if it is not needed."));
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(failed(io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory"))),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Undone::AlreadyGone),
        Err(cause) => return Err(failed(cause)),
    }
    remove_tree(path).map_err(failed)?;
    Ok(Undone::LetGo)
}

/// Removes a directory with everything in it, without following links or leaving its file system.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    if let Some(mount) = Mounts::read()?.below(path).first() {
        return Err(io::Error::other(format!("something is mounted at {}", mount.display())));
    }
    let deadline = Instant::now() + LAST_WRITES;
    loop {
        match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && !path.exists() => return Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                tree::make_removable(path)?;
                return fs::remove_dir_all(path);
            }
            // A process that is just being ended by its guard made a file while the directory was emptied.
            Err(cause) if cause.kind() == io::ErrorKind::DirectoryNotEmpty && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(cause) => return Err(cause),
        }
    }
}

/// How many bytes this user may still write to the file system of a directory.
pub(crate) fn room(directory: &Path) -> u64 {
    statvfs(directory).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// The directory for temporary files (`TMPDIR`), without links.
pub(crate) fn temporary_directory() -> Result<PathBuf> {
    let path = env::temp_dir();
    fs::canonicalize(&path).map_err(|cause| {
        Error::input(format!("the directory for temporary files, {}, cannot be used", path.display()))
            .remedy("Set TMPDIR to a directory that exists.")
            .because(cause)
    })
}

fn same_device(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.dev() == other.dev(),
        _ => false,
    }
}

/// Gives a directory to another user, where this one is not it already.
fn give(path: &Path, user: u32, group: u32) -> io::Result<()> {
    let present = fs::symlink_metadata(path)?;
    if (present.uid(), present.gid()) == (user, group) || (!geteuid().is_root() && present.uid() == user) {
        return Ok(());
    }
    chown(path, Some(user), Some(group))
}

#[cfg(test)]
#[path = "scratch_tests.rs"]
mod tests;
