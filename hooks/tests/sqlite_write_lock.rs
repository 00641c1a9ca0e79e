//! The write lock: it keeps writers out, is proven, and any copy made meanwhile is consistent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test that fails is a test that fails"
)]

#[path = "support/sqlite.rs"]
mod sqlite;
mod support;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqlite::{MODES, Writer};
use standstill_core::{
    ErrorKind,
    hook::{Hook, HookContext, Receipt},
    point::{Bound, CheckOutcome},
};
use standstill_hooks::sqlite::Sqlite;
use tempfile::{TempDir, tempdir};

const LEASE: Duration = Duration::from_secs(10);

fn context(volume: &TempDir) -> HookContext {
    support::context(volume.path(), volume.path(), LEASE)
}

fn fact<'a>(receipt: &'a Receipt, table: &str) -> &'a standstill_core::point::Fact {
    let name = format!("app.db: rows in {table}");
    receipt.facts.iter().find(|fact| fact.name == name).unwrap()
}

/// The rows are counted, or said not to be: in rollback-journal mode what is not counted at the release is not, since a
/// reader keeps commits waiting.
fn assert_counted(receipt: &Receipt, table: &str, rows: i64, mode: &str) {
    let fact = fact(receipt, table);
    let in_time = mode == "wal" || fact.bound != Bound::None;
    let expected = if in_time { (json!(rows), Bound::Exact) } else { (Value::Null, Bound::None) };
    assert_eq!((&fact.value, &fact.bound), (&expected.0, &expected.1), "{mode}");
}

#[tokio::test]
async fn writers_are_kept_out_until_the_release_and_evidence_names_the_owner() {
    for mode in MODES {
        let volume = tempdir().unwrap();
        sqlite::make(volume.path(), mode);
        let context = context(&volume);
        let mut acquired = Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await.unwrap();
        assert!(sqlite::is_locked(volume.path()), "{mode}");
        acquired.hold.renew().await.unwrap();
        let evidence = acquired.hold.confirm().await.unwrap();
        assert_eq!(evidence.get("writeRefused"), Some(&Value::Bool(true)));
        assert!(evidence.get("lockOwner").unwrap().is_i64(), "the kernel says who has the lock");
        let receipt = acquired.hold.release().await.unwrap();
        assert!(!sqlite::is_locked(volume.path()), "{mode}");
        assert!(receipt.released >= acquired.since);
        assert_counted(&receipt, "odd \"name", 2, mode);
        let again = acquired.hold.release().await.unwrap();
        assert_eq!(again.released, receipt.released, "a second release gives the same receipt");
        assert_eq!(acquired.outputs["journalMode"], if mode == "wal" { "wal" } else { "rollback" });
    }
}

#[tokio::test]
async fn a_few_rows_are_counted_before_the_release_in_rollback_mode() {
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), "delete");
    let context = context(&volume);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut acquired = Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await.unwrap();
        let receipt = acquired.hold.release().await.unwrap();
        if receipt.facts.iter().all(|fact| fact.bound == Bound::Exact) {
            return;
        }
        assert!(Instant::now() < deadline, "{:?}", receipt.facts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_row_is_in_a_copy_and_facts_equal_the_cut() {
    for mode in MODES {
        for round in 0..5 {
            let (volume, copied) = (tempdir().unwrap(), tempdir().unwrap());
            sqlite::make(volume.path(), mode);
            let context = context(&volume);
            let writer = Writer::start(volume.path());
            writer.wait_beyond(200 * round, Duration::from_secs(20));
            let mut acquired =
                Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await.unwrap();
            let acknowledged = writer.acknowledged();
            sqlite::copy(volume.path(), copied.path(), &["app.db-wal", "app.db"]);
            acquired.hold.confirm().await.unwrap();
            let meanwhile = writer.acknowledged();
            let receipt = acquired.hold.release().await.unwrap();
            let (cut, both) = sqlite::rows(copied.path());
            assert_eq!(cut, both, "{mode}, round {round}");
            // One row may have been on its way to its writer.
            assert!(
                (acknowledged..=acknowledged + 1).contains(&cut),
                "{acknowledged} and {cut}, {mode}, round {round}"
            );
            assert!(
                meanwhile <= cut,
                "{meanwhile} while it was held, and {cut} before, {mode}, round {round}"
            );
            writer.wait_beyond(cut, Duration::from_secs(5));
            assert_counted(&receipt, "orders", cut, mode);

            let copy = support::context(copied.path(), copied.path(), LEASE);
            let with = json!({"file": "app.db", "facts": receipt.facts});
            let called = Sqlite.call("compare-facts", &copy, &with).await.unwrap();
            assert_eq!(called.checks.len(), 2);
            for check in &called.checks {
                let counted =
                    receipt.facts.iter().any(|fact| fact.name == check.name && fact.bound == Bound::Exact);
                let expected = if counted { CheckOutcome::Passed } else { CheckOutcome::Skipped };
                assert_eq!(check.outcome, expected, "{check:?}, {mode}, round {round}");
            }
        }
    }
}

/// Somebody else's checkpoints, of the kind that tries the most.
fn checkpointer(
    volume: &Path,
    stop: &Arc<AtomicBool>,
    frames: &Arc<AtomicI64>,
) -> std::thread::JoinHandle<()> {
    let connection = sqlite::open(volume);
    connection.busy_timeout(Duration::from_millis(1)).unwrap();
    let (stop, frames) = (Arc::clone(stop), Arc::clone(frames));
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            for kind in ["PASSIVE", "TRUNCATE", "RESTART", "FULL"] {
                let done: rusqlite::Result<i64> =
                    connection.query_row(&format!("PRAGMA wal_checkpoint({kind})"), (), |row| row.get(2));
                frames.fetch_max(done.unwrap_or(0), Ordering::SeqCst);
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_torn_by_another_ones_checkpoint_is_right_because_the_log_does_not_change() {
    for log_first in [true, false] {
        let (volume, copied) = (tempdir().unwrap(), tempdir().unwrap());
        sqlite::make(volume.path(), "wal");
        let context = context(&volume);
        let writer = Writer::start(volume.path());
        writer.wait_beyond(20_000, Duration::from_mins(1));
        let mut acquired = Sqlite
            .acquire("write-lock", &context, &json!({"file": "app.db", "facts": "none"}))
            .await
            .unwrap();
        let cut = writer.settle();
        let log = volume.path().join("app.db-wal");
        let before = log.metadata().unwrap().len();

        let (stop, frames) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let mut names = ["app.db", "app.db-wal"];
        if log_first {
            names.reverse();
        }
        sqlite::copy(volume.path(), copied.path(), &names[..1]);
        let thread = checkpointer(volume.path(), &stop, &frames);
        if !log_first {
            // The first half of the copy is from before the checkpoint, the rest from whenever dd gets there.
            std::fs::remove_file(copied.path().join("app.db")).unwrap();
            sqlite::copy(volume.path(), copied.path(), &names[..1]);
        }
        let started = Instant::now();
        while frames.load(Ordering::SeqCst) < 1 {
            assert!(started.elapsed() < Duration::from_secs(10), "no checkpoint was made");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sqlite::copy(volume.path(), copied.path(), &names[1..]);
        acquired.hold.confirm().await.unwrap();
        assert_eq!(log.metadata().unwrap().len(), before, "the log was neither restarted nor truncated");
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap();
        drop(acquired.hold.release().await.unwrap());
        assert!(frames.load(Ordering::SeqCst) > 0, "a checkpoint did happen while the lock was on");
        assert_eq!(sqlite::rows(copied.path()), (cut, cut), "log first: {log_first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_file_alone_is_not_a_copy() {
    // The control of the test above: what is missing is silent.
    let (volume, copied) = (tempdir().unwrap(), tempdir().unwrap());
    sqlite::make(volume.path(), "wal");
    let writer = Writer::start(volume.path());
    let context = context(&volume);
    writer.wait_beyond(500, Duration::from_secs(20));
    let mut acquired = Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await.unwrap();
    sqlite::copy(volume.path(), copied.path(), &["app.db"]);
    let receipt = acquired.hold.release().await.unwrap();
    let copy = support::context(copied.path(), copied.path(), LEASE);
    let with = json!({"file": "app.db", "facts": receipt.facts});
    let called = Sqlite.call("compare-facts", &copy, &with).await.unwrap();
    assert!(called.checks.iter().any(|check| check.outcome == CheckOutcome::Failed), "{:?}", called.checks);
}

#[tokio::test]
async fn the_holder_opens_the_files_once_and_no_other_way() {
    for mode in MODES {
        let volume = tempdir().unwrap();
        sqlite::make(volume.path(), mode);
        let context = context(&volume);
        let with = json!({"file": "app.db", "sync": true});
        let mut acquired = Sqlite.acquire("write-lock", &context, &with).await.unwrap();
        let evidence = acquired.hold.confirm().await.unwrap();
        let holder = evidence.get("lockOwner").unwrap().as_i64().unwrap();
        let mut open: Vec<String> = std::fs::read_dir(format!("/proc/{holder}/fd"))
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter(|path| path.starts_with(volume.path()))
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        open.sort();
        let expected: &[&str] =
            if mode == "wal" { &["app.db", "app.db-shm", "app.db-wal"] } else { &["app.db"] };
        assert_eq!(open, expected);
        drop(acquired.hold.release().await.unwrap());
    }
}

#[tokio::test]
async fn a_transaction_that_stays_open_is_reported_and_nothing_is_held() {
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), "wal");
    let context = context(&volume);
    let application = sqlite::open(volume.path());
    application.execute_batch("BEGIN IMMEDIATE").unwrap();
    let with = json!({"file": "app.db", "waitFor": "200ms"});
    let Err(error) = Sqlite.acquire("write-lock", &context, &with).await else { panic!("it cannot be had") };
    assert_eq!(error.kind(), ErrorKind::Temporary);
    assert!(error.to_string().contains("was locked by a writer for the whole of 200 ms"), "{error}");
    application.execute_batch("COMMIT").unwrap();
    assert!(!sqlite::is_locked(volume.path()));
}

#[tokio::test]
async fn waiting_for_the_lock_can_be_cancelled() {
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), "wal");
    let context = context(&volume);
    let application = sqlite::open(volume.path());
    application.execute_batch("BEGIN IMMEDIATE").unwrap();
    let cancel = context.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    });
    let with = json!({"file": "app.db", "waitFor": "1m"});
    let started = Instant::now();
    let Err(error) = Sqlite.acquire("write-lock", &context, &with).await else { panic!("it cannot be had") };
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_keeps_no_commit_waiting_after_the_release() {
    for mode in MODES {
        let volume = tempdir().unwrap();
        sqlite::make(volume.path(), mode);
        sqlite::open(volume.path())
            .execute_batch(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500000)
                 INSERT INTO orders SELECT i, i FROM n",
            )
            .unwrap();
        let context = context(&volume);
        let mut acquired = Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await.unwrap();
        let directory = volume.path().to_owned();
        let writer = std::thread::spawn(move || {
            sqlite::open(&directory).execute("INSERT INTO orders VALUES (2000000, 'x')", ()).unwrap();
            Instant::now()
        });
        let receipt = acquired.hold.release().await.unwrap();
        let written = writer.join().unwrap();
        // SQLite's busy handler sleeps up to 100 ms between two attempts.
        assert!(written <= receipt.released + Duration::from_millis(250), "{mode}");
        assert_counted(&receipt, "orders", 1_500_000, mode);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holding_and_proving_costs_a_few_milliseconds_of_freeze() {
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), "wal");
    let writer = Writer::start(volume.path());
    let context = context(&volume);
    let mut freezes = Vec::new();
    for _ in 0..15 {
        let mut acquired = Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await.unwrap();
        acquired.hold.confirm().await.unwrap();
        let receipt = acquired.hold.release().await.unwrap();
        freezes.push(receipt.released - acquired.since);
    }
    drop(writer);
    freezes.sort();
    println!("freeze without a capture: {freezes:?}");
    // Some 2 ms in truth; the bound leaves room for a busy machine.
    assert!(freezes[7] < Duration::from_millis(20), "{freezes:?}");
}
