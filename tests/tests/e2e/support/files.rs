//! An application that only writes files: numbers, one a line, each on disk before it counts.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{
    database::Database,
    writer::{Commit, Writer},
};

/// The file with the numbers.
const NUMBERS: &str = "numbers";

/// The application, on a file system of its own.
pub struct Files {
    pub directory: PathBuf,
}

impl Files {
    /// Makes one, with some files that never change.
    pub fn make(directory: &Path) -> Self {
        for number in 0..20 {
            let below = directory.join(format!("ballast/{number}"));
            fs::create_dir_all(&below).unwrap();
            fs::write(below.join("file"), vec![b'x'; 50_000]).unwrap();
        }
        fs::write(directory.join(NUMBERS), "").unwrap();
        Self { directory: directory.to_owned() }
    }

    /// Whether somebody has frozen it: a second freeze is refused.
    pub fn is_frozen(&self) -> bool {
        let refused = !self.fsfreeze("--freeze").status.success();
        if !refused {
            self.fsfreeze("--unfreeze");
        }
        refused
    }

    /// Freezes or thaws it.
    pub fn fsfreeze(&self, order: &str) -> Output {
        Command::new("fsfreeze").arg(order).arg(&self.directory).env("LC_ALL", "C").output().unwrap()
    }
}

fn read(directory: &Path) -> Result<Vec<i64>, String> {
    let text = fs::read_to_string(directory.join(NUMBERS)).map_err(|cause| cause.to_string())?;
    text.lines().map(|line| line.parse().map_err(|cause| format!("{cause}: {line}"))).collect()
}

impl Database for Files {
    fn writer(&self) -> Writer {
        let file = self.directory.join(NUMBERS);
        let last = read(&self.directory).unwrap().pop().unwrap_or_default();
        Writer::start(last, move || {
            let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
            let commit: Commit = Box::new(move |number| {
                let written =
                    file.write_all(format!("{number}\n").as_bytes()).and_then(|()| file.sync_data());
                written.map_err(|cause| cause.to_string())
            });
            commit
        })
    }

    fn held(&self) -> Vec<String> {
        if self.is_frozen() { vec!["the file system is frozen".to_owned()] } else { Vec::new() }
    }

    fn plain_copy(&self, to: &Path) -> bool {
        Command::new("cp").arg("-a").arg(&self.directory).arg(to).output().unwrap().status.success()
    }

    fn read_careless_copy(&self, copy: &Path) -> Result<Vec<i64>, String> {
        read(copy)
    }
}
