//! An S3 server of a test's own: `s3s-fs`, which keeps objects as files.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Place, eventually, free_port};

/// The name of the only bucket.
const BUCKET: &str = "backups";
/// What opens it. Nothing may ever say it.
pub const SECRET_KEY: &str = "a-secret-key-of-the-object-store";

/// A server on a loopback port, ended with this value.
pub struct ObjectStore {
    root: PathBuf,
    port: u16,
    server: Child,
}

impl ObjectStore {
    /// Starts one in a place and makes that place's repository be in it; `None`, and said, where there is none.
    pub fn start(place: &mut Place) -> Option<Self> {
        let root = place.join("objects");
        fs::create_dir_all(root.join(BUCKET)).unwrap();
        let port = free_port();
        let server = match spawn(&root, port) {
            Ok(server) => server,
            Err(cause) => {
                println!("skipped: s3s-fs cannot be run: {cause}");
                return None;
            }
        };
        let store = Self { root, port, server };
        store.answers();
        for (name, value) in [
            ("STANDSTILL_REPOSITORY", format!("s3://{BUCKET}/some/prefix")),
            ("AWS_ENDPOINT_URL", store.endpoint()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "tester".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ] {
            place.env.push((name.to_owned(), value.into()));
        }
        Some(store)
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The files in which it keeps the repository's objects.
    pub fn files(&self) -> PathBuf {
        self.root.join(BUCKET).join("some/prefix")
    }

    fn answers(&self) {
        eventually(Duration::from_secs(10), "the object store answers", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// It dies.
    pub fn stop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// It comes back, with all that it held.
    pub fn start_again(&mut self) {
        self.server = spawn(&self.root, self.port).unwrap();
        self.answers();
    }
}

fn spawn(root: &std::path::Path, port: u16) -> std::io::Result<Child> {
    Command::new("s3s-fs")
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--access-key", "tester", "--secret-key", SECRET_KEY])
        .arg(root)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _status = self.server.wait();
    }
}
