//! The key-value application of this crate: no hook knows it.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{
    database::Database,
    eventually,
    writer::{Commit, Writer},
};

#[path = "kv_blueprint.rs"]
mod kv_blueprint;

pub use kv_blueprint::blueprint;

/// The program: server and client in one.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_kv");

/// A server, ended with this value.
pub struct Kv {
    pub directory: PathBuf,
    server: Child,
}

impl Kv {
    pub fn start(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let server = Command::new(PROGRAM).arg("serve").arg(directory).stdin(Stdio::null()).spawn().unwrap();
        let kv = Self { directory: directory.to_owned(), server };
        eventually(Duration::from_secs(10), "kv listens", || kv.directory.join("socket").exists());
        kv
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Asks it one thing.
    pub fn ask(&self, line: &str) -> String {
        let mut connection = UnixStream::connect(self.directory.join("socket")).unwrap();
        writeln!(connection, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(connection).read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

impl Drop for Kv {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _status = self.server.wait();
    }
}

fn read(copy: &Path) -> Result<Vec<i64>, String> {
    let text = std::fs::read_to_string(copy.join("data")).map_err(|cause| cause.to_string())?;
    if !text.is_empty() && !text.ends_with(";\n") {
        return Err("the last line is torn".to_owned());
    }
    let number = |line: &str| line.trim_end_matches(';').parse().map_err(|_| format!("`{line}` is torn"));
    text.lines().map(number).collect()
}

impl Database for Kv {
    fn writer(&self) -> Writer {
        let socket = self.directory.join("socket");
        let last = read(&self.directory).unwrap().last().copied().unwrap_or_default();
        Writer::start(last, move || {
            let mut connection = UnixStream::connect(socket).unwrap();
            let mut answers = BufReader::new(connection.try_clone().unwrap());
            let commit: Commit = Box::new(move |number| {
                writeln!(connection, "SET {number}").map_err(|cause| cause.to_string())?;
                let mut answer = String::new();
                answers.read_line(&mut answer).map_err(|cause| cause.to_string())?;
                // A pace that keeps the file small; the pause is what is looked at.
                std::thread::sleep(Duration::from_micros(200));
                if answer == "OK\n" { Ok(()) } else { Err(format!("kv answered {answer:?}")) }
            });
            commit
        })
    }

    fn held(&self) -> Vec<String> {
        match self.ask("STATE").as_str() {
            "running" => Vec::new(),
            state => vec![format!("kv is {state}")],
        }
    }

    fn plain_copy(&self, to: &Path) -> bool {
        std::fs::create_dir(to).unwrap();
        std::fs::copy(self.directory.join("data"), to.join("data")).is_ok()
    }

    fn read_careless_copy(&self, copy: &Path) -> Result<Vec<i64>, String> {
        read(copy)
    }
}
