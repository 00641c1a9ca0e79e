//! Trap 25: a pooler lends sessions of the server, so a hold through it is nobody's.

use std::{
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use standstill_core::{ErrorKind, hook::Hook as _};
use standstill_hooks::postgresql::Postgresql;

use crate::support::{Binaries, Server, free_port};

struct Pooler(Child);

impl Drop for Pooler {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _status = self.0.wait();
    }
}

fn start(server: &Server, port: u16, more: &str) -> Pooler {
    let config = server.root.path().join(format!("pooler-{port}.ini"));
    let text = format!(
        "[databases]\n* = host={socket} port={pg}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         auth_type = any\npool_mode = transaction\nunix_socket_dir =\n{more}\n[users]\n",
        socket = server.socket().display(),
        pg = server.port,
    )
    .replace("* = host", "postgres = user=postgres host");
    std::fs::write(&config, text).unwrap();
    let binaries = Binaries { bin: "/usr/sbin".into(), major: 0 };
    let mut command = binaries.command("pgbouncer");
    Pooler(
        command
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_pooler_is_refused_however_it_is_set_up() {
    if !Path::new("/usr/sbin/pgbouncer").exists() {
        println!("pgbouncer is not installed: not tested");
        return;
    }
    let server = Server::start(&Binaries::one(), "");
    for more in ["", "ignore_startup_parameters = options"] {
        let port = free_port();
        let _pooler = start(&server, port, more);
        let context = server.context_with(&json!({"host": "127.0.0.1", "port": port}), None);
        let deadline = Instant::now() + Duration::from_secs(10);
        let error = loop {
            let error = Postgresql.probe(&context).await.unwrap_err();
            if !error.to_string().starts_with("nobody listens") {
                break error;
            }
            assert!(Instant::now() < deadline, "the pooler does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(error.kind(), ErrorKind::Input, "{more}: {}", error.chain());
        assert_eq!(
            error.to_string(),
            format!("127.0.0.1:{port} is a connection pooler, not PostgreSQL itself")
        );
        assert!(error.remedy_text().unwrap().starts_with("Connect to the server's own address"));
    }
}
