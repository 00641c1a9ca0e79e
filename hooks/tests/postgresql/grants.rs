//! The least grants are enough, and each that is missing is named together with the statement that gives it.

use serde_json::{Value, json};
use standstill_core::{ErrorKind, hook::Hook as _};
use standstill_hooks::postgresql::Postgresql;

use crate::support::{Binaries, Copy, Server, TABLE};

const GRANTS: [&str; 6] = [
    "ALTER ROLE backup REPLICATION",
    "GRANT pg_monitor TO backup",
    "GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean) TO backup",
    "GRANT EXECUTE ON FUNCTION pg_backup_stop(boolean) TO backup",
    "GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO backup",
    "GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO backup",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_grants_are_enough_and_a_missing_one_is_named() {
    for binaries in Binaries::found().into_iter().filter(|binaries| binaries.major >= 15) {
        let server = Server::start(&binaries, "");
        server.run_sql(TABLE).await;
        server.run_sql("CREATE ROLE backup LOGIN; GRANT pg_read_all_data, pg_write_all_data, pg_checkpoint TO backup; \
            GRANT CREATE ON DATABASE postgres TO backup").await;
        let context = server.context_with(&json!({"user": "backup"}), None);
        let hook = Postgresql;
        let arguments = json!({"facts": "exact", "canary": true});
        let mut error = hook.acquire("backup-mode", &context, &arguments).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Input);
        for grant in GRANTS.iter().filter(|grant| !grant.contains("pg_monitor")) {
            assert!(error.remedy_text().unwrap().contains(grant), "{grant}: {:?}", error.remedy_text());
            server.run_sql(grant).await;
            if grant.contains("restore_point") {
                break;
            }
            error = hook.acquire("backup-mode", &context, &arguments).await.err().unwrap();
        }
        let ready = json!({"covers": ["data"]});
        let error = hook.call("ready", &context, &ready).await.unwrap_err();
        assert!(
            error.chain().starts_with("role backup lacks membership in pg_monitor at "),
            "{}",
            error.chain()
        );
        assert!(error.remedy_text().unwrap().ends_with("GRANT pg_monitor TO backup;"));
        server.run_sql(GRANTS[1]).await;

        hook.call("ready", &context, &ready).await.unwrap();
        hook.call("checkpoint", &context, &Value::Null).await.unwrap();
        drop(hook.server_lock(&context).await.unwrap());
        let mut acquired = hook.acquire("backup-mode", &context, &arguments).await.unwrap();
        let mut copy = Copy::take(&server);
        acquired.hold.renew().await.unwrap();
        acquired.hold.confirm().await.unwrap();
        let receipt = acquired.hold.release().await.unwrap();
        copy.restore(&receipt).await;
        copy.start().await;
        assert!(copy.agrees(&receipt).await >= 2, "{:?}", receipt.facts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_needs_no_more_than_reading() {
    let server = Server::start(&Binaries::one(), "");
    server.run_sql(TABLE).await;
    server.run_sql("CREATE ROLE dumper LOGIN; GRANT pg_read_all_data TO dumper").await;
    let context = server.context_with(&json!({"user": "dumper"}), None);
    let hook = Postgresql;
    hook.probe(&context).await.unwrap();
    drop(hook.server_lock(&context).await.unwrap());
    let mut acquired = hook.acquire("exported-snapshot", &context, &json!({})).await.unwrap();
    acquired.hold.confirm().await.unwrap();
    let receipt = acquired.hold.release().await.unwrap();
    assert_eq!(receipt.facts[0].value, json!(20000), "{:?}", receipt.facts);
    let error = hook.call("checkpoint", &context, &Value::Null).await.unwrap_err();
    assert!(error.remedy_text().unwrap().contains("GRANT pg_checkpoint"), "{:?}", error.remedy_text());
}
