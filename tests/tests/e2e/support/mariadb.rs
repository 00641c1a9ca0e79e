//! Servers of MariaDB, and of what speaks its protocol, each a test's own.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use mysql_async::{Conn, OptsBuilder, Row, prelude::Queryable};
use tokio::runtime::Runtime;

use super::{
    database::{Database, copy_carelessly},
    eventually, free_port,
    writer::{Commit, Writer},
};

/// The user that takes backups: it has no password, and just the grants that are documented.
pub const USER: &str = "backup";
/// A user with a password, over TCP.
pub const KEEPER: &str = super::postgresql::ROLE;
/// Its password.
pub use super::postgresql::ROLE_PASSWORD as KEEPER_PASSWORD;

/// What the servers of one database are, as data.
#[derive(Debug)]
pub struct Flavour {
    /// For people.
    pub name: &'static str,
    /// The server's program.
    pub server: &'static str,
    /// Makes a data directory: the program and its arguments, to which the directory is added.
    pub make: (&'static str, &'static [&'static str]),
    /// The directories that its programs may be in.
    pub programs: fn() -> Vec<PathBuf>,
    /// The section of its configuration.
    pub section: &'static str,
    /// Settings of every server: small, and as durable as the tests need (a snapshot sees the page cache).
    pub settings: &'static str,
    /// The grants of the physical blueprint's README.
    pub grants: &'static str,
    /// Those for dumps, more than these.
    pub grants_for_dumps: &'static str,
    /// What a new server needs before its users are made.
    pub prepare: &'static str,
    /// A table's worth of numbers from 1 to 5000, named `seq`.
    pub numbers: &'static str,
    /// The table of connections and what they do.
    pub processes: &'static str,
    /// What somebody holds, one sentence for each row.
    pub held: &'static str,
    /// Fails while somebody holds the server for a backup; does nothing else.
    pub try_to_hold: &'static str,
}

/// MariaDB.
pub static MARIADB: Flavour = Flavour {
    name: "MariaDB",
    server: "mariadbd",
    make: ("mariadb-install-db", &["--skip-test-db", "--auth-root-authentication-method=normal"]),
    programs: || vec!["/usr/sbin".into(), "/usr/bin".into()],
    section: "[mariadbd]",
    settings: "innodb-flush-log-at-trx-commit = 2\ninnodb-buffer-pool-size = 32M\n\
        innodb-log-file-size = 32M\ninnodb-use-native-aio = OFF\nperformance-schema = OFF\nskip-name-resolve\n",
    grants: "RELOAD, PROCESS, BINLOG MONITOR, SLAVE MONITOR, SELECT",
    grants_for_dumps: "SHOW VIEW, TRIGGER, EVENT, LOCK TABLES",
    prepare: "DELETE FROM mysql.global_priv WHERE USER = 'root' AND HOST <> 'localhost'; FLUSH PRIVILEGES",
    numbers: "SELECT seq FROM seq_1_to_5000",
    processes: "information_schema.PROCESSLIST",
    held: "SELECT '' FROM DUAL WHERE FALSE",
    // One backup at a time: where a stage cannot be begun, somebody is in one.
    try_to_hold: "SET SESSION lock_wait_timeout = 0; BACKUP STAGE START; BACKUP STAGE END",
};

impl Flavour {
    /// Whether there is a server on this machine; says so if not.
    pub fn is_here(&self) -> bool {
        let here = self.program(self.server).is_some() && self.program(self.make.0).is_some();
        if !here {
            println!("left out: there is no {} on this machine", self.name);
        }
        here
    }

    /// The value that says where the programs are, where that is no usual place.
    pub fn value(&self) -> Option<String> {
        let directories = (self.programs)();
        let usual = directories.iter().any(|directory| directory.starts_with("/usr"));
        (!usual).then(|| format!("binDir={}", directories[0].display()))
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        (self.programs)().iter().map(|directory| directory.join(name)).find(|path| path.exists())
    }

    /// A command that runs a program as the servers' user. It ends with this test.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some((user, group)) = server_user() {
            command.args([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
        }
        let program = self.program(name).expect("the server's programs");
        command.arg("--").arg(program).env("LC_ALL", "C").current_dir("/tmp");
        command
    }
}

/// The user of servers: `mysql` for root, whom they refuse, else our own.
pub fn server_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("mysql:")).expect("a user mysql");
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    Some((fields.next()?, fields.next()?))
}

/// Gives a directory to the servers' user.
pub fn give(path: &Path) {
    if let Some((user, group)) = server_user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// A server.
pub struct Server {
    pub data: PathBuf,
    pub sockets: PathBuf,
    pub port: u16,
    pub flavour: &'static Flavour,
    /// Settings more than the usual ones, a line each.
    pub settings: String,
    child: Option<Child>,
}

impl Server {
    /// Makes a database in `data`, whose parent must exist, and starts it with some more settings.
    pub fn make(flavour: &'static Flavour, data: &Path, sockets: &Path, settings: &str) -> Self {
        if !data.exists() {
            fs::create_dir(data).unwrap();
        }
        give(data);
        fs::set_permissions(data, fs::Permissions::from_mode(0o700)).unwrap();
        let (program, arguments) = flavour.make;
        let made = flavour
            .command(program)
            .arg("--no-defaults")
            .args(arguments)
            .arg(format!("--datadir={}", data.display()))
            // A server that starts removes what it takes for its own leftovers there.
            .arg(format!("--tmpdir={}", data.display()))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let settings = format!("log-bin = binlog\nserver-id = 7\n{settings}");
        let mut server = Self::at(flavour, data, sockets, &settings);
        server.start();
        let Flavour { prepare, grants, grants_for_dumps, .. } = flavour;
        server.sql(&format!(
            "{prepare};
             CREATE USER {USER}@localhost; GRANT {grants}, {grants_for_dumps} ON *.* TO {USER}@localhost;
             CREATE USER {KEEPER}@'127.0.0.1' IDENTIFIED BY '{}';
             GRANT ALL ON *.* TO {KEEPER}@'127.0.0.1';",
            *KEEPER_PASSWORD
        ));
        server
    }

    /// A database that is there, not started.
    pub fn at(flavour: &'static Flavour, data: &Path, sockets: &Path, settings: &str) -> Self {
        if !sockets.exists() {
            fs::create_dir(sockets).unwrap();
            fs::set_permissions(sockets, fs::Permissions::from_mode(0o755)).unwrap();
            give(sockets);
        }
        let port = free_port();
        Self {
            data: data.to_owned(),
            sockets: sockets.to_owned(),
            port,
            flavour,
            settings: settings.to_owned(),
            child: None,
        }
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.sockets.join("my.sock")
    }

    /// Starts it and waits until it takes statements.
    #[track_caller]
    pub fn start(&mut self) {
        self.try_start().unwrap();
    }

    /// Starts it; `Err` with its log if it ends at once.
    pub fn try_start(&mut self) -> Result<(), String> {
        let configuration = self.sockets.join("my.cnf");
        let text = format!("{}\n{}{}\n", self.flavour.section, self.flavour.settings, self.settings);
        fs::write(&configuration, text).unwrap();
        let log = self.sockets.join("log");
        let output = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut child = self
            .flavour
            .command(self.flavour.server)
            .arg(format!("--defaults-file={}", configuration.display()))
            .arg(format!("--datadir={}", self.data.display()))
            .arg(format!("--tmpdir={}", self.sockets.display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", self.sockets.join("pid").display()))
            .args(["--bind-address=127.0.0.1".to_owned(), format!("--port={}", self.port)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut ended = false;
        eventually(Duration::from_mins(1), "the server takes connections", || {
            ended = child.try_wait().unwrap().is_some();
            ended || Session::try_open(&self.socket()).is_ok()
        });
        if ended {
            return Err(format!("the server ended:\n{}", fs::read_to_string(&log).unwrap()));
        }
        self.child = Some(child);
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

    /// An administrator's session.
    pub fn connect(&self) -> Session {
        Session::try_open(&self.socket()).unwrap()
    }

    /// Runs statements as an administrator.
    #[track_caller]
    pub fn sql(&self, sql: &str) {
        self.connect().run(sql).unwrap();
    }

    /// Makes the tables of the tests.
    pub fn make_tables(&self) {
        self.sql(&format!(
            "CREATE DATABASE app; USE app;
             CREATE TABLE app.ballast (id INT PRIMARY KEY, text VARCHAR(200)) AS
                 SELECT seq AS id, REPEAT(SHA2(seq, 224), 3) AS text FROM ({}) AS numbers;
             CREATE TABLE app.orders (id BIGINT PRIMARY KEY, text VARCHAR(100) NOT NULL, KEY by_text (text));",
            self.flavour.numbers
        ));
    }

    /// Every number in `orders`, after the engine's own check of its tables.
    pub fn numbers(&self) -> Result<Vec<i64>, String> {
        let session = self.connect();
        for row in session.rows("CHECK TABLE app.orders, app.ballast EXTENDED")? {
            let said: String = row.get("Msg_text").unwrap();
            if said != "OK" {
                return Err(format!("CHECK TABLE: {said}"));
            }
        }
        let rows = session.rows("SELECT id FROM app.orders ORDER BY id")?;
        Ok(rows.iter().map(|row| row.get(0).unwrap()).collect())
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
        let last =
            self.connect().rows("SELECT COALESCE(MAX(id), 0) FROM app.orders").unwrap()[0].get(0).unwrap();
        Writer::start(last, move || {
            let session = Session::try_open(&socket).unwrap();
            let commit: Commit = Box::new(move |number| {
                session.run(&format!(
                    "START TRANSACTION;
                     INSERT INTO app.orders VALUES ({number}, 'order {number}');
                     UPDATE app.ballast SET text = REVERSE(text) WHERE id = {number} * 37 % 5000 + 1;
                     COMMIT"
                ))
            });
            commit
        })
    }

    fn held(&self) -> Vec<String> {
        let session = self.connect();
        let mut held = Vec::new();
        let sessions = "SELECT CONCAT('session ', ID, ' of ', USER, ': ', COMMAND, ' ', COALESCE(INFO, '')) \
            FROM information_schema.PROCESSLIST WHERE USER NOT IN ('root', 'event_scheduler', 'system user')";
        held.extend(session.rows(sessions).unwrap().iter().map(|row| row.get::<String, _>(0).unwrap()));
        let lock = session.rows("SELECT IS_USED_LOCK('standstill')").unwrap();
        if let Some(id) = lock[0].get::<Option<u64>, _>(0).unwrap() {
            held.push(format!("advisory lock of connection {id}"));
        }
        held.extend(
            session.rows(self.flavour.held).unwrap().iter().map(|row| row.get::<String, _>(0).unwrap()),
        );
        if session.run(self.flavour.try_to_hold).is_err() {
            held.push("the server, for a backup".to_owned());
        }
        held
    }

    fn plain_copy(&self, to: &Path) -> bool {
        copy_carelessly(&self.data, to);
        true
    }

    fn read_careless_copy(&self, copy: &Path) -> Result<Vec<i64>, String> {
        let sockets = self.sockets.join(format!("copy-{}", self.port));
        let mut server = Self::at(self.flavour, copy, &sockets, &self.settings);
        server.try_start().map_err(|_log| "the server does not start".to_owned())?;
        let numbers = server.numbers();
        drop(server);
        let _none = fs::remove_dir_all(&sockets);
        numbers
    }
}

/// An administrator's session.
pub struct Session {
    runtime: Runtime,
    connection: std::cell::RefCell<Conn>,
}

impl Session {
    /// Opens one, if the server takes it.
    pub fn try_open(socket: &Path) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = OptsBuilder::default().user(Some("root")).socket(Some(socket.to_str().unwrap()));
        let connection = runtime.block_on(Conn::new(options)).map_err(|cause| cause.to_string())?;
        Ok(Self { runtime, connection: connection.into() })
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) -> Result<(), String> {
        let mut connection = self.connection.borrow_mut();
        self.runtime.block_on(connection.query_drop(sql)).map_err(|cause| cause.to_string())
    }

    /// The rows of a statement.
    pub fn rows(&self, sql: &str) -> Result<Vec<Row>, String> {
        let mut connection = self.connection.borrow_mut();
        self.runtime.block_on(connection.query(sql)).map_err(|cause| cause.to_string())
    }

    /// The number of its connection.
    pub fn id(&self) -> u32 {
        self.connection.borrow().id()
    }
}
