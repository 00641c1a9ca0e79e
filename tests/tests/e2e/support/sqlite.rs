//! SQLite databases.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    database::Database,
    writer::{Commit, Writer},
};

/// The database's file in its volume.
pub const FILE: &str = "app.db";

/// A database in a directory of its own.
pub struct Sqlite {
    pub directory: PathBuf,
}

impl Sqlite {
    /// Makes one, in WAL mode, with some pages that never change.
    pub fn make(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let connection = Connection::open(directory.join(FILE)).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = wal;
                 CREATE TABLE ballast (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
                 INSERT INTO ballast SELECT i, hex(randomblob(200)) FROM n;
                 CREATE TABLE orders (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
                 CREATE INDEX by_text ON orders (text);",
            )
            .unwrap();
        Self { directory: directory.to_owned() }
    }

    /// Opens it as an application does.
    pub fn open(&self) -> Connection {
        open(&self.directory.join(FILE))
    }
}

pub fn open(file: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).unwrap();
    connection.busy_timeout(Duration::from_mins(1)).unwrap();
    connection.execute_batch("PRAGMA synchronous = normal").unwrap();
    connection
}

/// Reads the numbers of a copy, after a full check.
fn read(file: &Path) -> rusqlite::Result<Vec<i64>> {
    let connection = Connection::open(file)?;
    let check: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0))?;
    if check != "ok" {
        return Err(rusqlite::Error::InvalidColumnName(check));
    }
    let mut statement = connection.prepare("SELECT id FROM orders")?;
    statement.query_map((), |row| row.get(0))?.collect()
}

impl Database for Sqlite {
    fn writer(&self) -> Writer {
        let file = self.directory.join(FILE);
        let last =
            self.open().query_row("SELECT coalesce(max(id), 0) FROM orders", (), |row| row.get(0)).unwrap();
        Writer::start(last, move || {
            let connection = open(&file);
            let commit: Commit = Box::new(move |number| {
                let text = format!("{:0>60}", number * 7919 % 100_003);
                let inserted = connection.execute("INSERT INTO orders VALUES (?1, ?2)", (number, text));
                inserted.map(|_| ()).map_err(|cause| cause.to_string())
            });
            commit
        })
    }

    fn held(&self) -> Vec<String> {
        let connection = self.open();
        // Longer than any commit of a writer, far shorter than a lease.
        connection.busy_timeout(Duration::from_millis(400)).unwrap();
        match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
            Ok(()) => Vec::new(),
            Err(cause) => vec![format!("the write lock is not free: {cause}")],
        }
    }

    fn read_copy(&self, copy: &Path) -> Vec<i64> {
        read(&copy.join(FILE))
            .unwrap_or_else(|cause| panic!("the copy in {} is broken: {cause}", copy.display()))
    }

    fn plain_copy(&self, to: &Path) -> bool {
        // By another process: this one has the writer's locks, which closing any descriptor would drop.
        let copied = Command::new("cp").arg("-a").arg(&self.directory).arg(to).output().unwrap();
        copied.status.success()
    }

    fn read_careless_copy(&self, copy: &Path) -> Result<Vec<i64>, String> {
        read(&copy.join(FILE)).map_err(|cause| cause.to_string())
    }
}
