//! Facts say how far they reach, find what is lost, and never cost the backup.

use std::time::Duration;

use serde_json::{Value, json};
use standstill_core::{
    hook::Hook as _,
    point::{Bound, CheckOutcome, Fact},
};
use standstill_hooks::postgresql::Postgresql;

use crate::support::{Binaries, Server, TABLE};

async fn receipt(server: &Server, arguments: Value) -> standstill_core::hook::Receipt {
    let mut acquired = Postgresql.acquire("backup-mode", &server.context(), &arguments).await.unwrap();
    acquired.hold.confirm().await.unwrap();
    acquired.hold.release().await.unwrap()
}

fn rows(facts: &[Fact]) -> &Fact {
    facts.iter().find(|fact| fact.name == "rows postgres.public.orders").unwrap()
}

/// Trap 4: an SQL error on the hold's own connection would take the slot away.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_while_counting_costs_a_fact_and_nothing_else() {
    let server = Server::start(&Binaries::one(), "");
    server.run_sql(TABLE).await;
    server.run_sql("ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE TABLE fine AS SELECT 1 AS x; \
        CREATE ROLE backup LOGIN REPLICATION; GRANT pg_monitor, pg_read_all_data TO backup; \
        GRANT EXECUTE ON FUNCTION pg_backup_start, pg_backup_stop, pg_read_binary_file(text, bigint, bigint, boolean) TO backup").await;
    let context = server.context_with(&json!({"user": "backup"}), None);
    let mut acquired = Postgresql.acquire("backup-mode", &context, &json!({})).await.unwrap();
    let evidence = acquired.hold.confirm().await.unwrap();
    assert_eq!(evidence.get("walStatus"), Some(&json!("reserved")));
    let receipt = acquired.hold.release().await.unwrap();
    assert!(receipt.outputs.contains_key("wal"));
    let left = receipt.facts.iter().find(|fact| fact.name == "not counted in postgres").unwrap();
    assert!(left.value.to_string().contains("row-level security"), "{}", left.value);
    assert!(receipt.facts.iter().any(|fact| fact.name == "rows postgres.public.fine"), "{:?}", receipt.facts);
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_that_takes_too_long_is_given_up_and_said() {
    let server = Server::start(&Binaries::one(), "");
    server
        .run_sql("CREATE TABLE orders AS SELECT n AS id, repeat('x', 100) FROM generate_series(1, 300000) n")
        .await;
    let receipt = receipt(&server, json!({"factsTimeout": "1ms"})).await;
    assert!(receipt.facts.iter().all(|fact| fact.bound == Bound::None), "{:?}", receipt.facts);
    assert!(receipt.facts[0].value.to_string().contains("postgres.public.orders"), "{:?}", receipt.facts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_lost_fails_the_comparison_by_name() {
    let server = Server::start(&Binaries::one(), "");
    server.run_sql(TABLE).await;
    let receipt = receipt(&server, json!({"canary": true})).await;
    server.run_sql("DELETE FROM orders WHERE id = -7; TRUNCATE standstill.standstill_canary").await;
    let facts = json!({"facts": receipt.facts});
    let called = Postgresql.call("compare-facts", &server.service(), &facts).await.unwrap();
    let failed: Vec<_> = called.checks.iter().filter(|check| check.outcome == CheckOutcome::Failed).collect();
    assert_eq!(failed.len(), 2, "{:?}", called.checks);
    let lost = failed.iter().find(|check| check.name == "rows postgres.public.orders").unwrap();
    assert_eq!(lost.detail, "found 19999, expected between 20000 and 20000");
    let gone = json!({"facts": [{"name": "rows postgres.public.gone", "value": 1, "bound": "exact"}]});
    let called = Postgresql.call("compare-facts", &server.service(), &gone).await.unwrap();
    assert_eq!(called.checks[0].outcome, CheckOutcome::Failed, "{:?}", called.checks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_was_not_written_is_missed() {
    let server = Server::start(&Binaries::one(), "");
    let receipt = receipt(&server, json!({"facts": "none", "canary": true})).await;
    assert_eq!(receipt.facts.len(), 1);
    let called =
        Postgresql.call("compare-facts", &server.service(), &json!({"facts": receipt.facts})).await.unwrap();
    assert_eq!(called.checks[0].outcome, CheckOutcome::Passed, "{:?}", called.checks);
    let mut forged = receipt.facts.clone();
    forged[0].name.push('x');
    let called =
        Postgresql.call("compare-facts", &server.service(), &json!({"facts": forged})).await.unwrap();
    assert_eq!(called.checks[0].outcome, CheckOutcome::Failed, "{:?}", called.checks);
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_facts_give_way_to_a_long_transaction_and_say_so() {
    let server = Server::start(&Binaries::one(), "");
    server.run_sql(TABLE).await;
    let busy = server.client("postgres").await;
    busy.batch_execute("BEGIN; UPDATE orders SET note = '' WHERE id = -1").await.unwrap();
    let receipt = receipt(&server, json!({"facts": "exact"})).await;
    // The transaction was not harmed, and writers waited no longer than the tries.
    busy.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rows(&receipt.facts).bound, Bound::None);
    assert_eq!(receipt.outputs["restorePoint"], "");
    assert!(receipt.outputs.contains_key("wal"), "the backup is whole");
}

/// A writer that holds one of the tables and wants another must not be the victim of a deadlock with us.
#[tokio::test(flavor = "multi_thread")]
async fn exact_facts_never_abort_a_writer() {
    let server = Server::start(&Binaries::one(), "");
    server.run_sql("CREATE TABLE a (x int); CREATE TABLE b (x int)").await;
    let writer = server.client("postgres").await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopping = stop.clone();
    let writing = tokio::spawn(async move {
        while !stopping.load(std::sync::atomic::Ordering::Relaxed) {
            // The other way round than the tables are locked.
            writer.batch_execute("BEGIN; INSERT INTO b VALUES (1)").await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
            writer.batch_execute("INSERT INTO a VALUES (1); COMMIT").await?;
        }
        Ok::<_, tokio_postgres::Error>(())
    });
    for _ in 0..3 {
        receipt(&server, json!({"facts": "exact"})).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writing.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_says_for_how_long_exact_facts_made_writers_wait() {
    let server = Server::start(&Binaries::one(), "");
    server.run_sql(TABLE).await;
    assert_eq!(receipt(&server, json!({})).await.froze, None);
    let exact = receipt(&server, json!({"facts": "exact"})).await;
    assert!(exact.froze.is_some_and(|froze| froze > Duration::ZERO), "{:?}", exact.froze);
    assert_eq!(rows(&exact.facts).bound, Bound::Exact);
}
