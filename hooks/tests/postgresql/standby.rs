//! Backups of a standby.

use serde_json::json;
use standstill_core::{ErrorKind, hook::Hook as _};
use standstill_hooks::postgresql::Postgresql;

use crate::support::{Binaries, Copy, Server, Writer};

/// A standby of a primary.
fn follow(primary: &Server) -> Server {
    let mut standby = Server::place(&primary.binaries);
    let made = primary
        .binaries
        .command("pg_basebackup")
        .args(["-h", primary.socket().to_str().unwrap(), "-p", &primary.port.to_string(), "-U", "postgres"])
        .args(["-D", standby.data.to_str().unwrap(), "-R", "-c", "fast", "-X", "stream", "--no-sync"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    standby.run();
    standby
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_standby_is_sound_and_becomes_a_primary_of_its_own() {
    for binaries in Binaries::found() {
        let primary = Server::start(&binaries, "");
        let writer = Writer::start(&primary).await;
        let standby = follow(&primary);
        let hook = Postgresql;
        let context = standby.context();
        standby.call("ready", json!({"role": "standby", "covers": ["data"]})).await;
        let mut acquired = hook.acquire("backup-mode", &context, &json!({})).await.unwrap();
        let mut copy = Copy::take(&standby);
        // Trap 8: on a standby this file comes last.
        std::fs::copy(standby.data.join("global/pg_control"), copy.path("global/pg_control")).unwrap();
        acquired.hold.confirm().await.unwrap();
        let receipt = acquired.hold.release().await.unwrap();
        writer.goes_on().await;
        writer.stop().await;
        copy.restore(&receipt).await;
        copy.start().await;
        copy.is_sound();
        assert!(copy.agrees(&receipt).await >= 2, "{:?}", receipt.facts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_in_the_middle_is_a_lapse() {
    let primary = Server::start(&Binaries::one(), "");
    let hook = Postgresql;
    for ask in ["confirm", "release"] {
        let standby = follow(&primary);
        let mut acquired = hook.acquire("backup-mode", &standby.context(), &json!({})).await.unwrap();
        standby.run_sql("SELECT pg_promote(true, 30)").await;
        let error = match ask {
            "confirm" => acquired.hold.confirm().await.unwrap_err(),
            _ => acquired.hold.release().await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::HoldLapsed, "{}", error.chain());
        assert!(error.chain().contains("promoted"), "{}", error.chain());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_primary_is_refused_on_a_standby_before_anything_is_held() {
    let primary = Server::start(&Binaries::one(), "");
    let standby = follow(&primary);
    let hook = Postgresql;
    for arguments in [json!({"facts": "exact"}), json!({"canary": true})] {
        let error = hook.acquire("backup-mode", &standby.context(), &arguments).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(error.chain().contains("is a standby"), "{}", error.chain());
    }
    let error = hook.call("ready", &standby.context(), &json!({"role": "primary"})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    let place = format!("{}/.s.PGSQL.{}", standby.socket().display(), standby.port);
    assert_eq!(error.chain(), format!("PostgreSQL at {place} is a standby, and a primary was asked for"));
    // Trap 25: they share the system identifier, and are not one database to back up.
    let (one, other) =
        (hook.probe(&primary.context()).await.unwrap(), hook.probe(&standby.context()).await.unwrap());
    assert_eq!((one.role.as_deref(), other.role.as_deref()), (Some("primary"), Some("standby")));
    assert_ne!(one.identity, other.identity);
    assert_eq!(other.identity, hook.probe(&standby.context()).await.unwrap().identity);
    // The files of one are not the files of the other.
    let mut crossed = primary.context();
    crossed.volumes.insert("data".into(), standby.data.clone());
    let error = hook.call("ready", &crossed, &json!({"covers": ["data"]})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.chain().contains("which is not in data"), "{}", error.chain());
}
