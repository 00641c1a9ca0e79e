//! Exported snapshots, and dumps that share them.

use serde_json::json;
use standstill_core::{ErrorKind, hook::Hook as _, point::Bound};
use standstill_hooks::postgresql::Postgresql;

use crate::support::{Binaries, Server, TABLE, Writer, value};

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_with_the_exported_snapshot_has_exactly_the_facts() {
    for binaries in Binaries::found() {
        let server = Server::start(&binaries, "");
        server.run_sql("CREATE DATABASE \"other one\"").await;
        server.client("other one").await.batch_execute(TABLE).await.unwrap();
        let writer = Writer::start(&server).await;
        let context = server.context();
        let mut acquired = Postgresql.acquire("exported-snapshot", &context, &json!({})).await.unwrap();
        let databases = acquired.outputs["databases"].as_array().unwrap().clone();
        let names: Vec<_> = databases.iter().map(|database| database["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["other one", "postgres"]);
        writer.goes_on().await;
        for database in &databases {
            let name = database["name"].as_str().unwrap();
            let dump = server.root.path().join(name);
            let done = binaries
                .command("pg_dump")
                .args(["-Fc", "-Z0", "-h", server.socket().to_str().unwrap(), "-p", &server.port.to_string()])
                .args(["-U", "postgres", "--snapshot", database["snapshot"].as_str().unwrap()])
                .args(["-f", dump.to_str().unwrap(), name])
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let evidence = acquired.hold.confirm().await.unwrap();
        assert_eq!(evidence.get("oneMoment"), Some(&json!(false)), "two databases are two moments");
        writer.goes_on().await;
        let receipt = acquired.hold.release().await.unwrap();
        writer.stop().await;

        let rows = |name: &str| receipt.facts.iter().find(|fact| fact.name == name).unwrap();
        assert_eq!(rows("rows \"other one\".public.orders").value, json!(20000));
        let orders = rows("rows postgres.public.orders");
        assert_eq!(orders.bound, Bound::Exact);
        assert_eq!(rows("sequence postgres.public.ticket").bound, Bound::AtLeast);
        server.run_sql("CREATE DATABASE restored").await;
        let done = binaries
            .command("pg_restore")
            .args(["-h", server.socket().to_str().unwrap(), "-p", &server.port.to_string(), "-U", "postgres"])
            .args(["-d", "restored", server.root.path().join("postgres").to_str().unwrap()])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let restored = server.client("restored").await;
        assert_eq!(value(&restored, "SELECT count(*) FROM orders").await, orders.value.to_string());
        let ticket: i64 = value(&restored, "SELECT last_value FROM ticket").await.parse().unwrap();
        assert!(ticket >= rows("sequence postgres.public.ticket").value.as_i64().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_refused_with_those_that_are() {
    let server = Server::start(&Binaries::one(), "");
    let arguments = json!({"databases": ["postgres", "nowhere"]});
    let acquiring = Postgresql.acquire("exported-snapshot", &server.context(), &arguments).await;
    let error = acquiring.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.chain().starts_with("there is no database nowhere at "), "{}", error.chain());
    assert_eq!(error.remedy_text(), Some("Name some of postgres, or none for all of them."));
}
