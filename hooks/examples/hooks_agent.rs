//! The helper program of this crate's tests: `agent hold sqlite TASK` as the real binary has it, and a small runner
//! that holds a lock until it is stopped or killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test that fails is a test that fails"
)]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use serde_json::json;
use standstill_core::hook::Hook;
use standstill_hooks::sqlite::{Sqlite, holder_main};

#[path = "../tests/support/mod.rs"]
mod support;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["agent", "hold", "sqlite", ..] => holder_main(&arguments[3..]),
        ["run-hold", volume, file, lease] => {
            let lease = Duration::from_millis(lease.parse().expect("the lease is in milliseconds"));
            run_hold(&PathBuf::from(volume), file, lease)
        }
        _ => {
            eprintln!("usage: hooks_agent agent hold sqlite TASK | hooks_agent run-hold VOLUME FILE LEASE");
            ExitCode::from(2)
        }
    }
}

/// Takes the write lock, says `held`, and renews until a renewal fails; then says what confirm finds.
#[tokio::main(flavor = "current_thread")]
async fn run_hold(volume: &std::path::Path, file: &str, lease: Duration) -> ExitCode {
    let context = support::context(volume, volume, lease);
    let arguments = json!({ "file": file, "facts": "none" });
    let record = Sqlite.undo_record("write-lock", &context, &arguments).expect("a record");
    let mut acquired = Sqlite.acquire("write-lock", &context, &arguments).await.expect("the lock");
    println!("held {record}");
    loop {
        tokio::time::sleep(lease / 3).await;
        if acquired.hold.renew().await.is_err() {
            break;
        }
    }
    let confirmed = acquired.hold.confirm().await.map_err(|error| error.kind());
    let released = acquired.hold.release().await.map(drop).map_err(|error| error.kind());
    println!("{confirmed:?} {released:?}");
    ExitCode::SUCCESS
}
