//! Bad input: one clear sentence, a remedy, the right kind.

use serde_json::{Value, json};
use standstill_core::{
    Error, ErrorKind,
    hook::{Hook as _, HookContext},
};
use standstill_hooks::postgresql::Postgresql;

use crate::support::{Binaries, Server, free_port};

async fn refused(context: &HookContext) -> Error {
    Postgresql.probe(context).await.unwrap_err()
}

fn assert_says(error: &Error, kind: ErrorKind, message: &str, remedy: &str) {
    assert_eq!(error.kind(), kind, "{}", error.chain());
    assert_eq!(error.to_string(), message);
    assert!(error.remedy_text().unwrap_or_default().contains(remedy), "{:?}", error.remedy_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listening_is_said_by_address() {
    let server = Server::place(&Binaries::one());
    let port = free_port();
    let context = server.context_with(&json!({"host": "127.0.0.1", "port": port}), None);
    let remedy = "Start PostgreSQL, or correct `host` and `port`";
    let message = format!("nobody listens at 127.0.0.1:{port}");
    assert_says(&refused(&context).await, ErrorKind::Input, &message, remedy);
    let message = format!("nobody listens at {}/.s.PGSQL.{}", server.socket().display(), server.port);
    assert_says(&refused(&server.context()).await, ErrorKind::Input, &message, remedy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_fails_says_what_is_wrong_with_it() {
    let server = Server::start(&Binaries::one(), "listen_addresses = '127.0.0.1'");
    server.run_sql("CREATE ROLE backup LOGIN PASSWORD 'right'; CREATE ROLE nologin").await;
    let hba = "local all postgres trust\nhost all backup 127.0.0.1/32 scram-sha-256\nhost all nobody,nologin 127.0.0.1/32 trust\n";
    std::fs::write(server.data.join("pg_hba.conf"), hba).unwrap();
    server.run_sql("SELECT pg_reload_conf()").await;
    let place = format!("127.0.0.1:{}", server.port);
    let as_user = |user: &str, database: &str, password| {
        server.context_with(&json!({"host": "127.0.0.1", "user": user, "database": database}), password)
    };
    let hook = Postgresql;
    // A reload takes effect a moment later.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while let Err(error) = hook.probe(&as_user("backup", "postgres", Some("right"))).await {
        assert!(std::time::Instant::now() < deadline, "{}", error.chain());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let error = refused(&as_user("backup", "postgres", Some("wrong"))).await;
    assert_says(
        &error,
        ErrorKind::Input,
        &format!("the password for role backup is wrong at {place}"),
        "Correct the connection's `password`",
    );
    assert!(!error.chain().contains("wrong\""), "no secret in {}", error.chain());
    let error = refused(&as_user("backup", "postgres", None)).await;
    let message = format!("PostgreSQL at {place} wants a password for role backup, and none was given");
    assert_says(&error, ErrorKind::Input, &message, "Give the connection a `password`");
    let error = refused(&as_user("backup", "nowhere", Some("right"))).await;
    assert_says(
        &error,
        ErrorKind::Input,
        &format!("there is no database nowhere at {place}"),
        "Correct `database`",
    );
    let error = refused(&as_user("stranger", "postgres", None)).await;
    let message = format!("PostgreSQL at {place} does not let role stranger in");
    assert_says(&error, ErrorKind::Input, &message, "pg_hba.conf");
    for role in ["nobody", "nologin"] {
        let error = refused(&as_user(role, "postgres", None)).await;
        let message = format!("PostgreSQL at {place} does not let role {role} in");
        assert_says(&error, ErrorKind::Input, &message, "create the role with LOGIN");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_or_not_open_yet_is_worth_another_try() {
    let binaries = Binaries::one();
    let mut server = Server::start(
        &binaries,
        "max_connections = 5\nsuperuser_reserved_connections = 3\nmax_wal_senders = 0",
    );
    server.run_sql("CREATE ROLE plain LOGIN").await;
    let context = server.context_with(&json!({"user": "plain"}), None);
    let _one = (server.client("postgres").await, server.client("postgres").await);
    let place = format!("{}/.s.PGSQL.{}", server.socket().display(), server.port);
    let error = refused(&context).await;
    let message = format!("PostgreSQL at {place} has no connection left");
    assert_says(&error, ErrorKind::Temporary, &message, "Raise `max_connections`");
    // A server that recovers for ever, and lets nobody in meanwhile.
    server.stop("INT");
    std::fs::write(server.data.join("standby.signal"), "").unwrap();
    server.configure("hot_standby = off");
    server.spawn();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let error = loop {
        let error = refused(&context).await;
        if !error.to_string().starts_with("nobody listens") {
            break error;
        }
        assert!(std::time::Instant::now() < deadline, "{}", server.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let message = format!("PostgreSQL at {place} is starting up or shutting down");
    assert_says(&error, ErrorKind::Temporary, &message, "Try again");
    let error = Postgresql.call("accepting", &server.service(), &Value::Null).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Temporary, "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_miss_a_part_or_belong_to_another_server_are_refused() {
    let binaries = Binaries::one();
    let (server, other) = (Server::start(&binaries, ""), Server::start(&binaries, ""));
    let hook = Postgresql;
    let ready = |context: HookContext| {
        let hook = &hook;
        async move { hook.call("ready", &context, &json!({"covers": ["data"]})).await.unwrap_err() }
    };
    let mut context = server.context();
    context.volumes.insert("data".into(), other.data.clone());
    let error = ready(context).await;
    assert_eq!(error.kind(), ErrorKind::Input);
    let message = format!(
        "the data directory of PostgreSQL at {}/.s.PGSQL.{} is {}, which is not in data ({})",
        server.socket().display(),
        server.port,
        server.data.display(),
        other.data.display()
    );
    assert_eq!(error.chain(), message);

    let space = server.root.path().join("space");
    std::fs::create_dir(&space).unwrap();
    if let Some((uid, gid)) = crate::support::user() {
        std::os::unix::fs::chown(&space, Some(uid), Some(gid)).unwrap();
    }
    server.run_sql(&format!("CREATE TABLESPACE space LOCATION '{}'", space.display())).await;
    let error = ready(server.context()).await;
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.chain().ends_with(&format!("miss {}", space.display())), "{}", error.chain());
    server.run_sql("DROP TABLESPACE space").await;

    // Trap 25: the path is right, but the files are another server's.
    let pid = std::fs::read_to_string(server.data.join("postmaster.pid")).unwrap();
    let forged = pid.replacen(pid.lines().nth(2).unwrap(), "1", 1);
    std::fs::write(server.data.join("postmaster.pid"), &forged).unwrap();
    // The server reads the same file here, so the other one's address shows the difference.
    let mut context = other.context();
    context.volumes.insert("data".into(), other.data.clone());
    std::fs::rename(other.data.join("postmaster.pid"), other.data.join("postmaster.pid.away")).unwrap();
    let error = ready(context).await;
    std::fs::rename(other.data.join("postmaster.pid.away"), other.data.join("postmaster.pid")).unwrap();
    std::fs::write(server.data.join("postmaster.pid"), pid).unwrap();
    assert!(error.chain().contains("is not the data directory of PostgreSQL at"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_transaction_and_a_lack_of_slots_are_found_before_anything_is_touched() {
    let server = Server::start(&Binaries::one(), "max_replication_slots = 1");
    let hook = Postgresql;
    let busy = server.client("postgres").await;
    busy.batch_execute("BEGIN; SELECT 1").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let error =
        hook.call("ready", &server.context(), &json!({"maxTransactionAge": "20ms"})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Temporary);
    assert!(error.remedy_text().unwrap().contains("pg_terminate_backend"), "{:?}", error.remedy_text());
    busy.batch_execute("ROLLBACK").await.unwrap();
    server.call("ready", json!({"maxTransactionAge": "1h"})).await;

    server.run_sql("SELECT pg_create_physical_replication_slot('taken')").await;
    let error = hook.call("ready", &server.context(), &json!({"covers": ["data"]})).await.unwrap_err();
    assert!(error.chain().starts_with("all 1 replication slots of PostgreSQL at"), "{}", error.chain());
    let error = hook.acquire("backup-mode", &server.context(), &json!({})).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.chain().starts_with("all replication slots of PostgreSQL at"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_read_only_and_keeps_the_types_of_its_columns() {
    let server = Server::start(&Binaries::one(), "");
    let hook = Postgresql;
    let ask = |sql: &str| {
        let (hook, context, sql) = (&hook, server.context(), sql.to_owned());
        async move { hook.call("query", &context, &json!({"sql": sql})).await }
    };
    let called = ask("SELECT n, n > 1 AS more, 'a' AS text FROM generate_series(1, 2) n;").await.unwrap();
    assert_eq!(
        called.outputs["rows"],
        json!([{"n": 1, "more": false, "text": "a"}, {"n": 2, "more": true, "text": "a"}])
    );
    assert_eq!(called.outputs["value"], json!(1));
    assert_eq!(ask("SHOW wal_level").await.unwrap().outputs["value"], json!("replica"));
    assert_eq!(ask("SELECT 1 WHERE false").await.unwrap().outputs["value"], Value::Null);
    let error = ask("CREATE TABLE t (x int)").await.unwrap_err();
    assert!(error.chain().contains("read-only transaction"), "{}", error.chain());
    let error = ask("SELECT * FROM generate_series(1, 10001)").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_refused_by_name() {
    let server = Server::place(&Binaries::one());
    let error = Postgresql.call("ready", &server.context(), &json!({"rolle": "any"})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.chain().contains("unknown field `rolle`"), "{}", error.chain());
}
