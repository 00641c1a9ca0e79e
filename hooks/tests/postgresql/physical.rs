//! Backup mode, from preflight to a copy that is sound and agrees with the facts.

use serde_json::{Value, json};
use standstill_core::hook::Hook as _;
use standstill_hooks::postgresql::Postgresql;

use crate::support::{Binaries, Copy, Server, Writer};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_taken_file_by_file_under_a_writer_is_sound_and_agrees_with_its_facts() {
    for binaries in Binaries::found() {
        let server = Server::start(&binaries, "");
        let writer = Writer::start(&server).await;
        server.run_sql("CREATE UNLOGGED TABLE fleeting (x int); INSERT INTO fleeting VALUES (1)").await;
        let hook = Postgresql;
        let context = server.context();
        let ready = server
            .call("ready", json!({"role": "primary", "covers": ["data"], "maxTransactionAge": "1h"}))
            .await;
        assert_eq!(ready.outputs["dataDirectory"], json!(server.data));
        assert_eq!(ready.outputs["role"], "primary");
        server.call("checkpoint", Value::Null).await;

        let arguments = json!({"facts": "bounded", "canary": true});
        let mut acquired = hook.acquire("backup-mode", &context, &arguments).await.unwrap();
        let mut copy = Copy::take(&server);
        acquired.hold.renew().await.unwrap();
        let acknowledged = writer.acknowledged();
        let evidence = acquired.hold.confirm().await.unwrap();
        assert_eq!(evidence.get("startLsn"), Some(&acquired.outputs["startLsn"]));
        let receipt = acquired.hold.release().await.unwrap();
        let again = acquired.hold.release().await.unwrap();
        assert_eq!((again.outputs, again.facts), (receipt.outputs.clone(), receipt.facts.clone()));
        writer.goes_on().await;
        writer.stop().await;
        assert_eq!(server.value("SELECT count(*) FROM pg_replication_slots").await, "0");

        copy.restore(&receipt).await;
        copy.start().await;
        copy.is_sound();
        let last: i64 = copy.server.value("SELECT max(id) FROM orders").await.parse().unwrap();
        assert!(
            last >= acknowledged,
            "{last} was restored, {acknowledged} was acknowledged before the release"
        );
        assert_eq!(
            copy.server.value("SELECT count(*) FROM orders WHERE id > 0").await,
            last.to_string(),
            "no gaps"
        );
        assert!(copy.agrees(&receipt).await >= 3, "rows, a sequence and the canary: {:?}", receipt.facts);
        let unlogged = receipt.facts.iter().find(|fact| fact.name.starts_with("not counted")).unwrap();
        assert!(
            unlogged.value.to_string().contains("postgres.public.fleeting: it is unlogged"),
            "{}",
            unlogged.value
        );
    }
}

/// Trap 3 and 5: the copy ends at the stop, not where the server went on to.
#[tokio::test(flavor = "multi_thread")]
async fn recovery_ends_at_the_stop_though_the_server_wrote_on_into_the_same_segment() {
    let server = Server::start(&Binaries::one(), "");
    let writer = Writer::start(&server).await;
    let hook = Postgresql;
    let context = server.context();
    let mut acquired = hook.acquire("backup-mode", &context, &json!({"facts": "none"})).await.unwrap();
    let copy = Copy::take(&server);
    acquired.hold.confirm().await.unwrap();
    let receipt = acquired.hold.release().await.unwrap();
    let stop = receipt.outputs["stopLsn"].as_str().unwrap().to_owned();
    writer.stop().await;
    let directory = receipt.outputs["wal"]["directory"].as_str().unwrap();
    let names: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let last = names.iter().max().unwrap();
    let bytes = std::fs::read(last).unwrap();
    let (_, low) = stop.split_once('/').unwrap();
    let within = usize::try_from(u64::from_str_radix(low, 16).unwrap() % (16 << 20)).unwrap();
    assert_eq!(bytes.len(), 16 << 20);
    assert!(bytes[within..].iter().all(|byte| *byte == 0), "nothing after {stop} in {}", last.display());
    drop(copy);
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_facts_are_those_of_the_restore_point_although_writes_go_on() {
    for binaries in Binaries::found() {
        let server = Server::start(&binaries, "");
        let writer = Writer::start(&server).await;
        let hook = Postgresql;
        let context = server.context();
        let mut acquired = hook.acquire("backup-mode", &context, &json!({"facts": "exact"})).await.unwrap();
        let mut copy = Copy::take(&server);
        acquired.hold.confirm().await.unwrap();
        let receipt = acquired.hold.release().await.unwrap();
        writer.goes_on().await;
        writer.stop().await;
        let rows = receipt.facts.iter().find(|fact| fact.name == "rows postgres.public.orders").unwrap();
        assert_eq!(rows.bound, standstill_core::point::Bound::Exact);
        assert!(
            receipt.froze.is_some_and(|froze| froze < std::time::Duration::from_secs(5)),
            "{:?}",
            receipt.froze
        );
        assert_ne!(receipt.outputs["restorePoint"], "");

        copy.restore(&receipt).await;
        copy.start().await;
        assert_eq!(copy.server.value("SELECT count(*) FROM orders").await, rows.value.to_string());
        copy.is_sound();
        assert!(copy.agrees(&receipt).await >= 2);
    }
}

/// A run that failed before its proof lets go at once and gathers nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_without_a_proof_only_lets_go() {
    let server = Server::start(&Binaries::one(), "");
    let context = server.context();
    let hook = Postgresql;
    let mut acquired = hook.acquire("backup-mode", &context, &json!({})).await.unwrap();
    assert_eq!(server.value("SELECT count(*) FROM pg_replication_slots").await, "1");
    let receipt = acquired.hold.release().await.unwrap();
    assert!(receipt.facts.is_empty() && !receipt.outputs.contains_key("wal"), "{receipt:?}");
    assert_eq!(server.value("SELECT count(*) FROM pg_replication_slots").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_can_be_cancelled_while_the_checkpoint_runs() {
    let server = Server::start(&Binaries::one(), "");
    let context = server.context();
    // A checkpoint that never comes: the checkpointer is stopped.
    let stall = server.stall_checkpoints().await;
    let cancel = context.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        cancel.cancel();
    });
    let began = std::time::Instant::now();
    let acquiring = Postgresql.acquire("backup-mode", &context, &json!({"facts": "none"})).await;
    let error = acquiring.err().unwrap();
    assert_eq!(error.kind(), standstill_core::ErrorKind::Cancelled, "{}", error.chain());
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
    let gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'standstill%'";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while server.value(gone).await != "0" {
        assert!(std::time::Instant::now() < deadline, "the session is still there");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    drop(stall);
    assert_eq!(server.value("SELECT count(*) FROM pg_replication_slots").await, "0");
}
