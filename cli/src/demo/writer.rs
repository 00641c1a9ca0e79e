//! The application: a process of its own that inserts orders as fast as it can, and notes each acknowledgement.
//!
//! It is not a thread of the runner. The runner copies the database's files, and POSIX drops a process' locks on a
//! file as soon as any descriptor of it is closed in that process: the writer would lose its own.
//!
//! The record is a file beside the database, 24 bytes an order: its id, the time of its acknowledgement and how long
//! it took, little-endian.

use std::{
    fs::File,
    io::{BufRead, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use standstill_core::{
    Error, Result,
    runtime::{Exit, Runtime, Session},
};

use super::{chart::Span, clock::Clock, measure::Acknowledged, postgresql, sqlite};

/// The word after `standstill agent` that starts the helper.
const HELPER: &str = "demo-writer";
/// What the helper says after its first order.
const WRITING: &str = "writing";
/// What it is told to end it, and what it says when it is done.
const STOP: &str = "stop";
/// How long the helper may take to start or to stop: a commit may wait for a hold in between.
const PATIENCE: Duration = Duration::from_secs(30);
/// One entry of the record.
const ENTRY: usize = 24;

/// A database that orders are inserted into, one transaction each.
pub trait Orders {
    /// The highest id that is there.
    fn last(&mut self) -> Result<u64>;
    /// Inserts one. On return its commit is acknowledged.
    fn place(&mut self, id: u64) -> Result<()>;
}

/// The helper: `agent demo-writer RECORD sqlite FILE`, or `agent demo-writer RECORD postgresql SOCKETS PORT`.
pub fn writer_main(arguments: &[String]) -> ExitCode {
    match write(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.chain());
            ExitCode::FAILURE
        }
    }
}

fn write(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (record, mut orders): (&str, Box<dyn Orders>) = match words.as_slice() {
        [record, "sqlite", file] => (record, Box::new(sqlite::Writer::open(Path::new(file))?)),
        [record, "postgresql", sockets, port] => {
            (record, Box::new(postgresql::Writer::connect(sockets, port)?))
        }
        _ => {
            return Err(Error::input(
                "the writer of the demo is started by `standstill demo`, not by people",
            ));
        }
    };
    let stop = stop_at_end_of_input()?;
    insert(orders.as_mut(), Path::new(record), &stop)?;
    say(STOP)
}

/// True as soon as standard input has a line or ends: when it is told to stop, or when its runner is gone.
fn stop_at_end_of_input() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let listen = move || {
        // Whatever was read, and also an error, means the end.
        let _ = std::io::stdin().lock().read_line(&mut String::new());
        seen.store(true, Ordering::Release);
    };
    let started = std::thread::Builder::new().name("stop".into()).spawn(listen);
    started.map_err(|cause| Error::failed("the writer cannot start a thread").because(cause))?;
    Ok(stop)
}

fn insert(orders: &mut dyn Orders, record: &Path, stop: &AtomicBool) -> Result<()> {
    let failed = |cause| Error::failed(format!("{} cannot be written", record.display())).because(cause);
    let mut record = BufWriter::new(File::create(record).map_err(failed)?);
    let mut id = orders.last()?;
    let mut first = true;
    while !stop.load(Ordering::Acquire) {
        id += 1;
        let began = Instant::now();
        orders.place(id)?;
        let took = began.elapsed();
        record.write_all(&entry(id, Timestamp::now(), took)).map_err(failed)?;
        if std::mem::take(&mut first) {
            say(WRITING)?;
        }
    }
    record.flush().map_err(failed)
}

fn say(word: &str) -> Result<()> {
    let mut output = std::io::stdout();
    let said = writeln!(output, "{word}").and_then(|()| output.flush());
    said.map_err(|cause| Error::failed("nobody listens to the writer").because(cause))
}

fn entry(id: u64, at: Timestamp, took: Duration) -> [u8; ENTRY] {
    let nanoseconds = i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
    let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let mut entry = [0; ENTRY];
    for (place, number) in
        entry.chunks_exact_mut(8).zip([id.to_le_bytes(), nanoseconds.to_le_bytes(), took.to_le_bytes()])
    {
        place.copy_from_slice(&number);
    }
    entry
}

/// Reads a record; a torn last entry is left out.
fn read(record: &[u8], clock: &Clock) -> Vec<Acknowledged> {
    let order = |entry: &[u8; ENTRY]| {
        let (numbers, _) = entry.as_chunks::<8>();
        let [id, at, took] = [0, 1, 2].map(|place| numbers.get(place).copied().unwrap_or_default());
        let at = Timestamp::from_nanosecond(i64::from_le_bytes(at).into()).unwrap_or(Timestamp::MAX);
        let (to, took) = (clock.since_start(at), Duration::from_nanos(u64::from_le_bytes(took)));
        Acknowledged { id: u64::from_le_bytes(id), span: Span::new(to.saturating_sub(took), to) }
    };
    record.as_chunks::<ENTRY>().0.iter().map(order).collect()
}

/// The helper, as the runner has it. Dropping it ends it.
pub struct Running {
    session: Box<dyn Session>,
    record: PathBuf,
}

impl Running {
    /// Starts it, and waits for its first order.
    pub async fn start(runtime: &dyn Runtime, record: PathBuf, database: &[String]) -> Result<Self> {
        let path = record.display().to_string();
        let words: Vec<&str> =
            [HELPER, &path].into_iter().chain(database.iter().map(String::as_str)).collect();
        let mut session = runtime.session(&runtime.agent(&words)).await?;
        session.receive(PATIENCE).await.map_err(|error| error.during("start the writer"))?;
        Ok(Self { session, record })
    }

    /// Stops it after the order that it is at, and reads its record.
    pub async fn stop(&mut self, clock: &Clock) -> Result<Vec<Acknowledged>> {
        // A helper that is gone says more by how it ended than by its broken pipe.
        let told = self.session.send(STOP).await;
        self.session.receive(PATIENCE).await.map_err(|error| error.during("insert orders"))?;
        told?;
        let exit = self.session.close(PATIENCE).await?;
        if exit != Exit::Status(0) {
            return Err(Error::failed(format!("the writer ended with {exit}")));
        }
        let record = std::fs::read(&self.record).map_err(|cause| {
            Error::failed(format!("the writer's record {} cannot be read", self.record.display()))
                .because(cause)
        })?;
        Ok(read(&record, clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_without_its_torn_end() {
        let clock = Clock::start();
        let at = clock.at(Duration::from_millis(700));
        let mut record = entry(7, at, Duration::from_millis(20)).to_vec();
        record.extend(&entry(8, at, Duration::ZERO)[..11]);
        let span = Span::new(Duration::from_millis(680), Duration::from_millis(700));
        assert_eq!(read(&record, &clock), [Acknowledged { id: 7, span }]);
    }

    #[test]
    fn the_writer_notes_every_order_that_its_database_took() {
        struct Three<'a>(u64, &'a AtomicBool);
        impl Orders for Three<'_> {
            fn last(&mut self) -> Result<u64> {
                Ok(10)
            }
            fn place(&mut self, id: u64) -> Result<()> {
                self.0 += 1;
                assert_eq!(id, 10 + self.0);
                self.1.store(self.0 == 3, Ordering::Release);
                Ok(())
            }
        }
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("record");
        let (stop, clock) = (AtomicBool::new(false), Clock::start());
        insert(&mut Three(0, &stop), &path, &stop).unwrap();
        let ids: Vec<u64> =
            read(&std::fs::read(path).unwrap(), &clock).iter().map(|order| order.id).collect();
        assert_eq!(ids, [11, 12, 13]);
    }
}
