use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use standstill_core::{
    hook::{Called, Hook as _, Receipt},
    point::CheckOutcome,
};
use standstill_hooks::postgresql::Postgresql;

use super::Server;

/// A copy of a server's files, in a place of its own, and the server that is started on it.
pub struct Copy {
    pub server: Server,
}

impl Copy {
    /// Copies the data directory as a naive tool does: file by file, while it changes.
    pub fn take(of: &Server) -> Self {
        let server = Server::place(&of.binaries);
        let copied = Command::new("cp").arg("-a").arg(&of.data).arg(&server.data).output().unwrap();
        // Files vanish meanwhile; everything else is a fault.
        for line in String::from_utf8_lossy(&copied.stderr).lines() {
            assert!(line.contains("No such file or directory"), "{line}");
        }
        // What the blueprint leaves out.
        let wal = server.data.join("pg_wal");
        if wal.is_symlink() {
            std::fs::remove_file(&wal).unwrap();
        } else {
            std::fs::remove_dir_all(&wal).unwrap();
        }
        let _absent = std::fs::remove_file(server.data.join("postmaster.pid"));
        Self { server }
    }

    /// Does what the blueprint's restore does after the volume: WAL, label, scratch configuration.
    pub async fn restore(&self, receipt: &Receipt) {
        self.place_wal(receipt);
        self.call("place-label", label(receipt)).await;
        self.call("scratch-config", json!({})).await;
    }

    pub fn place_wal(&self, receipt: &Receipt) {
        let from = PathBuf::from(receipt.outputs["wal"]["directory"].as_str().unwrap());
        let to = self.server.data.join("pg_wal");
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    /// A verb on the restored volume.
    pub async fn try_call(&self, verb: &str, arguments: Value) -> standstill_core::Result<Called> {
        let mut context = self.server.service();
        context.service = None;
        Postgresql.call(verb, &context, &arguments).await
    }

    pub async fn call(&self, verb: &str, arguments: Value) -> Called {
        match self.try_call(verb, arguments).await {
            Ok(called) => called,
            Err(error) => panic!("{verb}: {}", error.chain()),
        }
    }

    /// Starts the server and waits as the blueprint does.
    pub async fn start(&mut self) {
        self.server.spawn();
        let context = self.server.service();
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        loop {
            match Postgresql.call("accepting", &context, &Value::Null).await {
                Ok(_) => return,
                Err(error) => {
                    let late = tokio::time::Instant::now() >= deadline || self.server.ended();
                    assert!(!late, "{}\n{}", error.chain(), self.server.log());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The engine's own check, of heap and indexes.
    pub fn is_sound(&self) {
        let checked = self
            .server
            .binaries
            .command("pg_amcheck")
            .args(["--all", "--heapallindexed", "--install-missing", "-U", "postgres"])
            .args(["-h", self.server.socket().to_str().unwrap(), "-p", &self.server.port.to_string()])
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{said}");
    }

    /// Compares the facts; returns how many passed.
    pub async fn agrees(&self, receipt: &Receipt) -> usize {
        let called = Postgresql
            .call("compare-facts", &self.server.service(), &json!({"facts": receipt.facts}))
            .await
            .unwrap();
        let failed: Vec<_> =
            called.checks.iter().filter(|check| check.outcome == CheckOutcome::Failed).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        called.checks.iter().filter(|check| check.outcome == CheckOutcome::Passed).count()
    }

    /// A file in the data directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.server.data.join(name)
    }
}

/// The arguments that a blueprint gives to `place-label`.
pub fn label(receipt: &Receipt) -> Value {
    json!({
        "label": receipt.outputs["label"],
        "tablespaceMap": receipt.outputs["tablespaceMap"],
        "restorePoint": receipt.outputs["restorePoint"],
    })
}
