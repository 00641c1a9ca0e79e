//! A runner for the tests of this crate, to be killed or stopped by them: it starts something through the runtime,
//! says so, and then does nothing but renew.
//!
//! Arguments: the agent's path, the state directory, the lease in milliseconds, the scenario, and its arguments.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use standstill_core::{
    Error, Result,
    journal::{Event, JournalStore},
    lock::TargetLock,
    point::RunId,
    runtime::{Command, KeeperProgram, KeeperSpec, Runtime},
};
use standstill_local::{LocalJournals, LocalLocks, LocalRuntime, StateDir};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [agent, state, lease, scenario, rest @ ..] = arguments.as_slice() else {
        return Err(Error::input("usage: runner AGENT STATE LEASE SCENARIO ARGUMENTS"));
    };
    let state = StateDir::at(Path::new(state))?;
    let lease =
        Duration::from_millis(lease.parse().map_err(|cause| Error::input("no lease").because(cause))?);
    let expectation = Arc::new(|wanted: &str, result: &serde_json::Value| {
        Ok(result.get("stdout").and_then(serde_json::Value::as_str).is_some_and(|said| said.contains(wanted)))
    });
    let runtime = LocalRuntime::new(Path::new(agent), Some(Vec::new()), &state, lease, expectation)?;
    match scenario.as_str() {
        "producer" => {
            let _producer = runtime.producer(&here(rest)?, &CancellationToken::new()).await?;
            ready("");
            // The executor is kept busy for ever: renewals must not need it.
            loop {
                std::thread::park();
            }
        }
        "session" | "session that may outlive" => {
            let mut command = here(rest)?;
            if scenario != "session" {
                command.may_outlive = lease * 3;
            }
            let _session = runtime.session(&command).await?;
            ready("");
            std::future::pending().await
        }
        "journal" => {
            let run = RunId::generate();
            let journal = LocalJournals::new(&state).create(&run).await?;
            journal.append(&Event::Cut).await?;
            let _lock = LocalLocks::new(&state).acquire("target", &run).await?;
            ready(run.as_str());
            std::future::pending().await
        }
        "keep" => keep(&runtime, lease, rest).await,
        _ => Err(Error::input(format!("no scenario {scenario}"))),
    }
}

/// A command that runs where this runner does.
fn here(argv: &[String]) -> Result<Command> {
    let mut command = Command::new(argv);
    let directory = std::env::current_dir().map_err(|cause| Error::failed("no directory").because(cause))?;
    command.directory = Some(directory);
    Ok(command)
}

/// Keeps a hold of the test client: `pair DIRECTORY` or `session DIRECTORY`, whose state is the file `held` there.
async fn keep(runtime: &LocalRuntime, lease: Duration, arguments: &[String]) -> Result<()> {
    let [kind, directory] = arguments else { return Err(Error::input("usage: keep pair|session DIRECTORY")) };
    let spec = spec(kind, &PathBuf::from(directory), lease);
    let record = runtime.keeper_record(&spec, &RunId::generate())?;
    // Before it is kept, as a journal would have it.
    println!("{record}");
    let mut acquired = runtime.keep(&spec, &record).await?;
    ready("");
    loop {
        tokio::time::sleep(lease / 3).await;
        acquired.hold.renew().await?;
    }
}

fn spec(kind: &str, directory: &Path, lease: Duration) -> KeeperSpec {
    let script = |text: &str| {
        let mut command = Command::new(["sh", "-c", text]);
        command.directory = Some(directory.to_owned());
        command
    };
    let program = if kind == "pair" {
        KeeperProgram::Pair {
            acquire: script("echo acquired >> log; touch held"),
            confirm: Some((script("cat held && echo yes"), "yes".to_owned())),
            release: script("test ! -e broken && rm -f held && echo released >> log"),
        }
    } else {
        KeeperProgram::Session {
            client: script(
                "while read line; do case $line in PAUSE) touch held; echo OK;; RESUME) rm -f held;; esac; done",
            ),
            send: vec!["PAUSE".to_owned()],
            until: "^OK$".to_owned(),
            keep_alive: None,
            confirm: None,
            release: vec!["RESUME".to_owned()],
            release_until: None,
            survives_client: kind == "survivor",
        }
    };
    KeeperSpec { name: "pause".to_owned(), program, lease, timeout: Duration::from_secs(5) }
}

fn ready(what: &str) {
    println!("ready {what}");
}
