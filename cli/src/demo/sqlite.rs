//! The demo's SQLite database: a file, in WAL mode.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use standstill_core::{Error, Result};

use super::{
    application::{Application, INITIAL, Parameters, note, parameter},
    writer::Orders,
};

/// The database file in its directory.
const FILE: &str = "orders.db";

/// How long the writer waits for a lock: the one setting that an application with SQLite should not forget.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const INSERT: &str = "INSERT INTO orders (id, note) VALUES (?1, ?2)";

/// The database.
pub struct Sqlite {
    directory: PathBuf,
}

impl Sqlite {
    /// Makes it in a directory that exists.
    pub fn make(directory: PathBuf) -> Result<Self> {
        let path = directory.join(FILE);
        fill(&path).map_err(|cause| failed("make", &path, cause))?;
        Ok(Self { directory })
    }
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT NOT NULL)")?;
    {
        let mut insert = transaction.prepare(INSERT)?;
        for id in 1..=INITIAL {
            insert.execute((id.cast_signed(), note(id)))?;
        }
    }
    transaction.commit()
}

#[async_trait]
impl Application for Sqlite {
    fn title(&self) -> String {
        format!("SQLite {}", rusqlite::version())
    }

    fn blueprint(&self) -> &'static str {
        "sqlite"
    }

    fn parameters(&self) -> Parameters {
        let directory = self.directory.display().to_string();
        Parameters::from([parameter("directory", directory), parameter("file", FILE)])
    }

    fn elsewhere(&self, directory: &Path) -> Parameters {
        Parameters::from([parameter("directory", directory.display().to_string())])
    }

    fn writer(&self) -> Vec<String> {
        vec!["sqlite".to_owned(), self.directory.join(FILE).display().to_string()]
    }

    async fn orders_in(&self, restored: &Path) -> Result<Vec<u64>> {
        let path = restored.join(FILE);
        let read = move || read(&path).map_err(|cause| failed("read", &path, cause));
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|cause| Error::failed("reading the restored copy was ended").because(cause))?
    }

    fn next_command(&self) -> String {
        "sqlite --set directory=DIRECTORY --set file=FILE".to_owned()
    }

    async fn stop(&self) -> Result<()> {
        Ok(())
    }
}

fn read(path: &Path) -> rusqlite::Result<Vec<u64>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut select = connection.prepare("SELECT id FROM orders")?;
    let ids = select.query_map((), |row| row.get::<_, i64>(0))?;
    ids.map(|id| id.map(i64::cast_unsigned)).collect()
}

fn failed(attempt: &str, path: &Path, cause: rusqlite::Error) -> Error {
    Error::failed(format!("cannot {attempt} the database {}", path.display())).because(cause)
}

/// The writer's connection.
pub struct Writer {
    connection: Connection,
    path: PathBuf,
}

impl Writer {
    pub fn open(path: &Path) -> Result<Self> {
        let open = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // An acknowledged order is on the disk.
            connection.pragma_update(None, "synchronous", "full")?;
            Ok(connection)
        };
        let connection = open().map_err(|cause| failed("open", path, cause))?;
        Ok(Self { connection, path: path.to_owned() })
    }
}

impl Orders for Writer {
    fn last(&mut self) -> Result<u64> {
        let last = self.connection.query_row("SELECT max(id) FROM orders", (), |row| row.get::<_, i64>(0));
        last.map(i64::cast_unsigned).map_err(|cause| failed("read", &self.path, cause))
    }

    fn place(&mut self, id: u64) -> Result<()> {
        let inserted = self.connection.execute(INSERT, (id.cast_signed(), note(id)));
        inserted.map(drop).map_err(|cause| failed("insert into", &self.path, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn orders_that_were_acknowledged_are_read_back_beside_an_open_writer() {
        let place = tempfile::tempdir().unwrap();
        let database = Sqlite::make(place.path().to_owned()).unwrap();
        let mut writer = Writer::open(&place.path().join(FILE)).unwrap();
        assert_eq!(writer.last().unwrap(), INITIAL);
        writer.place(INITIAL + 1).unwrap();
        let found = database.orders_in(place.path()).await.unwrap();
        assert_eq!(found, (1..=INITIAL + 1).collect::<Vec<_>>());
    }

    #[test]
    fn a_database_that_is_not_there_is_not_made_by_its_writer() {
        let place = tempfile::tempdir().unwrap();
        let error = Writer::open(&place.path().join("other.db")).err().unwrap();
        assert!(error.chain().starts_with("cannot open the database"), "{}", error.chain());
    }
}
