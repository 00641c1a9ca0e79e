//! Where the server keeps its files, and whether the captured volumes hold all of them.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use standstill_core::{Error, Result, hook::HookContext};

use super::{
    connect::{LOOKUP, Session, column},
    dialect::Binding,
};
use crate::server::volumes::Volumes;

/// How long a server may take from writing a checkpoint to having it.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// The places, as the server sees them.
pub(crate) struct Layout {
    /// The data directory.
    pub data: PathBuf,
    /// Logs, system tablespace, undo tablespaces: what each is, and where.
    parts: Vec<(&'static str, PathBuf)>,
    /// Tables that were made with a directory of their own.
    far: Vec<(String, PathBuf)>,
}

impl Layout {
    /// Asks the server.
    pub async fn of(session: &Session) -> Result<Self> {
        let dialect = session.dialect();
        let expressions: Vec<_> = dialect.places.iter().map(|(_, expression)| *expression).collect();
        let sql = format!("SELECT @@datadir, {}", expressions.join(", "));
        let row = session.one(LOOKUP, "find the data directory", &sql).await?;
        let data = PathBuf::from(column::<String>(&row, 0)?);
        let mut parts = Vec::new();
        for (index, (name, _)) in dialect.places.iter().enumerate() {
            // What is not there has no place, which is the data directory then.
            parts.push((*name, data.join(column::<String>(&row, index + 1)?)));
        }
        let rows = session.rows(LOOKUP, "find the tablespaces", dialect.tablespaces, Vec::new()).await?;
        let mut far = Vec::new();
        for row in &rows {
            let (name, file): (String, String) = (column(row, 0)?, column(row, 1)?);
            far.push((name, data.join(file)));
        }
        Ok(Self { data, parts, far })
    }

    /// From now on the binary log may lie anywhere.
    pub fn forget_binary_log(&mut self) {
        self.parts.retain(|(name, _)| *name != "binary log");
    }

    /// Refuses volumes that would miss a part of the database, or belong to another one.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`]. A binary log that is missed is no less a loss than a table: without
    /// it recovery refuses to start, or guesses which transactions were committed.
    pub async fn covered(&self, context: &HookContext, session: &Session, covers: &[String]) -> Result<()> {
        let volumes = Volumes::of(context, covers)?;
        if !volumes.hold(&self.data) {
            let (product, place, data) = (session.dialect().product, session.place(), self.data.display());
            return Err(Error::input(format!(
                "the data directory of {product} at {place} is {data}, which is not in {volumes}"
            ))
            .remedy("Correct the path of the volume, or the address of the server."));
        }
        self.is_this_servers(session).await?;
        let missing = self.parts.iter().filter(|(_, path)| !volumes.hold(path));
        let mut missing: Vec<_> =
            missing.map(|(name, path)| format!("the {name} in {}", path.display())).collect();
        // A table elsewhere comes back with a link to where it was: a copy would open the original's file.
        missing.extend(self.far.iter().map(|(name, file)| format!("table {name} in {}", file.display())));
        missing.extend(if self.data.exists() { self.links(&volumes)? } else { told(session).await? });
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::input(format!("the captured volume {volumes} misses {}", missing.join(" and "))).remedy(
            format!("Move it into the data directory, or use the blueprint {}-dump.", session.dialect().hook),
        ))
    }

    /// Binds the files to the session.
    async fn is_this_servers(&self, session: &Session) -> Result<()> {
        if !self.data.exists() {
            // The files are on another machine: the runtime that reads them there is bound by its address.
            return Ok(());
        }
        let not = |why: &str| {
            Error::input(format!(
                "{} is not the data directory of {} at {}: {why}",
                self.data.display(),
                session.dialect().product,
                session.place()
            ))
            .remedy("Give the volume and the address of one and the same server.")
        };
        if !self.data.join("ibdata1").exists() && !self.data.join("mysql").exists() {
            return Err(not("it holds no database"));
        }
        let is_its = match session.dialect().binding {
            Binding::Checkpoint => {
                self.has_checkpoint(session, |cause| not("its redo log cannot be read").because(cause))
                    .await?
            }
            Binding::Identity => {
                self.has_identity(session, |cause| not("its auto.cnf cannot be read").because(cause)).await?
            }
        };
        if is_its { Ok(()) } else { Err(not("another server runs on it")) }
    }

    async fn has_checkpoint(
        &self,
        session: &Session,
        unreadable: impl Fn(std::io::Error) -> Error,
    ) -> Result<bool> {
        let redo =
            self.parts.iter().find(|(name, _)| *name == "redo log").map_or(&self.data, |(_, path)| path);
        let before = checkpoint(session).await?;
        let file = checkpoint_of(&redo.join("ib_logfile0")).map_err(unreadable)?;
        let (Some(before), Some(file)) = (before, file) else { return Ok(true) };
        Ok(before <= file && reaches(session, file).await?)
    }

    async fn has_identity(
        &self,
        session: &Session,
        unreadable: impl Fn(std::io::Error) -> Error,
    ) -> Result<bool> {
        let file = std::fs::read_to_string(self.data.join("auto.cnf")).map_err(unreadable)?;
        let row = session.one(LOOKUP, "ask for the server's identity", "SELECT @@server_uuid").await?;
        Ok(identity(&file) == Some(column::<String>(&row, 0)?.as_str()))
    }

    /// Links in the data directory that lead out of the volumes (`DATA DIRECTORY` of other engines than InnoDB).
    fn links(&self, volumes: &Volumes<'_>) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut directories = vec![self.data.clone()];
        while let Some(directory) = directories.pop() {
            for entry in entries(&directory)? {
                let path = entry.path();
                let kind = entry.file_type().map_err(|cause| unreadable(&path, cause))?;
                if kind.is_symlink() && !volumes.hold(&path) {
                    found.push(format!("what {} links to", path.display()));
                } else if kind.is_dir() && directory == self.data {
                    directories.push(path);
                }
            }
        }
        Ok(found)
    }
}

/// The same by the server's own words, where its files cannot be seen from here.
async fn told(session: &Session) -> Result<Vec<String>> {
    // Where a table's files lie is among its options in both servers (MariaDB 10.11: measured).
    const SQL: &str = "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE \
                       ENGINE <> 'InnoDB' AND CREATE_OPTIONS LIKE '%DIRECTORY=%'";
    let rows = session.rows(LOOKUP, "find tables with a directory of their own", SQL, Vec::new()).await?;
    rows.iter().map(|row| Ok(format!("table {}", column::<String>(row, 0)?))).collect()
}

fn entries(directory: &Path) -> Result<Vec<std::fs::DirEntry>> {
    let read = std::fs::read_dir(directory).and_then(Iterator::collect);
    read.map_err(|cause| unreadable(directory, cause))
}

fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    Error::input(format!("cannot look at {}", path.display()))
        .remedy("Run as root or as the server's user.")
        .because(cause)
}

/// Whether the server comes to have this checkpoint. A server writes it to the file first, and says that it has it
/// only when the disk does too, which on a busy one takes a while.
async fn reaches(session: &Session, file: u64) -> Result<bool> {
    let deadline = Instant::now() + CHECKPOINT;
    loop {
        match checkpoint(session).await? {
            Some(checkpoint) if checkpoint < file => {}
            _ => return Ok(true),
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The server's identity out of `auto.cnf`: `server-uuid=…`, with either mark between its words.
fn identity(file: &str) -> Option<&str> {
    let values = file.lines().filter_map(|line| line.split_once('='));
    let mut found = values.filter(|(name, _)| matches!(name.trim(), "server-uuid" | "server_uuid"));
    found.next().map(|(_, value)| value.trim())
}

/// The last checkpoint of the redo log, as the server has it.
async fn checkpoint(session: &Session) -> Result<Option<u64>> {
    let sql = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
        WHERE VARIABLE_NAME = 'INNODB_LSN_LAST_CHECKPOINT'";
    let rows = session.rows(LOOKUP, "ask for the last checkpoint", sql, Vec::new()).await?;
    rows.first().map(|row| column(row, 0)).transpose()
}

/// The last checkpoint in a redo log's file; `None` before 10.8, whose file is of another format.
///
/// The format is the server's `log0log`: the magic `Phys`, and two checkpoints at 4 and 8 KiB, of which the later
/// one counts.
fn checkpoint_of(file: &Path) -> std::io::Result<Option<u64>> {
    let mut file = File::open(file)?;
    let mut number = |at: u64| -> std::io::Result<u64> {
        let mut bytes = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    };
    if number(0)? >> 32 != u64::from(u32::from_be_bytes(*b"Phys")) {
        return Ok(None);
    }
    Ok(Some(number(4096)?.max(number(8192)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_identity_is_found_in_its_file() {
        assert_eq!(identity("[auto]\nserver-uuid=77c8b0e7-e6a0\n"), Some("77c8b0e7-e6a0"));
        assert_eq!(identity("[auto]\n"), None);
    }
}
