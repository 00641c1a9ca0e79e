//! The commands that the keeper runs: `agent hold filesystem freeze|check|thaw PATH MARKER`.
//!
//! A freeze has no owner, and the kernel tells nobody whose it is. The marker does: a file in the run's own directory,
//! on another file system. It is written before the freeze, so that whoever is killed in between is thawed, and says
//! `foreign` where somebody else was first. A machine that restarts has nothing frozen, so nothing is synced.

use std::{
    fs, io,
    path::Path,
    process::{Command, ExitCode, Output},
};

use standstill_core::{Error, Result};

use super::place;

/// The freeze is being asked for, or on.
const OURS: &str = "ours";
/// Somebody else's freeze was there before.
const FOREIGN: &str = "foreign";

/// Where the program is looked for: the keeper's environment need not have an administrator's `PATH`.
const PROGRAMS: [&str; 4] = ["/usr/sbin/fsfreeze", "/sbin/fsfreeze", "/usr/bin/fsfreeze", "/bin/fsfreeze"];

/// Runs one command to its end: the rest of the command line after `agent hold filesystem`. It says what it did on
/// standard output; the exit status is 0 on success, 1 on failure, 2 when the command line is wrong.
pub fn holder_main(arguments: &[String]) -> ExitCode {
    let [order, path, marker] = arguments else {
        eprintln!("`agent hold filesystem` takes an order, a path and a marker");
        return ExitCode::from(2);
    };
    let (path, marker) = (Path::new(path), Path::new(marker));
    let done = match order.as_str() {
        "freeze" => freeze(path, marker),
        "check" => check(path, marker),
        "thaw" => thaw(path, marker),
        _ => {
            eprintln!("`agent hold filesystem` knows freeze, check and thaw");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", error.chain());
            ExitCode::FAILURE
        }
    }
}

fn freeze(path: &Path, marker: &Path) -> Result<&'static str> {
    place::write_back(path)?;
    mark(marker, OURS)?;
    match ask("--freeze", path)? {
        Answer::Done => Ok("frozen"),
        Answer::Refused(said) if is_busy(&said) => {
            mark(marker, FOREIGN)?;
            Err(Error::failed(format!(
                "the file system at {} is frozen already, by somebody else; it stays so",
                path.display()
            )))
        }
        Answer::Refused(said) => {
            // Not frozen, so there is nothing to thaw.
            mark(marker, FOREIGN)?;
            Err(Error::failed(format!("the file system at {} cannot be frozen: {said}", path.display())))
        }
    }
}

/// A second freeze must be refused. One that is not shows that the first one has lapsed.
fn check(path: &Path, marker: &Path) -> Result<&'static str> {
    if read(marker) != Some(OURS.into()) {
        return Err(Error::lapsed(format!("{} was not frozen by this run", path.display())));
    }
    match ask("--freeze", path)? {
        Answer::Refused(said) if is_busy(&said) => Ok("frozen"),
        Answer::Refused(said) => Err(Error::lapsed(format!("{} cannot be asked: {said}", path.display()))),
        Answer::Done => {
            ask("--unfreeze", path)?;
            Err(Error::lapsed(format!("somebody thawed the file system at {} meanwhile", path.display())))
        }
    }
}

/// Safe to run again, and where nothing is frozen.
fn thaw(path: &Path, marker: &Path) -> Result<&'static str> {
    // A run's directory that is gone says nothing; what may be frozen is thawed then.
    let known = marker.parent().is_some_and(Path::is_dir);
    if known && read(marker) != Some(OURS.into()) {
        return Ok("not frozen by this run");
    }
    match ask("--unfreeze", path)? {
        Answer::Done => Ok("thawed"),
        // EINVAL: it is not frozen.
        Answer::Refused(said) if said.contains("Invalid argument") => Ok("thawed before"),
        Answer::Refused(said) => {
            Err(Error::failed(format!("the file system at {} cannot be thawed: {said}", path.display()))
                .remedy(format!("Run: fsfreeze --unfreeze {}", path.display())))
        }
    }
}

/// What `fsfreeze` said.
enum Answer {
    Done,
    Refused(String),
}

fn ask(order: &str, path: &Path) -> Result<Answer> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for program in PROGRAMS {
        match Command::new(program).arg(order).arg(path).env("LC_ALL", "C").output() {
            Ok(output) if output.status.success() => return Ok(Answer::Done),
            Ok(output) => return Ok(Answer::Refused(said(&output))),
            Err(cause) => last = cause,
        }
    }
    Err(Error::failed("the program fsfreeze cannot be run").remedy("Install it (util-linux).").because(last))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// EBUSY: it is frozen.
fn is_busy(said: &str) -> bool {
    said.contains("resource busy")
}

fn mark(marker: &Path, text: &str) -> Result<()> {
    fs::write(marker, text).map_err(|cause| {
        Error::failed(format!("{} cannot be written to", marker.display()))
            .remedy("Free space for temporary files (TMPDIR).")
            .because(cause)
    })
}

fn read(marker: &Path) -> Option<String> {
    fs::read_to_string(marker).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_of_somebody_else_is_never_thawed() {
        let directory = tempfile::tempdir().unwrap();
        let marker = directory.path().join("marker");
        // The path is no file system: to ask would be an error.
        let path = Path::new("/proc/self/no-such-path");
        assert_eq!(thaw(path, &marker).unwrap(), "not frozen by this run");
        mark(&marker, FOREIGN).unwrap();
        assert_eq!(thaw(path, &marker).unwrap(), "not frozen by this run");
        mark(&marker, OURS).unwrap();
        assert!(thaw(path, &marker).is_err());
    }
}
