//! Redis and Valkey servers, each a test's own.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use redis::{Client, Connection, FromRedisValue, RedisResult};

use super::{
    database::{Database, copy_carelessly},
    eventually, free_port,
    writer::{Commit, Writer},
};

/// The user that takes backups: it has no password, and just the permissions that are documented.
pub const USER: &str = "backup";
/// The permissions of the README of `redis`.
pub const PERMISSIONS: &str = "+ping +info +client|setname +client|list +bgsave +config|get";
/// Those of the other blueprints, more than these.
const MORE_PERMISSIONS: &str = "+config|set +psync +replconf";
/// A user with a password, over TCP.
pub const KEEPER: &str = super::postgresql::ROLE;

/// The smallest size of an append-only file that is rewritten: not the server's own default, so that it is seen
/// whether the earlier setting comes back.
pub const MIN_SIZE: u64 = 77_000_001;

/// Whether there is a server on this machine; says so if not.
pub fn is_here() -> bool {
    let here = program().is_some();
    if !here {
        println!("left out: there is no Redis on this machine");
    }
    here
}

fn program() -> Option<PathBuf> {
    ["/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|directory| Path::new(directory).join("redis-server"))
        .find(|path| path.exists())
}

/// The directory of a Valkey, under the names that Redis has; `None`, said so, where there is none.
pub fn valkey() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let directory = cache.join("standstill/valkey/names");
    if directory.join("redis-server").exists() {
        return Some(directory);
    }
    println!("left out: there is no Valkey on this machine; ./test installs it");
    None
}

/// A server.
pub struct Server {
    pub data: PathBuf,
    pub sockets: PathBuf,
    pub port: u16,
    /// Settings more than the usual ones: options of the command line.
    pub settings: Vec<String>,
    /// The program, where it is not the machine's own Redis.
    pub program: Option<PathBuf>,
    child: Option<Child>,
    copies: AtomicU32,
}

impl Server {
    /// Makes a server with its files in `data`, whose parent must exist, and starts it with some more settings.
    pub fn make(data: &Path, sockets: &Path, settings: &[&str]) -> Self {
        if !data.exists() {
            fs::create_dir(data).unwrap();
        }
        let mut server = Self::at(data, sockets, settings);
        server.start();
        server
    }

    /// A server whose files are there, not started.
    pub fn at(data: &Path, sockets: &Path, settings: &[&str]) -> Self {
        if !sockets.exists() {
            fs::create_dir(sockets).unwrap();
            fs::set_permissions(sockets, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let port = free_port();
        Self {
            data: data.to_owned(),
            sockets: sockets.to_owned(),
            port,
            settings: settings.iter().map(|&text| text.to_owned()).collect(),
            program: None,
            child: None,
            copies: AtomicU32::new(0),
        }
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.sockets.join("r.sock")
    }

    /// Whether it has an append-only file.
    fn appends(&self) -> bool {
        self.settings.windows(2).any(|pair| pair == ["--appendonly", "yes"])
    }

    /// Starts it and waits until it has loaded its data.
    #[track_caller]
    pub fn start(&mut self) {
        self.try_start().unwrap();
    }

    /// Starts it; `Err` with its log if it ends at once.
    pub fn try_start(&mut self) -> Result<(), String> {
        let log = self.sockets.join("log");
        let output = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let program = self.program.clone().or_else(program).expect("a Redis");
        // What is set here may be given again, and then the later one counts.
        let usual = [
            ("--dir", self.data.display().to_string()),
            ("--port", self.port.to_string()),
            ("--bind", "127.0.0.1".to_owned()),
            ("--unixsocket", self.socket().display().to_string()),
            ("--save", String::new()),
            ("--auto-aof-rewrite-min-size", MIN_SIZE.to_string()),
        ];
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(usual.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]))
            .args(&self.settings)
            .current_dir("/tmp")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ended = false;
        // In the long tests it has a large file to load.
        eventually(Duration::from_mins(3), "Redis takes commands", || {
            ended = child.try_wait().unwrap().is_some();
            ended || self.try_connect().is_ok_and(|mut session| session.ask::<String>("PING").is_ok())
        });
        if ended {
            return Err(format!("the server ended:\n{}", fs::read_to_string(&log).unwrap()));
        }
        self.child = Some(child);
        for user in [
            format!("{USER} on nopass {PERMISSIONS} {MORE_PERMISSIONS}"),
            format!("{KEEPER} on >{} +@all ~*", super::postgresql::ROLE_PASSWORD.as_str()),
        ] {
            self.ask::<()>(&format!("ACL SETUSER {user}"));
        }
        Ok(())
    }

    /// Stops it.
    pub fn stop(&mut self) {
        self.end(rustix::process::Signal::TERM);
    }

    /// Ends it with a signal, and waits until it is gone.
    pub fn end(&mut self, signal: rustix::process::Signal) {
        let Some(mut child) = self.child.take() else { return };
        let pid = rustix::process::Pid::from_child(&child);
        let _gone = rustix::process::kill_process(pid, signal);
        let _status = child.wait();
    }

    fn try_connect(&self) -> RedisResult<Session> {
        Session::open(&self.socket(), "test")
    }

    /// An administrator's session.
    #[track_caller]
    pub fn connect(&self) -> Session {
        self.try_connect().unwrap()
    }

    /// Gives a command as an administrator; words are separated by spaces.
    #[track_caller]
    pub fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        self.connect().ask(command).unwrap_or_else(|cause| panic!("{command}: {cause}"))
    }

    /// A field of `INFO`.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        let text: String = self.ask("INFO");
        let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("INFO has no {field}")).to_owned()
    }

    /// A setting.
    #[track_caller]
    pub fn setting(&self, name: &str) -> String {
        let found: BTreeMap<String, String> = self.ask(&format!("CONFIG GET {name}"));
        found[name].clone()
    }

    /// Makes some keys beside those of the writer: some expire, some are in another database.
    pub fn make_keys(&self) {
        let mut session = self.connect();
        let text = "abcdefghij".repeat(20);
        for number in 0..2000 {
            session.ask::<()>(&format!("SET ballast:{number} {number}{text}")).unwrap();
        }
        session.ask::<()>("SET gone 1 PX 1").unwrap();
        session.ask::<()>("SET going 1 EX 60").unwrap();
        session.ask::<()>("SELECT 3").unwrap();
        session.ask::<()>("RPUSH list a b c").unwrap();
    }

    /// Every number that was written.
    pub fn numbers(&self) -> Result<Vec<i64>, String> {
        let mut session = self.connect();
        let keys: Vec<String> = session.ask("KEYS order:*").map_err(|cause| cause.to_string())?;
        let mut numbers: Vec<i64> = keys.iter().map(|key| key["order:".len()..].parse().unwrap()).collect();
        numbers.sort_unstable();
        let counter: Option<i64> = session.ask("GET counter").map_err(|cause| cause.to_string())?;
        let counter = counter.unwrap_or_default();
        if usize::try_from(counter) != Ok(numbers.len()) {
            return Err(format!("{} numbers are there, and {counter} were counted", numbers.len()));
        }
        Ok(numbers)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(rustix::process::Signal::KILL);
    }
}

impl Database for Server {
    fn writer(&self) -> Writer {
        let socket = self.socket();
        let last: Option<i64> = self.ask("GET counter");
        Writer::start(last.unwrap_or_default(), move || {
            let mut session = Session::open(&socket, "writer").unwrap();
            let commit: Commit = Box::new(move |number| {
                let mut transaction = redis::pipe();
                transaction.atomic().cmd("SET").arg(format!("order:{number}")).arg(number).ignore();
                transaction.cmd("INCR").arg("counter").ignore();
                let ballast = number * 37 % 2000;
                transaction.cmd("SETRANGE").arg(format!("ballast:{ballast}")).arg(9).arg(number).ignore();
                transaction.exec(&mut session.0).map_err(|cause| cause.to_string())
            });
            commit
        })
    }

    fn held(&self) -> Vec<String> {
        let list: String = self.ask("CLIENT LIST");
        let mut held: Vec<String> = Vec::new();
        for line in list.lines() {
            let name = line.split(' ').find_map(|field| field.strip_prefix("name=")).unwrap_or_default();
            match name {
                "test" | "writer" => {}
                name if name.starts_with("standstill-run:") => held.push(format!("advisory lock {line}")),
                _ => held.push(format!("session {line}")),
            }
        }
        let size = self.setting("auto-aof-rewrite-min-size");
        if size != MIN_SIZE.to_string() {
            held.push(format!("rewrites are held off: {size}"));
        }
        let always = "appendfsync".to_owned();
        if self.setting(&always) != "everysec" {
            held.push("appendfsync is not what it was".to_owned());
        }
        held
    }

    fn plain_copy(&self, to: &Path) -> bool {
        copy_carelessly(&self.data, to);
        true
    }

    fn read_careless_copy(&self, copy: &Path) -> Result<Vec<i64>, String> {
        let number = self.copies.fetch_add(1, Ordering::Relaxed);
        let sockets = self.sockets.join(format!("copy-{number}"));
        let settings: &[&str] = if self.appends() { &["--appendonly", "yes"] } else { &[] };
        let mut server = Self::at(copy, &sockets, settings);
        server.program.clone_from(&self.program);
        server.try_start().map_err(|log| format!("the server does not start: {log}"))?;
        let numbers = server.numbers();
        drop(server);
        let _none = fs::remove_dir_all(&sockets);
        numbers
    }
}

/// A connection with a name.
pub struct Session(Connection);

impl Session {
    /// Opens one, if the server takes it.
    fn open(socket: &Path, name: &str) -> RedisResult<Self> {
        let client = Client::open(format!("unix://{}", socket.display()))?;
        let mut session = Self(client.get_connection_with_timeout(Duration::from_secs(5))?);
        session.ask::<()>(&format!("CLIENT SETNAME {name}"))?;
        Ok(session)
    }

    /// Gives a command; words are separated by spaces.
    pub fn ask<T: FromRedisValue>(&mut self, command: &str) -> RedisResult<T> {
        let mut words = command.split(' ');
        let mut sent = redis::cmd(words.next().unwrap());
        for word in words {
            sent.arg(word);
        }
        sent.query(&mut self.0)
    }
}
