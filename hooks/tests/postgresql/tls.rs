//! TLS as libpq's `sslmode` means it.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use serde_json::{Value, json};
use standstill_core::{Error, ErrorKind, hook::Hook as _};
use standstill_hooks::postgresql::Postgresql;

use crate::support::{Binaries, Server, user};

fn openssl(directory: &Path, arguments: &str) {
    let done = Command::new("openssl").current_dir(directory).args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A server with a certificate of an authority, or with one that signed itself, for `localhost`.
fn with_tls(self_signed: bool) -> Server {
    let server = Server::start(&Binaries::one(), "listen_addresses = '127.0.0.1'");
    let root = server.root.path().to_owned();
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&root, &format!("req -x509 {ec} -keyout ca.key -out ca.crt -subj /CN=authority"));
    openssl(&root, &format!("req -x509 {ec} -keyout other.key -out other.crt -subj /CN=other"));
    if self_signed {
        openssl(
            &root,
            &format!(
                "req -x509 {ec} -keyout server.key -out server.crt -subj /CN=localhost -addext subjectAltName=DNS:localhost"
            ),
        );
    } else {
        openssl(
            &root,
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
        );
        std::fs::write(root.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
            .unwrap();
        openssl(
            &root,
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt",
        );
    }
    for name in ["server.key", "server.crt"] {
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = user() {
            std::os::unix::fs::chown(root.join(name), Some(uid), Some(gid)).unwrap();
        }
    }
    std::fs::copy(root.join("server.crt"), root.join("pinned.crt")).unwrap();
    server.configure(&format!(
        "ssl = on\nssl_cert_file = '{0}/server.crt'\nssl_key_file = '{0}/server.key'",
        root.display()
    ));
    let mut server = server;
    server.stop("INT");
    server.run();
    server
}

/// Whether the session is encrypted, asked over a connection with these settings.
async fn encrypted(server: &Server, host: &str, sslmode: &str, root: Option<&str>) -> Result<Value, Error> {
    let mut settings = json!({"host": host, "sslmode": sslmode, "user": "backup"});
    if let Some(root) = root {
        settings["sslRootCert"] = json!(server.root.path().join(root));
    }
    let context = server.context_with(&settings, Some("secret"));
    let sql = json!({"sql": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"});
    Ok(Postgresql.call("query", &context, &sql).await?.outputs["value"].clone())
}

async fn with_password(server: &Server) {
    server.run_sql("CREATE ROLE backup LOGIN PASSWORD 'secret'").await;
    let hba = "local all postgres trust\nhost all backup 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(server.data.join("pg_hba.conf"), hba).unwrap();
    server.run_sql("SELECT pg_reload_conf()").await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while let Err(error) = encrypted(server, "127.0.0.1", "prefer", None).await {
        assert!(std::time::Instant::now() < deadline, "{}", error.chain());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sslmode_does_what_libpq_does() {
    for (self_signed, root) in [(false, "ca.crt"), (true, "pinned.crt")] {
        let server = with_tls(self_signed);
        with_password(&server).await;
        for mode in ["prefer", "require"] {
            assert_eq!(encrypted(&server, "127.0.0.1", mode, None).await.unwrap(), json!(true), "{mode}");
        }
        assert_eq!(encrypted(&server, "localhost", "disable", None).await.unwrap(), json!(false));
        assert_eq!(encrypted(&server, "localhost", "verify-full", Some(root)).await.unwrap(), json!(true));
        assert_eq!(encrypted(&server, "127.0.0.1", "verify-ca", Some(root)).await.unwrap(), json!(true));
        // As in libpq, a root certificate turns `require` into verify-ca, and `prefer` never looks.
        assert_eq!(encrypted(&server, "127.0.0.1", "require", Some(root)).await.unwrap(), json!(true));
        assert_eq!(encrypted(&server, "127.0.0.1", "prefer", Some("other.crt")).await.unwrap(), json!(true));
        for (host, mode, root) in [
            ("127.0.0.1", "verify-full", root),
            ("localhost", "verify-full", "other.crt"),
            ("localhost", "verify-ca", "other.crt"),
            ("localhost", "require", "other.crt"),
        ] {
            let error = encrypted(&server, host, mode, Some(root)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input);
            assert!(
                error.to_string().starts_with("the TLS certificate of PostgreSQL at"),
                "{host} {mode}: {}",
                error.chain()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_cannot_be_had_is_said() {
    let server = Server::start(&Binaries::one(), "listen_addresses = '127.0.0.1'");
    server.run_sql("CREATE ROLE backup LOGIN PASSWORD 'secret'").await;
    assert_eq!(encrypted(&server, "127.0.0.1", "prefer", None).await.unwrap(), json!(false));
    let error = encrypted(&server, "127.0.0.1", "require", None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("PostgreSQL at 127.0.0.1:{} has no TLS, and sslmode demands it", server.port)
    );
    let error = encrypted(&server, "127.0.0.1", "verify-full", None).await.unwrap_err();
    assert_eq!(error.to_string(), "sslmode verify-ca and verify-full need a root certificate");
    let error = encrypted(&server, "127.0.0.1", "verify-ca", Some("nowhere.crt")).await.unwrap_err();
    assert!(error.to_string().ends_with("nowhere.crt cannot be read"), "{}", error.chain());
    std::fs::write(server.root.path().join("empty.crt"), "").unwrap();
    let error = encrypted(&server, "127.0.0.1", "verify-ca", Some("empty.crt")).await.unwrap_err();
    assert!(error.to_string().ends_with("empty.crt holds no certificate"), "{}", error.chain());
}
