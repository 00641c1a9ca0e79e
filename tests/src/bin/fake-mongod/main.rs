//! A fake of MongoDB's server, for what no real one can be had for: it speaks the wire protocol, keeps rows in files, and
//! keeps the lock of `fsync` as the manual describes it. It shows that Standstill does what the manual asks for, and
//! nothing about MongoDB.
//!
//! `fake-mongod --dbpath DIRECTORY --port PORT [--bind_ip ADDRESS]` and options of its own:
//!
//! | option | what it does |
//! | --- | --- |
//! | `--as WHAT` | `primary` of three, `secondary`, `standalone`, `mongos`, `shard`, `inMemory`; else the one member of a set |
//! | `--lacks ACTION` | has a user who may all that the pages of the blueprints list, and nothing else, but for this |
//! | `--password FILE` | has whoever connects log in, with the password in that file |
//! | `--refuses` | refuses to lock, because somebody else locks at that moment |
//! | `--locked-beside` | somebody else locks at the same moment as the first who does |
//! | `--slow MILLISECONDS` | what `fsync` takes |
//!
//! A row goes to `journal` in two writes, and to `rows` at the next checkpoint, when the journal is on the disk. Starting
//! takes over what the journal has more; rows that the journal has not are damage, as only careless copies have it.

mod login;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bson::{Bson, Document, Timestamp, doc, oid::ObjectId};

use self::login::Login;

/// What the command line said.
#[derive(Default)]
struct Options {
    path: PathBuf,
    address: String,
    port: u16,
    kind: String,
    lacks: Option<String>,
    password: Option<String>,
    refuses: bool,
    locked_beside: bool,
    slow: Duration,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self { address: "127.0.0.1".into(), ..Self::default() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--dbpath" => options.path = arguments.next()?.into(),
                "--port" => options.port = arguments.next()?.parse().ok()?,
                "--as" => options.kind = arguments.next()?,
                "--lacks" => options.lacks = Some(arguments.next()?),
                "--password" => options.password = Some(fs::read_to_string(arguments.next()?).ok()?),
                "--refuses" => options.refuses = true,
                "--slow" => options.slow = Duration::from_millis(arguments.next()?.parse().ok()?),
                "--locked-beside" => options.locked_beside = true,
                "--bind_ip" => options.address = arguments.next()?,
                "--setParameter" => drop(arguments.next()?),
                "--nounixsocket" => {}
                _ => return None,
            }
        }
        Some(options)
    }
}

/// What the pages list for the whole server, for marks, and for the collections of a dump.
const CLUSTER: &[&str] =
    &["fsync", "serverStatus", "getCmdLineOpts", "getParameter", "unlock", "inprog", "listDatabases"];
const MARKS: &[&str] = &["find", "insert", "remove"];
const DUMPS: &[&str] = &["find", "listCollections", "listIndexes"];

/// How many rows may wait for a checkpoint.
const CHECKPOINT: usize = 200;

/// What changes.
struct State {
    rows: File,
    journal: File,
    /// Rows that are in the journal only.
    waiting: String,
    written: usize,
    last: i64,
    /// The one document of the collection for marks.
    mark: Option<Document>,
    locks: i64,
    beside: bool,
}

impl State {
    fn row(&mut self, number: i64) -> io::Result<()> {
        write!(self.journal, "{number}")?;
        writeln!(self.journal, ";")?;
        self.waiting.push_str(&format!("{number};\n"));
        self.last = number;
        self.written += 1;
        if self.written.is_multiple_of(CHECKPOINT) { self.checkpoint() } else { Ok(()) }
    }

    fn checkpoint(&mut self) -> io::Result<()> {
        self.journal.sync_data()?;
        self.rows.write_all(std::mem::take(&mut self.waiting).as_bytes())?;
        self.rows.sync_data()
    }
}

struct Server {
    options: Options,
    process: ObjectId,
    state: Mutex<State>,
    unlocked: Condvar,
}

fn numbers(path: &Path) -> Vec<i64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| line.strip_suffix(';')?.parse().ok()).collect()
}

/// Opens the files, as a server does after a crash.
fn recover(path: &Path) -> io::Result<State> {
    let (journal, rows) = (path.join("journal"), path.join("rows"));
    let (written, there) = (numbers(&journal), numbers(&rows));
    if there.len() > written.len() || there != written[..there.len()] {
        return Err(io::Error::other(
            "rows that the journal does not have: the files are of different times",
        ));
    }
    let mut text = String::new();
    for number in &written {
        text.push_str(&format!("{number};\n"));
    }
    fs::write(&rows, &text)?;
    fs::write(&journal, &text)?;
    let open = |path: &Path| OpenOptions::new().append(true).open(path);
    // A restart clears the lock, and what is in `local` stays.
    let mark =
        fs::read(path.join("local")).ok().and_then(|bytes| Document::from_reader(bytes.as_slice()).ok());
    let last = written.last().copied().unwrap_or_default();
    let (rows, journal) = (open(&rows)?, open(&journal)?);
    Ok(State { rows, journal, waiting: String::new(), written: 0, last, mark, locks: 0, beside: false })
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until writes may go on; `None` when that takes longer than the command allows.
    fn writable(&self, command: &Document) -> Option<MutexGuard<'_, State>> {
        let allowed = command.get_i64("maxTimeMS").ok().and_then(|allowed| u64::try_from(allowed).ok());
        let deadline = allowed.map(|allowed| Instant::now() + Duration::from_millis(allowed));
        let mut state = self.state();
        while state.locks > 0 {
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return None;
            }
            let pause = Duration::from_millis(50);
            state = self.unlocked.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(state)
    }

    fn hello(&self) -> Document {
        let version = doc! {"processId": self.process, "counter": 0_i64};
        let last = u32::try_from(self.state().last).unwrap_or_default();
        let mut said = doc! {"maxWireVersion": 21, "topologyVersion": version, "ok": 1.0};
        let member = match self.options.kind.as_str() {
            "standalone" => doc! {"isWritablePrimary": true},
            "mongos" => doc! {"isWritablePrimary": true, "msg": "isdbgrid"},
            "secondary" => {
                doc! {"isWritablePrimary": false, "secondary": true, "setName": "rs0", "hosts": ["a", "b"]}
            }
            "primary" => {
                doc! {"isWritablePrimary": true, "setName": "rs0", "hosts": ["a", "b"], "passives": ["c"]}
            }
            _ => doc! {"isWritablePrimary": true, "setName": "rs0", "hosts": ["a"]},
        };
        said.extend(member);
        if said.contains_key("setName") {
            said.insert(
                "lastWrite",
                doc! {"opTime": {"ts": Timestamp { time: last, increment: 1 }, "t": 1_i64}},
            );
        }
        said
    }

    /// What the user may do, of this list.
    fn but(&self, actions: &[&str]) -> Vec<String> {
        let lacks = self.options.lacks.as_deref().unwrap_or_default();
        actions.iter().filter(|action| **action != lacks).map(|action| (*action).to_owned()).collect()
    }

    fn privileges(&self) -> Document {
        if self.options.lacks.is_none() && self.options.password.is_none() {
            return doc! {"authInfo": {"authenticatedUsers": [], "authenticatedUserPrivileges": []}, "ok": 1.0};
        }
        doc! {"ok": 1.0, "authInfo": {
            "authenticatedUsers": [{"user": "backup", "db": "admin"}],
            "authenticatedUserPrivileges": [
                {"resource": {"cluster": true}, "actions": self.but(CLUSTER)},
                {"resource": {"db": "local", "collection": "standstill"}, "actions": self.but(MARKS)},
                {"resource": {"db": "", "collection": ""}, "actions": self.but(DUMPS)},
            ],
        }}
    }

    /// Whether the user lacks the action that a command needs.
    fn lacks(&self, name: &str) -> bool {
        let action = match name {
            "currentOp" => "inprog",
            "fsyncUnlock" => "unlock",
            "delete" => "remove",
            name => name,
        };
        self.options.lacks.as_deref() == Some(action)
    }

    fn lock(&self) -> io::Result<Document> {
        std::thread::sleep(self.options.slow);
        let mut state = self.state();
        state.checkpoint()?;
        if self.options.locked_beside && !state.beside {
            state.beside = true;
            state.locks += 1;
        }
        state.locks += 1;
        Ok(doc! {"info": "now locked against writes", "lockCount": state.locks, "ok": 1.0})
    }

    fn unlock(&self) -> Document {
        let mut state = self.state();
        if state.locks == 0 {
            return refusal(20, "fsyncUnlock called when not locked");
        }
        state.locks -= 1;
        self.unlocked.notify_all();
        doc! {"info": "fsyncUnlock completed", "lockCount": state.locks, "ok": 1.0}
    }

    fn insert(&self, database: &str, command: &Document) -> io::Result<Document> {
        let Some(mut state) = self.writable(command) else { return Ok(too_long()) };
        for document in command.get_array("documents").into_iter().flatten().filter_map(Bson::as_document) {
            if database == "local" {
                fs::write(self.options.path.join("local"), document.to_vec().map_err(io::Error::other)?)?;
                state.mark = Some(document.clone());
                continue;
            }
            state.row(document.get_i64("_id").unwrap_or_default())?;
        }
        Ok(doc! {"n": 1, "ok": 1.0})
    }

    fn delete(&self, command: &Document) -> Document {
        let Some(mut state) = self.writable(command) else { return too_long() };
        let query = command
            .get_array("deletes")
            .ok()
            .and_then(|all| all.first()?.as_document()?.get_document("q").ok());
        let fits = |mark: &Document| {
            query.is_some_and(|query| query.iter().all(|(name, value)| mark.get(name) == Some(value)))
        };
        if state.mark.as_ref().is_some_and(fits) {
            let _gone = fs::remove_file(self.options.path.join("local"));
            state.mark = None;
        }
        doc! {"n": 1, "ok": 1.0}
    }

    fn find(&self, database: &str) -> Document {
        let found: Vec<Document> = if database == "local" {
            self.state().mark.clone().into_iter().collect()
        } else {
            let _whole = self.state();
            numbers(&self.options.path.join("journal"))
                .into_iter()
                .map(|number| doc! {"_id": number})
                .collect()
        };
        cursor(found)
    }

    /// What is answered on a connection: who says what client it is must log in, and may not do everything. The tests' own
    /// connections do not say.
    fn admitted(&self, command: &Document, connection: &mut Login) -> io::Result<Document> {
        let name = command.keys().next().map_or("", String::as_str);
        connection.said_who |= command.contains_key("client");
        if !connection.said_who || name == "hello" {
            return self.answer(name, command);
        }
        let wrong = || refusal(18, "Authentication failed.");
        match (name, &self.options.password) {
            ("saslStart", Some(_)) => Ok(connection.start(command).unwrap_or_else(wrong)),
            ("saslContinue", Some(password)) => {
                Ok(connection.go_on(command, password.trim_end()).unwrap_or_else(wrong))
            }
            (_, Some(_)) if !connection.done => {
                Ok(refusal(13, &format!("command {name} requires authentication")))
            }
            _ if self.lacks(name) => Ok(refusal(13, &format!("not authorized to execute command {name}"))),
            _ => self.answer(name, command),
        }
    }

    fn answer(&self, name: &str, command: &Document) -> io::Result<Document> {
        let database = command.get_str("$db").unwrap_or_default();
        Ok(match name {
            "hello" | "isMaster" => self.hello(),
            "ping" => doc! {"ok": 1.0},
            "buildInfo" => doc! {"version": "7.0.0-fake", "ok": 1.0},
            "connectionStatus" => self.privileges(),
            "serverStatus" => {
                let memory = self.options.kind == "inMemory";
                let name = if memory { "inMemory" } else { "wiredTiger" };
                doc! {"storageEngine": {"name": name, "persistent": !memory}, "ok": 1.0}
            }
            "getCmdLineOpts" => {
                let mut parsed = doc! {"storage": {"dbPath": self.options.path.display().to_string()}};
                if self.options.kind == "shard" {
                    parsed.insert("sharding", doc! {"clusterRole": "shardsvr"});
                }
                doc! {"parsed": parsed, "ok": 1.0}
            }
            "getParameter" => doc! {"featureCompatibilityVersion": {"version": "7.0"}, "ok": 1.0},
            "currentOp" if self.state().locks > 0 => doc! {"inprog": [], "fsyncLock": true, "ok": 1.0},
            "currentOp" => doc! {"inprog": [], "ok": 1.0},
            "fsync" if self.options.refuses && command.get_bool("lock").unwrap_or(false) => {
                self.state().locks += 1;
                refusal(1, "the server refuses to lock")
            }
            "fsync" if command.get_bool("lock").unwrap_or(false) => self.lock()?,
            "fsync" => {
                self.state().checkpoint()?;
                doc! {"numFiles": 1, "ok": 1.0}
            }
            "fsyncUnlock" => self.unlock(),
            "insert" => self.insert(database, command)?,
            "delete" => self.delete(command),
            "find" => self.find(database),
            "listDatabases" => doc! {"databases": [{"name": "app"}, {"name": "local"}], "ok": 1.0},
            "listCollections" => cursor(vec![doc! {"name": "rows", "type": "collection"}]),
            "validate" => doc! {"valid": true, "nrecords": 0, "ok": 1.0},
            _ => refusal(59, &format!("no such command: '{name}'")),
        })
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut login = Login::default();
        loop {
            let mut header = [0; 16];
            stream.read_exact(&mut header)?;
            let word =
                |at: usize| i32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            let length = usize::try_from(word(0)).unwrap_or_default().saturating_sub(16).min(1 << 20);
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            // Flags and the kind of the section come first.
            let command =
                Document::from_reader(body.get(5..).unwrap_or_default()).map_err(io::Error::other)?;
            let answer = self.admitted(&command, &mut login)?.to_vec().map_err(io::Error::other)?;
            let length = i32::try_from(answer.len() + 21).map_err(io::Error::other)?;
            let mut message: Vec<u8> =
                [length, 0, word(4), 2013, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
            message.push(0);
            message.extend(answer);
            stream.write_all(&message)?;
        }
    }
}

fn cursor(batch: Vec<Document>) -> Document {
    doc! {"cursor": {"firstBatch": batch, "id": 0_i64, "ns": "app.rows"}, "ok": 1.0}
}

fn refusal(code: i32, message: &str) -> Document {
    doc! {"ok": 0.0, "code": code, "errmsg": message}
}

fn too_long() -> Document {
    refusal(50, "operation exceeded time limit")
}

fn serve(options: Options) -> io::Result<()> {
    fs::create_dir_all(&options.path)?;
    let state = Mutex::new(recover(&options.path)?);
    let listener = TcpListener::bind((options.address.as_str(), options.port))?;
    let server = Arc::new(Server { options, process: ObjectId::new(), state, unlocked: Condvar::new() });
    for stream in listener.incoming() {
        let (stream, server) = (stream?, Arc::clone(&server));
        stream.set_nodelay(true)?;
        std::thread::spawn(move || server.converse(stream));
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        let _told = writeln!(io::stderr(), "usage: fake-mongod --dbpath DIRECTORY --port PORT …");
        return ExitCode::from(2);
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _told = writeln!(io::stderr(), "fake-mongod: {error}");
            ExitCode::FAILURE
        }
    }
}
