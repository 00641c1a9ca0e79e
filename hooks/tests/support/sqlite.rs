//! SQLite databases with somebody who writes to them.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

/// Both ways in which SQLite keeps a journal.
pub const MODES: [&str; 2] = ["wal", "delete"];

/// Makes `app.db` with some rows in it.
pub fn make(volume: &Path, mode: &str) {
    let connection = Connection::open(volume.join("app.db")).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = {mode}; PRAGMA synchronous = normal;
             CREATE TABLE orders (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
             CREATE INDEX by_text ON orders (text);
             CREATE TABLE \"odd \"\"name\" (x);
             INSERT INTO \"odd \"\"name\" VALUES (1), (2);"
        ))
        .unwrap();
}

/// Opens `app.db` as an application does.
pub fn open(volume: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(volume.join("app.db"), flags).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    connection.execute_batch("PRAGMA synchronous = normal; PRAGMA wal_autocheckpoint = 0").unwrap();
    connection
}

/// Somebody who inserts orders 1, 2, 3, … as fast as it goes.
pub struct Writer {
    acknowledged: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts to write, and waits for the first acknowledged row.
    pub fn start(volume: &Path) -> Self {
        let connection = open(volume);
        let (acknowledged, stop) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopping) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut id = connection
                .query_row("SELECT coalesce(max(id), 0) FROM orders", (), |row| row.get(0))
                .unwrap();
            while !stopping.load(Ordering::Relaxed) {
                id += 1;
                let text = format!("{:0>60}", id * 7919 % 100_003);
                connection.execute("INSERT INTO orders VALUES (?1, ?2)", (id, text)).unwrap();
                count.store(id, Ordering::SeqCst);
            }
        });
        let writer = Self { acknowledged, stop, thread: Some(thread) };
        writer.wait_beyond(0, Duration::from_secs(10));
        writer
    }

    /// The last row that was acknowledged.
    pub fn acknowledged(&self) -> i64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until a row after this one is acknowledged; says how long that took.
    pub fn wait_beyond(&self, row: i64, within: Duration) -> Duration {
        let started = Instant::now();
        while self.acknowledged() <= row {
            assert!(started.elapsed() < within, "no row after {row} was written within {within:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        started.elapsed()
    }

    /// Waits until nothing was acknowledged for a while: a row that was on its way is there.
    pub fn settle(&self) -> i64 {
        loop {
            let before = self.acknowledged();
            std::thread::sleep(Duration::from_millis(30));
            if self.acknowledged() == before {
                return before;
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the writer failed");
        }
    }
}

/// Copies files in another process: this one may have locks on them.
pub fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        if from.join(name).exists() {
            let status = Command::new("dd")
                .arg(format!("if={}", from.join(name).display()))
                .arg(format!("of={}", to.join(name).display()))
                .args(["bs=4096", "status=none"])
                .status()
                .unwrap();
            assert!(status.success());
        }
    }
}

/// Opens a copy as an application would, so that its log is recovered; gives the number of its rows and the last one.
pub fn rows(copy: &Path) -> (i64, i64) {
    let connection = open(copy);
    let ok: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(ok, "ok");
    connection
        .query_row("SELECT count(*), coalesce(max(id), 0) FROM orders", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap()
}

/// Whether somebody has the write lock.
pub fn is_locked(volume: &Path) -> bool {
    let connection = open(volume);
    connection.busy_timeout(Duration::ZERO).unwrap();
    match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        Ok(()) => false,
        Err(cause) => {
            assert_eq!(cause.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy), "{cause}");
            true
        }
    }
}

/// Waits until nobody has the write lock; says how long that took.
pub fn wait_until_free(volume: &Path, within: Duration) -> Duration {
    let started = Instant::now();
    while is_locked(volume) {
        assert!(started.elapsed() < within, "still locked after {within:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    started.elapsed()
}
