//! Restored files: everything stays inside them.

use std::{os::unix::fs::symlink, process::Command};

use serde_json::json;
use standstill_core::{
    ErrorKind,
    hook::{Hook as _, Receipt},
};
use standstill_hooks::postgresql::Postgresql;

use crate::support::{Binaries, Copy, Server, label, user};

/// A server with a table in a tablespace beside its data directory.
async fn with_tablespace(binaries: &Binaries) -> Server {
    let server = Server::start(binaries, "");
    let space = server.root.path().join("space");
    std::fs::create_dir(&space).unwrap();
    if let Some((uid, gid)) = user() {
        std::os::unix::fs::chown(&space, Some(uid), Some(gid)).unwrap();
    }
    server.run_sql(&format!("CREATE TABLESPACE space LOCATION '{}'", space.display())).await;
    server.run_sql("CREATE TABLE precious TABLESPACE space AS SELECT generate_series(1, 1000) AS id").await;
    server
}

async fn backup(server: &Server) -> (Copy, Receipt) {
    let hook = Postgresql;
    let mut context = server.context();
    context.volumes.insert("space".into(), server.root.path().join("space"));
    hook.call("ready", &context, &json!({"covers": ["data", "space"]})).await.unwrap();
    let mut acquired = hook.acquire("backup-mode", &context, &json!({})).await.unwrap();
    let copy = Copy::take(server);
    acquired.hold.confirm().await.unwrap();
    (copy, acquired.hold.release().await.unwrap())
}

/// Trap 1: a table dropped in the restored copy must not empty production's.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_table_in_the_scratch_copy_leaves_production_alone() {
    for binaries in Binaries::found() {
        let server = with_tablespace(&binaries).await;
        let (mut copy, receipt) = backup(&server).await;
        let space = server.root.path().join("space");
        let copied = copy.server.root.path().join("space");
        assert!(Command::new("cp").arg("-a").arg(&space).arg(&copied).status().unwrap().success());
        copy.place_wal(&receipt);

        // The volume is the folder that has both, the data directory is a folder in it.
        let mut context = copy.server.service();
        context.volume = Some(copy.server.root.path().to_owned());
        let mut arguments = label(&receipt);
        arguments["under"] = json!("data");
        let hook = Postgresql;
        hook.call("place-label", &context, &arguments).await.unwrap();
        hook.call("scratch-config", &context, &json!({"under": "data"})).await.unwrap();
        copy.start().await;
        assert_eq!(copy.server.value("SELECT count(*) FROM precious").await, "1000");
        copy.server.run_sql("DROP TABLE precious").await;
        copy.server.run_sql("CHECKPOINT").await;
        copy.server.stop("INT");
        server.run_sql("CHECKPOINT").await;
        assert_eq!(server.value("SELECT count(*) FROM precious").await, "1000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablespace_in_another_volume_is_found_by_what_the_blueprint_says_moved() {
    let server = with_tablespace(&Binaries::one()).await;
    let (mut copy, receipt) = backup(&server).await;
    let space = server.root.path().join("space");
    let other = copy.server.root.path().join("elsewhere");
    assert!(Command::new("cp").arg("-a").arg(&space).arg(&other).status().unwrap().success());
    copy.place_wal(&receipt);
    let mut context = copy.server.service();
    context.volumes.insert("newSpace".into(), other);
    let mut arguments = label(&receipt);
    arguments["moved"] = json!([{"from": space, "volume": "newSpace"}]);
    let hook = Postgresql;
    hook.call("place-label", &context, &arguments).await.unwrap();
    let error = hook.call("scratch-config", &context, &json!({})).await.unwrap_err();
    assert!(error.chain().contains("leads out of the restored volume"), "{}", error.chain());
    hook.call("scratch-config", &context, &json!({"volumes": ["newSpace"]})).await.unwrap();
    copy.start().await;
    assert_eq!(copy.server.value("SELECT count(*) FROM precious").await, "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablespace_that_was_not_restored_is_refused_by_its_link() {
    let server = with_tablespace(&Binaries::one()).await;
    let (copy, receipt) = backup(&server).await;
    let space = server.root.path().join("space");
    for (verb, arguments) in [("place-label", label(&receipt)), ("scratch-config", json!({}))] {
        let error = copy.try_call(verb, arguments).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{}", error.chain());
        let said = error.chain();
        assert!(said.contains("pg_tblspc/") && said.contains(&space.display().to_string()), "{said}");
    }
    assert_eq!(server.value("SELECT count(*) FROM precious").await, "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_link_is_replaced_and_nothing_is_left_of_the_other_servers_life() {
    let server = Server::start(&Binaries::one(), "");
    let elsewhere = tempfile::tempdir().unwrap();
    let (copy, receipt) = backup_alone(&server).await;
    symlink(elsewhere.path(), copy.path("pg_wal")).unwrap();
    for name in ["standby.signal", "postmaster.pid", "postmaster.opts"] {
        std::fs::write(copy.path(name), "").unwrap();
    }
    std::fs::create_dir_all(copy.path("pg_replslot/gone")).unwrap();
    std::fs::write(copy.path("pg_replslot/gone/state"), "").unwrap();
    copy.call("place-label", label(&receipt)).await;
    assert!(copy.path("pg_wal/archive_status").is_dir() && !copy.path("pg_wal").is_symlink());
    for name in ["standby.signal", "postmaster.pid", "postmaster.opts", "pg_replslot/gone", "recovery.signal"]
    {
        assert!(!copy.path(name).exists(), "{name} is still there");
    }
    let label = std::fs::read_to_string(copy.path("backup_label")).unwrap();
    assert_eq!(json!(label), receipt.outputs["label"]);
}

async fn backup_alone(server: &Server) -> (Copy, Receipt) {
    let mut acquired = Postgresql.acquire("backup-mode", &server.context(), &json!({})).await.unwrap();
    let copy = Copy::take(server);
    acquired.hold.confirm().await.unwrap();
    (copy, acquired.hold.release().await.unwrap())
}

/// Trap 11: nothing of the original configuration is left that could reach out.
#[tokio::test(flavor = "multi_thread")]
async fn a_scratch_server_archives_nothing_fetches_nothing_and_follows_nobody() {
    let touched = tempfile::tempdir().unwrap();
    let path = touched.path();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let archive = format!("archive_mode = on\narchive_command = 'touch {}/archived'", path.display());
    let mut server = Server::start(&Binaries::one(), &archive);
    server.run_sql("ALTER SYSTEM SET primary_conninfo = 'host=production'").await;
    let fetch = format!("ALTER SYSTEM SET restore_command = 'touch {}/fetched; false'", path.display());
    server.run_sql(&fetch).await;
    server.run_sql("ALTER SYSTEM SET shared_preload_libraries = 'nowhere'").await;
    let (mut copy, receipt) = backup_alone(&server).await;
    server.stop("INT");
    assert!(path.join("archived").exists(), "the original archives");
    std::fs::remove_file(path.join("archived")).unwrap();
    copy.restore(&receipt).await;
    copy.start().await;
    copy.server.run_sql("CREATE TABLE fill AS SELECT 1 AS x; SELECT pg_switch_wal(); CHECKPOINT").await;
    let rows = Postgresql
        .call("query", &copy.server.service(), &json!({"sql":
            "SELECT name, setting FROM pg_settings WHERE name IN ('archive_mode', 'archive_command', 'restore_command', \
             'primary_conninfo', 'listen_addresses', 'max_logical_replication_workers', 'shared_preload_libraries', \
             'max_wal_senders', 'autovacuum') ORDER BY name"}))
        .await
        .unwrap();
    let settings: std::collections::BTreeMap<_, _> = rows.outputs["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["name"].as_str().unwrap(), row["setting"].as_str().unwrap()))
        .collect();
    assert_eq!(settings["archive_mode"], "off");
    for name in ["restore_command", "primary_conninfo", "listen_addresses", "shared_preload_libraries"] {
        assert_eq!(settings[name], "", "{name}");
    }
    assert_eq!((settings["max_logical_replication_workers"], settings["max_wal_senders"]), ("0", "0"));
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "nothing was archived or fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_no_data_directory_is_refused() {
    let server = Server::start(&Binaries::one(), "");
    let copy = Copy { server: Server::place(&server.binaries) };
    std::fs::create_dir(copy.server.data.as_path()).unwrap();
    let error = copy.try_call("place-label", json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.chain().contains("is not a PostgreSQL data directory"), "{}", error.chain());
}
