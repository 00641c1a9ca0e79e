//! `standstill agent install FILE`: brings this program into a volume that another container runs it from.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use standstill_core::{Error, Result};

use crate::output;

/// Copies this program.
pub fn install_main(arguments: &[String]) -> ExitCode {
    let outcome = match arguments {
        [file] => install(Path::new(file)),
        _ => Err(Error::input("`agent install` takes the path of one file")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(output::error(&error)),
    }
}

fn install(file: &Path) -> Result<()> {
    let copy = || -> io::Result<()> {
        let program = std::env::current_exe()?;
        // It has its name only once it is whole.
        let mut new = file.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        fs::copy(program, &new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        fs::rename(&new, file)
    };
    copy().map_err(|cause| {
        Error::failed(format!("this program cannot be copied to {}", file.display()))
            .remedy("Check that there is room and that this user may write there.")
            .because(cause)
    })
}
