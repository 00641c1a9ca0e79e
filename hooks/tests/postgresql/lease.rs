//! What holds do when nobody renews them, and what is done about those that were left behind.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use standstill_core::{
    ErrorKind,
    hook::{Acquired, Hook as _, HookContext, Undone},
};
use standstill_hooks::postgresql::Postgresql;

use crate::support::{Binaries, Server};

const HELD: &str = "SELECT (SELECT count(*) FROM pg_replication_slots) \
    + (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'standstill % hold %')";

/// Waits until nothing is held any more; returns for how long something was.
async fn let_go(server: &Server, within: Duration) -> Duration {
    let client = server.client("postgres").await;
    let began = Instant::now();
    while crate::support::value(&client, HELD).await != "0" {
        assert!(began.elapsed() < within, "still held after {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

fn leased(server: &Server, seconds: u64) -> HookContext {
    HookContext { lease: Duration::from_secs(seconds), ..server.context() }
}

async fn acquire(context: &HookContext, verb: &str) -> Acquired {
    let acquired = Postgresql.acquire(verb, context, &json!({"facts": "none"})).await;
    acquired.unwrap_or_else(|error| panic!("{}", error.chain()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_nobody_renews_ends_within_the_lease_and_says_so() {
    for binaries in Binaries::found() {
        let server = Server::start(&binaries, "");
        for verb in ["backup-mode", "exported-snapshot"] {
            let mut acquired = acquire(&leased(&server, 2), verb).await;
            let_go(&server, Duration::from_secs(2)).await;
            let error = acquired.hold.confirm().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::HoldLapsed, "{}", error.chain());
            let error = acquired.hold.release().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::HoldLapsed, "{}", error.chain());
            assert!(error.remedy_text().unwrap().contains("Run the backup again"), "{}", error.chain());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_renewed_outlives_many_leases() {
    let server = Server::start(&Binaries::one(), "");
    for verb in ["backup-mode", "exported-snapshot"] {
        let mut acquired = acquire(&leased(&server, 2), verb).await;
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(600)).await;
            acquired.hold.renew().await.unwrap();
        }
        acquired.hold.confirm().await.unwrap();
        acquired.hold.release().await.unwrap();
    }
    let_go(&server, Duration::from_secs(1)).await;
}

/// Trap 13: an idle timeout does not count while a statement runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_runner_vanished_ends_within_the_lease_though_its_statement_still_runs() {
    let server = Server::start(&Binaries::one(), "");
    let stall = server.stall_checkpoints().await;
    let context = leased(&server, 2);
    let hook = Postgresql;
    let arguments = json!({"facts": "none"});
    let started =
        tokio::time::timeout(Duration::from_millis(700), hook.acquire("backup-mode", &context, &arguments))
            .await;
    assert!(started.is_err(), "the start waits for a checkpoint");
    let_go(&server, Duration::from_secs(2)).await;
    drop(stall);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_ended_is_a_lapse_whatever_is_asked_first() {
    let server = Server::start(&Binaries::one(), "");
    for verb in ["backup-mode", "exported-snapshot"] {
        for ask in ["confirm", "release", "renew"] {
            let mut acquired = acquire(&leased(&server, 10), verb).await;
            server.run_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE '% hold %'").await;
            let error = match ask {
                "confirm" => acquired.hold.confirm().await.unwrap_err(),
                "release" => acquired.hold.release().await.unwrap_err(),
                _ => acquired.hold.renew().await.unwrap_err(),
            };
            assert_eq!(error.kind(), ErrorKind::HoldLapsed, "{verb} {ask}: {}", error.chain());
            assert_eq!(acquired.hold.release().await.unwrap_err().kind(), ErrorKind::HoldLapsed);
        }
    }
}

/// Trap 4: the slot is what keeps the WAL; without it `pg_backup_stop` would still succeed.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_lost_its_wal_is_a_lapse() {
    let server = Server::start(
        &Binaries::one(),
        "max_slot_wal_keep_size = 40MB\nmax_wal_size = 32MB\nmin_wal_size = 32MB",
    );
    let mut acquired = acquire(&leased(&server, 60), "backup-mode").await;
    for _ in 0..8 {
        server
            .run_sql(
                "SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000)); SELECT pg_switch_wal()",
            )
            .await;
        server.run_sql("CHECKPOINT").await;
    }
    let error = acquired.hold.confirm().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HoldLapsed, "{}", error.chain());
}

/// A full scratch disk fails the backup, and keeps nothing held.
#[tokio::test(flavor = "multi_thread")]
async fn wal_that_cannot_be_written_fails_the_backup_and_lets_go() {
    let server = Server::start(&Binaries::one(), "");
    let mut context = leased(&server, 60);
    context.scratch = server.root.path().join("full");
    std::fs::create_dir(&context.scratch).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs", context.scratch.to_str().unwrap()])
        .status()
        .unwrap();
    if !mounted.success() {
        println!("a small file system cannot be mounted: not tested");
        return;
    }
    server.run_sql("CREATE TABLE big AS SELECT n, repeat('x', 200) FROM generate_series(1, 20000) n").await;
    let mut acquired = acquire(&context, "backup-mode").await;
    server.run_sql("UPDATE big SET n = n + 1").await;
    acquired.hold.confirm().await.unwrap();
    let error = acquired.hold.release().await.unwrap_err();
    let unmounted = std::process::Command::new("umount").arg(&context.scratch).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(error.kind(), ErrorKind::HoldLapsed, "{}", error.chain());
    assert!(error.chain().contains("No space left on device"), "{}", error.chain());
    assert!(error.remedy_text().unwrap().starts_with("Free space there"), "{:?}", error.remedy_text());
    let_go(&server, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_ends_what_a_dead_run_holds_and_nothing_else() {
    for binaries in Binaries::found() {
        let server = Server::start(&binaries, "");
        let hook = Postgresql;
        for verb in ["backup-mode", "exported-snapshot"] {
            let dead = leased(&server, 60);
            let record = hook.undo_record(verb, &dead, &Value::Null).unwrap();
            assert_eq!(hook.undo(&record, &server.context()).await.unwrap(), Undone::AlreadyGone);
            let lock = hook.server_lock(&dead).await.unwrap().unwrap();
            std::mem::forget(acquire(&dead, verb).await);
            let mut living = acquire(&leased(&server, 60), verb).await;
            assert_eq!(hook.undo(&record, &server.context()).await.unwrap(), Undone::LetGo);
            assert_eq!(hook.undo(&record, &server.context()).await.unwrap(), Undone::AlreadyGone);
            living.hold.confirm().await.unwrap();
            living.hold.release().await.unwrap();
            assert!(lock.is_held().await, "the run's lock is no hold");
            drop(lock);
            let_go(&server, Duration::from_secs(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_does_not_outlive_its_server() {
    let mut server = Server::start(&Binaries::one(), "");
    let context = leased(&server, 2);
    let record = Postgresql.undo_record("backup-mode", &context, &Value::Null).unwrap();
    std::mem::forget(acquire(&context, "backup-mode").await);
    server.stop("QUIT");
    let undone = Postgresql.undo(&record, &leased(&server, 2)).await.unwrap();
    assert_eq!(undone, Undone::AlreadyGone);
}

/// Trap 24: a lock in the server itself keeps runs on other hosts out, and a dead run does not keep it.
#[tokio::test(flavor = "multi_thread")]
async fn the_advisory_lock_keeps_other_runs_out_whatever_database_they_name() {
    let server = Server::start(&Binaries::one(), "");
    server.run_sql("CREATE DATABASE app").await;
    let hook = Postgresql;
    let first = server.context();
    let lock = hook.server_lock(&first).await.unwrap().unwrap();
    assert!(lock.is_held().await);
    let second = server.context_with(&json!({"database": "app"}), None);
    let error = hook.server_lock(&second).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.chain().contains(first.run.as_str()), "{}", error.chain());
    server.run_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE '% lock'").await;
    assert!(!lock.is_held().await, "a lock whose session is gone is not held");
    drop(lock);
    drop(hook.server_lock(&second).await.unwrap());
}
