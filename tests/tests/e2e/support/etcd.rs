//! etcd: members, each a test's own, talked to by `etcdctl` and, by writers, by its JSON gateway.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    database::Database,
    eventually, free_port,
    writer::{Commit, Writer},
};

/// Whether there is an etcd on this machine; says so if not.
pub fn is_here() -> bool {
    let here = ["etcd", "etcdctl"].iter().all(|name| program(name).is_some());
    if !here {
        println!("left out: there is no etcd with etcdctl on this machine");
    }
    here
}

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
}

/// A member.
pub struct Member {
    pub data: PathBuf,
    pub port: u16,
    pub peer: u16,
    pub name: String,
    /// `new`, or `existing` for one that joins.
    pub state: &'static str,
    /// `--initial-cluster`; its own address where it is empty.
    pub cluster: String,
    /// Flags more than the usual ones.
    pub flags: Vec<String>,
    child: Option<Child>,
}

impl Member {
    /// Makes a cluster of one member in `data`, and starts it.
    pub fn make(data: &Path) -> Self {
        let mut member = Self::at(data);
        member.start();
        member
    }

    /// A member that is not started.
    pub fn at(data: &Path) -> Self {
        let (port, peer) = (free_port(), free_port());
        let (name, cluster) = ("default".to_owned(), String::new());
        Self {
            data: data.to_owned(),
            port,
            peer,
            name,
            state: "new",
            cluster,
            flags: Vec::new(),
            child: None,
        }
    }

    /// The address of its peers' port.
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
    }

    /// Starts it and waits until it answers.
    #[track_caller]
    pub fn start(&mut self) {
        self.try_start().unwrap();
    }

    /// Starts it; `Err` with its log if it ends at once.
    pub fn try_start(&mut self) -> Result<(), String> {
        self.spawn();
        let mut child = self.child.take().unwrap();
        let mut ended = false;
        eventually(Duration::from_mins(1), "etcd answers", || {
            ended = child.try_wait().unwrap().is_some();
            ended || self.healthy()
        });
        if ended {
            return Err(format!("the member ended:\n{}", self.log()));
        }
        self.child = Some(child);
        Ok(())
    }

    /// Starts it without waiting.
    pub fn spawn(&mut self) {
        fs::create_dir_all(self.data.parent().unwrap()).unwrap();
        let output = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let url = format!("http://127.0.0.1:{}", self.port);
        let (name, peer) = (&self.name, self.peer_url());
        let cluster = if self.cluster.is_empty() { format!("{name}={peer}") } else { self.cluster.clone() };
        let tls = self.flags.iter().any(|flag| flag.starts_with("--listen-client-urls"));
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program("etcd").unwrap())
            .args([format!("--name={name}"), format!("--data-dir={}", self.data.display())])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .args([format!("--initial-cluster={cluster}"), format!("--initial-cluster-state={}", self.state)])
            // A number that acknowledged is on disk anyway; the tests kill processes, not machines.
            .args(["--unsafe-no-fsync", "--heartbeat-interval=100", "--election-timeout=1000"]);
        if !tls {
            command.args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={url}")]);
        }
        let child = command
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn log_file(&self) -> PathBuf {
        self.data.with_extension(format!("{}.log", self.port))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Whether it answers; one whose port has TLS is asked no more than whether it listens.
    fn healthy(&self) -> bool {
        if self.flags.iter().any(|flag| flag.contains("https://")) {
            return TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        }
        let asked =
            Client::open(self.port).and_then(|mut client| client.ask("maintenance/status", &json!({})));
        asked.is_ok_and(|status| status.get("leader").is_some())
    }

    /// Ends it with a signal, and waits until it is gone.
    pub fn end(&mut self, signal: rustix::process::Signal) {
        let Some(mut child) = self.child.take() else { return };
        let pid = rustix::process::Pid::from_child(&child);
        let _gone = rustix::process::kill_process(pid, signal);
        let _status = child.wait();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().expect("the member runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
    }

    /// Runs `etcdctl` on it.
    pub fn etcdctl(&self, arguments: &[&str]) -> Output {
        Command::new(program("etcdctl").unwrap())
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=127.0.0.1:{}", self.port))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs `etcdctl`, which must succeed; what it said.
    #[track_caller]
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.etcdctl(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Switches authentication on: `root` with a password, a user `backup` as the page of `etcd` makes it, and a user
    /// `reader` that may read everything.
    pub fn ask_who_one_is(&self, password: &str) {
        for arguments in [
            ["user", "add", &format!("root:{password}")].as_slice(),
            &["user", "grant-role", "root", "root"],
            &["user", "add", &format!("backup:{password}")],
            &["user", "grant-role", "backup", "root"],
            &["user", "add", &format!("reader:{password}")],
            &["role", "add", "reading"],
            &["role", "grant-permission", "reading", "--prefix=true", "read", ""],
            &["user", "grant-role", "reader", "reading"],
            &["auth", "enable"],
        ] {
            self.ctl(arguments);
        }
    }

    /// Every number in it.
    pub fn numbers(&self) -> Result<Vec<i64>, String> {
        let mut client = Client::open(self.port)?;
        // All keys that begin so: up to the next one after the slash.
        let range = json!({"key": encode("orders/"), "range_end": encode("orders0"), "keys_only": true});
        let answer = client.ask("kv/range", &range)?;
        let keys = answer.get("kvs").and_then(Value::as_array).cloned().unwrap_or_default();
        let number = |entry: Value| {
            let key = BASE64_STANDARD.decode(entry["key"].as_str().unwrap()).unwrap();
            String::from_utf8(key).unwrap().trim_start_matches("orders/").parse().unwrap()
        };
        Ok(keys.into_iter().map(number).collect())
    }

    /// Puts that many values of that many bytes into it, which do not compress.
    pub fn fill(&self, count: usize, bytes: usize) {
        let mut client = Client::open(self.port).unwrap();
        let mut random = fs::File::open("/dev/urandom").unwrap();
        let mut noise = vec![0; bytes];
        for number in 0..count {
            random.read_exact(&mut noise).unwrap();
            let value = BASE64_STANDARD.encode(&noise);
            let key = encode(&format!("ballast/{number}"));
            client.ask("kv/put", &json!({"key": key, "value": value})).unwrap();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end(rustix::process::Signal::KILL);
    }
}

impl Database for Member {
    fn writer(&self) -> Writer {
        let port = self.port;
        let last = self.numbers().unwrap().into_iter().max().unwrap_or_default();
        Writer::start(last, move || {
            let mut client = Client::open(port).unwrap();
            let commit: Commit = Box::new(move |number| {
                let put = json!({"key": encode(&format!("orders/{number}")), "value": encode("an order")});
                client.ask("kv/put", &put).map(drop)
            });
            commit
        })
    }

    fn held(&self) -> Vec<String> {
        // A snapshot is the client's own connection, and nothing else is ever held.
        Vec::new()
    }

    fn read_copy(&self, copy: &Path) -> Vec<i64> {
        let mut other = Self::at(copy);
        other.try_start().unwrap_or_else(|cause| panic!("the copy in {}: {cause}", copy.display()));
        other.numbers().unwrap()
    }
}

fn encode(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// A connection to the JSON gateway.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn open(port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|cause| cause.to_string())?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Ok(Self(BufReader::new(stream)))
    }

    /// Puts a question; an answer with another status than 200 is an error.
    pub fn ask(&mut self, method: &str, question: &Value) -> Result<Value, String> {
        let body = question.to_string();
        let head = format!(
            "POST /v3/{method} HTTP/1.1\r\nHost: etcd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let shown = |cause: std::io::Error| format!("{method}: {cause}");
        self.0.get_mut().write_all((head + &body).as_bytes()).map_err(shown)?;
        let status = self.line()?;
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(given) = line.strip_prefix("content-length:") {
                length = given.trim().parse::<usize>().ok();
            }
        }
        let body = match length {
            Some(length) => self.bytes(length)?,
            None => self.chunks()?,
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        if !status.contains(" 200 ") {
            return Err(format!("{method}: {status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|cause| format!("{method}: {cause} in {text}"))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => Err("the connection ended".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(cause) => Err(cause.to_string()),
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).map_err(|cause| cause.to_string())?;
        Ok(bytes)
    }

    /// A body in pieces, each behind its length.
    fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).map_err(|cause| cause.to_string())?;
            body.extend(self.bytes(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}
