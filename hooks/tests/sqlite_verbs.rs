//! The verbs that hold nothing, and the copy that is made while writes go on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test that fails is a test that fails"
)]

#[path = "support/sqlite.rs"]
mod sqlite;
mod support;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqlite::{MODES, Writer};
use standstill_core::{
    Error, ErrorKind,
    hook::{Called, Hook, HookContext},
    point::{Bound, CheckOutcome, Outputs},
};
use standstill_hooks::sqlite::Sqlite;
use tempfile::{TempDir, tempdir};

fn context(volume: &Path, scratch: &Path) -> HookContext {
    support::context(volume, scratch, Duration::from_secs(10))
}

/// Calls a verb on `app.db` of a volume.
async fn call(verb: &str, volume: &TempDir, more: Value) -> Result<Called, Error> {
    let scratch = tempdir().unwrap();
    let mut with = json!({"file": "app.db"});
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Sqlite.call(verb, &context(volume.path(), scratch.path()), &with).await
}

fn made(mode: &str) -> TempDir {
    let volume = tempdir().unwrap();
    sqlite::make(volume.path(), mode);
    volume
}

/// All files with their bytes.
fn bytes(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn a_ready_database_is_described_and_not_touched() {
    for mode in MODES {
        let volume = made(mode);
        let before = bytes(volume.path());
        let outputs = call("ready", &volume, json!({})).await.unwrap().outputs;
        assert_eq!(outputs["journalMode"], if mode == "wal" { "wal" } else { "rollback" });
        assert_eq!(outputs["pageSize"], 4096);
        assert_eq!(outputs["bytes"].as_u64().unwrap(), outputs["pageCount"].as_u64().unwrap() * 4096);
        assert_eq!(bytes(volume.path()), before, "{mode}");
        let _application = sqlite::open(volume.path());
        call("ready", &volume, json!({})).await.unwrap();
    }
}

#[tokio::test]
async fn an_application_that_shares_with_nobody_is_found_before_anything_is_held() {
    let volume = made("wal");
    // Said before the first access, so that the log's index is in this process' memory and not in a file.
    let application = rusqlite::Connection::open(volume.path().join("app.db")).unwrap();
    application.execute_batch("PRAGMA locking_mode = EXCLUSIVE; INSERT INTO orders VALUES (1, 'x')").unwrap();
    let error = call("ready", &volume, json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().starts_with(&format!("process {} keeps ", std::process::id())), "{error}");
    application.execute("INSERT INTO orders VALUES (2, 'y')", ()).unwrap();
}

#[tokio::test]
async fn what_is_not_a_database_is_refused_with_a_remedy() {
    let volume = tempdir().unwrap();
    let error = call("ready", &volume, json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().starts_with("cannot find the database "), "{error}");
    std::fs::write(volume.path().join("app.db"), "not a database").unwrap();
    let error = call("ready", &volume, json!({})).await.unwrap_err();
    let path = volume.path().canonicalize().unwrap().join("app.db");
    assert_eq!(error.to_string(), format!("{} is not a SQLite database", path.display()));
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.remedy_text().is_some());
    let error = call("write-lock", &volume, json!({})).await.unwrap_err();
    assert!(error.to_string().contains("there is no sqlite/write-lock of this kind"), "{error}");
    let scratch = tempdir().unwrap();
    std::fs::write(volume.path().join("app.db"), "").unwrap();
    let context = context(volume.path(), scratch.path());
    let Err(error) = Sqlite.acquire("write-lock", &context, &json!({"file": "app.db"})).await else {
        panic!("an empty file was locked")
    };
    assert!(error.to_string().ends_with("app.db is empty"), "{error}");
    assert_eq!(std::fs::read(volume.path().join("app.db")).unwrap(), b"");
}

#[tokio::test]
async fn the_identity_is_the_files_by_whatever_path_it_is_reached() {
    let (volume, other) = (made("wal"), made("wal"));
    let scratch = tempdir().unwrap();
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(volume.path(), &link).unwrap();
    let with = json!({"file": "app.db"});
    let direct = Sqlite.probe_for(&context(volume.path(), scratch.path()), &with).await.unwrap();
    let linked = Sqlite.probe(&context(&link, scratch.path())).await.unwrap();
    let another = Sqlite.probe(&context(other.path(), scratch.path())).await.unwrap();
    assert_eq!(direct, linked);
    assert_ne!(direct.identity, another.identity);
    assert_eq!((direct.version.major, direct.version.full.as_str()), (3, rusqlite::version()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_waits_for_no_reader_and_keeps_no_writer_waiting() {
    let volume = made("wal");
    let reader = sqlite::open(volume.path());
    reader.execute_batch("BEGIN; SELECT count(*) FROM orders").unwrap();
    reader.query_row("SELECT count(*) FROM orders", (), |row| row.get::<_, i64>(0)).unwrap();
    let writer = Writer::start(volume.path());
    writer.wait_beyond(2000, Duration::from_secs(20));
    let started = Instant::now();
    let outputs = call("checkpoint", &volume, json!({})).await.unwrap().outputs;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(outputs["logFrames"].as_i64().unwrap() > outputs["checkpointedFrames"].as_i64().unwrap());
    let stall = writer.wait_beyond(writer.acknowledged(), Duration::from_secs(5));
    assert!(stall < Duration::from_millis(500), "{stall:?}");
    drop(writer);
    reader.execute_batch("COMMIT").unwrap();
    let outputs = call("checkpoint", &volume, json!({})).await.unwrap().outputs;
    assert_eq!(outputs["logFrames"], outputs["checkpointedFrames"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_online_copy_under_a_full_rate_writer_is_consistent() {
    for (mode, method) in [("wal", "backup"), ("wal", "vacuum"), ("delete", "backup"), ("delete", "vacuum")] {
        let (volume, scratch) = (made(mode), tempdir().unwrap());
        let writer = Writer::start(volume.path());
        writer.wait_beyond(1000, Duration::from_mins(1));
        let context = context(volume.path(), scratch.path());
        let before = writer.acknowledged();
        let with = json!({"file": "app.db", "method": method, "maxBlock": "20s"});
        let mut acquired = Sqlite.acquire("online-backup", &context, &with).await.unwrap();
        let after = writer.acknowledged();
        let evidence = acquired.hold.confirm().await.unwrap();
        assert_eq!(evidence.get("integrityCheck"), Some(&json!("ok")));
        let receipt = acquired.hold.release().await.unwrap();
        assert_eq!(receipt.froze.is_some(), mode == "delete");
        assert!(acquired.since <= receipt.released);
        drop(writer);

        let directory = PathBuf::from(acquired.outputs["files"]["directory"].as_str().unwrap());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "the copy is one file");
        let (count, last) = sqlite::rows(&directory);
        assert_eq!(count, last, "{mode} {method}: no gaps");
        assert!(before <= count && count <= after, "{mode} {method}: {before} <= {count} <= {after}");
        let orders = receipt.facts.iter().find(|fact| fact.name == "app.db: rows in orders").unwrap();
        assert_eq!((&orders.value, &orders.bound), (&json!(count), &Bound::Exact));
    }
}

#[tokio::test]
async fn a_copy_that_keeps_writers_waiting_for_too_long_is_given_up() {
    let (volume, scratch) = (made("delete"), tempdir().unwrap());
    let application = sqlite::open(volume.path());
    application
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
             INSERT INTO orders SELECT i, hex(randomblob(40)) FROM n",
        )
        .unwrap();
    let context = context(volume.path(), scratch.path());
    for method in ["backup", "vacuum"] {
        let with = json!({"file": "app.db", "method": method, "maxBlock": "1ms"});
        let Err(error) = Sqlite.acquire("online-backup", &context, &with).await else { panic!("{method}") };
        assert!(error.to_string().ends_with("kept writers waiting for 1 ms and was given up"), "{error}");
        application.execute("DELETE FROM orders WHERE id = 1", ()).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_page_is_found_and_the_copy_is_not_changed() {
    for mode in MODES {
        let volume = made(mode);
        let application = sqlite::open(volume.path());
        application
            .execute_batch(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                 INSERT INTO orders SELECT i, printf('%0100d', i) FROM n; PRAGMA wal_checkpoint(TRUNCATE);",
            )
            .unwrap();
        drop(application);
        let checked = call("check", &volume, json!({})).await.unwrap().checks;
        assert_eq!(checked[0].outcome, CheckOutcome::Passed, "{mode}: {}", checked[0].detail);
        let path = volume.path().join("app.db");
        let mut bytes = std::fs::read(&path).unwrap();
        // One digit of one text: the table and its index disagree, and only the full check sees it.
        let at = bytes.windows(100).position(|text| text.ends_with(b"00001234")).unwrap();
        bytes[at + 99] = b'9';
        std::fs::write(&path, &bytes).unwrap();
        let checked = call("check", &volume, json!({})).await.unwrap().checks;
        assert_eq!(checked[0].outcome, CheckOutcome::Failed, "{mode}");
        assert_eq!(checked[0].name, "integrity of app.db");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{mode}");
    }
}

#[tokio::test]
async fn a_copy_with_a_hot_journal_is_recovered_elsewhere() {
    let (volume, copied) = (made("delete"), tempdir().unwrap());
    let application = sqlite::open(volume.path());
    application
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO orders SELECT i, printf('%0100d', i) FROM n;
             PRAGMA cache_size = 10; BEGIN; UPDATE orders SET text = text || 'half';",
        )
        .unwrap();
    sqlite::copy(volume.path(), copied.path(), &["app.db", "app.db-journal"]);
    drop(application);
    let before = bytes(copied.path());
    assert_eq!(before.len(), 2);
    let checked = call("check", &copied, json!({})).await.unwrap().checks;
    assert_eq!(checked[0].outcome, CheckOutcome::Passed, "{}", checked[0].detail);
    let with = json!({"sql": "SELECT count(*) AS n FROM orders WHERE text LIKE '%half'"});
    assert_eq!(call("query", &copied, with).await.unwrap().outputs["value"], 0);
    assert_eq!(bytes(copied.path()), before);
}

#[tokio::test]
async fn a_query_reads_rows_and_can_change_nothing() {
    let volume = made("wal");
    let with =
        json!({"sql": "SELECT x, x * 0.5 AS half, NULL AS empty, x'0aff' AS blob FROM \"odd \"\"name\""});
    let outputs: Outputs = call("query", &volume, with).await.unwrap().outputs;
    assert_eq!(outputs["value"], 1);
    assert_eq!(outputs["rows"][1], json!({"x": 2, "half": 1.0, "empty": null, "blob": "0aff"}));
    for sql in ["DELETE FROM orders", "INSERT INTO orders VALUES (1, 'x')", "PRAGMA journal_mode = DELETE"] {
        let error = call("query", &volume, json!({"sql": sql})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{sql}: {error}");
    }
    let error = call("query", &volume, json!({"sql": "SELECT 1; SELECT 2"})).await.unwrap_err();
    assert!(error.chain().contains("Multiple statements"), "{}", error.chain());
    let error =
        call("query", &volume, json!({"sql": "SELECT 1 UNION SELECT 2", "limit": 1})).await.unwrap_err();
    assert_eq!(error.to_string(), "the query has more than 1 rows");
    assert_eq!(sqlite::rows(volume.path()), (0, 0));
}

#[tokio::test]
async fn a_task_that_is_not_understood_is_refused_with_status_2() {
    let program = support::TestRuntime::new();
    for task in ["{}", r#"{"hold": {}}"#, r#"{"format": "/"}"#, "hold"] {
        let output = std::process::Command::new(program.program())
            .args(["agent", "hold", "sqlite", task])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{task}");
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains("does not understand its task"), "{task}");
    }
}
