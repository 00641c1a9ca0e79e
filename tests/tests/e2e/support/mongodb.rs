//! MongoDB: this crate's fake for the lock, and `SecantusDB`, a server of its own that speaks the same protocol, for
//! everything else.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bson::{Document, doc};

use super::{
    database::Database,
    eventually, free_port,
    writer::{Commit, Writer},
};

pub use super::mongodb_client::Client;

/// The fake.
const FAKE: &str = env!("CARGO_BIN_EXE_fake-mongod");
/// The database of the tests.
pub const DATABASE: &str = "app";
/// How often a copy that runs may be looked at.
const READY: Duration = Duration::from_mins(1);

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// This crate's.
    Fake,
    /// `SecantusDB`.
    Secantus,
}

impl Flavour {
    /// Its program, if this machine has it; says so if not.
    pub fn program(self) -> Option<PathBuf> {
        if self == Self::Fake {
            return Some(FAKE.into());
        }
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
        let program = cache?.join("standstill/secantus/bin/secantusd-py");
        if !program.exists() {
            println!("left out: there is no SecantusDB on this machine (./test installs it)");
            return None;
        }
        Some(program)
    }
}

/// A server, ended with this value.
pub struct Server {
    pub flavour: Flavour,
    pub data: PathBuf,
    pub port: u16,
    /// A directory with the program by its usual name, for scratch servers.
    pub bin: PathBuf,
    /// Options more than the usual ones.
    pub options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Makes a server with data in `data`, and starts it.
    pub fn make(flavour: Flavour, data: &Path, bin: &Path) -> Self {
        fs::create_dir_all(bin).unwrap();
        let name = bin.join("mongod");
        if !name.exists() {
            match flavour {
                Flavour::Fake => symlink(FAKE, &name).unwrap(),
                Flavour::Secantus => {
                    fs::write(&name, wrapper(&flavour.program().unwrap())).unwrap();
                    fs::set_permissions(&name, fs::Permissions::from_mode(0o755)).unwrap();
                }
            }
        }
        let mut server = Self {
            flavour,
            data: data.to_owned(),
            port: free_port(),
            bin: bin.to_owned(),
            options: Vec::new(),
            child: None,
        };
        server.start();
        server
    }

    /// Starts it, and waits until it answers.
    #[track_caller]
    pub fn start(&mut self) {
        self.try_start().unwrap();
    }

    /// Starts it; `Err` with its log if it ends at once.
    pub fn try_start(&mut self) -> Result<(), String> {
        fs::create_dir_all(&self.data).unwrap();
        let log = self.data.with_extension(format!("{}.log", self.port));
        let output = fs::File::create(&log).unwrap();
        let port = self.port.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(self.flavour.program().unwrap());
        match self.flavour {
            Flavour::Fake => command.arg("--dbpath").arg(&self.data),
            Flavour::Secantus => command.args(["--log-level", "WARNING", "--storage-path"]).arg(&self.data),
        };
        command.args(["--port", &port]).args(&self.options);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn().unwrap();
        let mut child = child;
        let mut ended = false;
        eventually(READY, "the server answers", || {
            ended = child.try_wait().unwrap().is_some();
            ended || self.answers()
        });
        if ended {
            return Err(fs::read_to_string(log).unwrap_or_default());
        }
        self.child = Some(child);
        Ok(())
    }

    fn answers(&self) -> bool {
        let client = Client::open(self.port);
        if self.options.iter().any(|option| option.starts_with("--tls")) {
            return client.is_ok();
        }
        client.and_then(|mut client| client.ask("admin", doc! {"ping": 1})).is_ok()
    }

    /// Ends it with a signal, and waits until it is gone.
    pub fn end(&mut self, signal: rustix::process::Signal) {
        let Some(mut child) = self.child.take() else { return };
        let _gone = rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal);
        let _status = child.wait();
    }

    /// Starts it again, with these options more.
    #[track_caller]
    pub fn restart(&mut self, options: &[&str]) {
        self.end(rustix::process::Signal::KILL);
        self.options = options.iter().map(|&option| option.to_owned()).collect();
        self.start();
    }

    /// Gives a command, which must succeed.
    #[track_caller]
    pub fn ask(&self, database: &str, command: Document) -> Document {
        Client::open(self.port).unwrap().ask(database, command).unwrap()
    }

    /// Every number in it.
    pub fn numbers(&self) -> Result<Vec<i64>, String> {
        let mut client = Client::open(self.port)?;
        let command = doc! {"find": "rows", "projection": {"_id": 1}, "batchSize": 100_000};
        let mut numbers = Vec::new();
        for document in client.all(DATABASE, command)? {
            numbers.push(document.get_i64("_id").map_err(|cause| cause.to_string())?);
        }
        Ok(numbers)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(rustix::process::Signal::KILL);
    }
}

/// `SecantusDB` under the name and with the options of the server whose place it takes.
fn wrapper(program: &Path) -> String {
    format!(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do\n  case \"$1\" in\n    --dbpath) data=$2; shift ;;\n    \
         --port) port=$2; shift ;;\n    --bind_ip | --setParameter) shift ;;\n  esac\n  shift\ndone\n\
         exec \"{}\" --log-level WARNING --storage-path \"$data\" --port \"$port\"\n",
        program.display()
    )
}

impl Database for Server {
    fn writer(&self) -> Writer {
        let port = self.port;
        let last = self.numbers().unwrap().into_iter().max().unwrap_or_default();
        Writer::start(last, move || {
            let mut client = Client::open(port).unwrap();
            let commit: Commit = Box::new(move |number| {
                let insert = doc! {"insert": "rows", "documents": [{"_id": number, "text": "an order"}]};
                let answer = client.ask(DATABASE, insert)?;
                // A pace that keeps the files small.
                std::thread::sleep(Duration::from_micros(200));
                if answer.contains_key("writeErrors") { Err(answer.to_string()) } else { Ok(()) }
            });
            commit
        })
    }

    fn held(&self) -> Vec<String> {
        let mut held = Vec::new();
        let Ok(mut client) = Client::open(self.port) else { return held };
        let operations = client.ask("admin", doc! {"currentOp": 1, "$ownOps": true}).unwrap();
        if operations.get_bool("fsyncLock").unwrap_or(false) {
            held.push("the server is locked".to_owned());
        }
        let marks = client.all("local", doc! {"find": "standstill"}).unwrap();
        held.extend(marks.into_iter().map(|mark| format!("a mark is left: {mark}")));
        held
    }

    fn read_copy(&self, copy: &Path) -> Vec<i64> {
        self.read_careless_copy(copy)
            .unwrap_or_else(|cause| panic!("the copy in {}: {cause}", copy.display()))
    }

    fn plain_copy(&self, to: &Path) -> bool {
        Command::new("cp").arg("-r").arg(&self.data).arg(to).status().unwrap().success()
    }

    fn read_careless_copy(&self, copy: &Path) -> Result<Vec<i64>, String> {
        let mut other = Self {
            flavour: self.flavour,
            data: copy.to_owned(),
            port: free_port(),
            bin: self.bin.clone(),
            options: Vec::new(),
            child: None,
        };
        other.try_start()?;
        other.numbers()
    }
}
