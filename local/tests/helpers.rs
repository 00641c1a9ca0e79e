//! Helpers in another container: they live for as long as their runner does, and then let go.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

mod common;

use std::{
    process::{Child, Command as Process},
    time::Duration,
};

use common::{Machine, example, signal, until};
use standstill_core::{
    point::RunId,
    runtime::{Command, Exit, KeeperProgram, KeeperSpec, Runtime},
};
use standstill_local::{Life, LocalRuntime};

const LONG: Duration = Duration::from_secs(30);

/// The server of helpers, with the runtime of a runner that knows it; ended with this value at the latest.
struct Server {
    machine: Machine,
    runtime: LocalRuntime,
    child: Child,
}

impl Server {
    fn start() -> Self {
        let machine = Machine::new(LONG);
        let socket = machine.path("socket");
        let child = Process::new(example("agent")).arg("helpers").arg(&socket).spawn().unwrap();
        let expectation = std::sync::Arc::new(|_: &str, _: &serde_json::Value| Ok(true));
        let runtime =
            LocalRuntime::new(&example("agent"), Some(Vec::new()), &machine.state, LONG, expectation);
        let runtime = runtime.unwrap().with_helpers(socket);
        Self { machine, runtime, child }
    }

    fn life(&self) -> Life {
        Life::begin(&self.machine.path("socket")).unwrap()
    }

    /// A helper that must outlive its runner.
    fn helper(&self, words: &[&str]) -> Command {
        let mut command = self.runtime.agent(words);
        command.may_outlive = LONG;
        command
    }

    fn echo(&self) -> Command {
        self.helper(&["hold", "echo", self.machine.path("let-go").to_str().unwrap()])
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

#[tokio::test]
async fn a_helper_is_talked_to_and_its_end_is_told() {
    let server = Server::start();
    let _life = server.life();
    let mut session = server.runtime.session(&server.echo()).await.unwrap();
    session.send("one").await.unwrap();
    session.send("two").await.unwrap();
    assert_eq!(session.receive(LONG).await.unwrap(), "heard one");
    assert_eq!(session.receive(LONG).await.unwrap(), "heard two");
    assert_eq!(session.close(LONG).await.unwrap(), Exit::Status(7));
    assert!(server.machine.path("let-go").exists());
}

#[tokio::test]
async fn a_helper_whose_session_is_dropped_lets_go() {
    let server = Server::start();
    let _life = server.life();
    let mut session = server.runtime.session(&server.echo()).await.unwrap();
    session.send("one").await.unwrap();
    session.receive(LONG).await.unwrap();
    drop(session);
    until("it lets go", LONG, || server.machine.path("let-go").exists());
}

#[tokio::test]
async fn the_server_stays_whatever_it_is_told_until_the_last_who_is_connected_has_gone() {
    let mut server = Server::start();
    let life = server.life();
    let mut session = server.runtime.session(&server.echo()).await.unwrap();
    session.send("one").await.unwrap();
    session.receive(LONG).await.unwrap();
    signal(server.child.id(), "TERM");
    drop(life);
    session.send("two").await.unwrap();
    assert_eq!(session.receive(LONG).await.unwrap(), "heard two");
    assert!(!server.has_ended());
    drop(session);
    until("the server ends", LONG, || server.has_ended());
    assert!(server.machine.path("let-go").exists());
    assert!(server.child.wait().unwrap().success());
}

#[tokio::test]
async fn a_keeper_is_started_there_and_lets_go_when_its_runner_is_gone() {
    let mut server = Server::start();
    let life = server.life();
    let program = KeeperProgram::Pair {
        acquire: server.machine.script("touch held"),
        confirm: Some((server.machine.script("test -e held"), "anything".to_owned())),
        release: server.machine.script("rm -f held"),
    };
    let spec = KeeperSpec { name: "pause".to_owned(), program, lease: LONG, timeout: LONG };
    let record = server.runtime.keeper_record(&spec, &RunId::generate()).unwrap();
    let mut kept = server.runtime.keep(&spec, &record).await.unwrap();
    assert!(server.machine.path("held").exists());
    kept.hold.renew().await.unwrap();
    kept.hold.confirm().await.unwrap();
    // As when its runner is killed: nobody says anything any more.
    drop((kept, life));
    until("it lets go", LONG, || !server.machine.path("held").exists());
    until("the server ends after it", LONG, || server.has_ended());
}

#[tokio::test]
async fn nothing_but_a_helper_that_holds_is_started() {
    let server = Server::start();
    let _life = server.life();
    let mut session = server.runtime.session(&server.helper(&["runner", "orders"])).await.unwrap();
    let error = session.receive(LONG).await.unwrap_err();
    assert!(error.to_string().contains("the helper `runner orders` is gone"), "{error}");
}

#[tokio::test]
async fn what_need_not_outlive_its_runner_runs_beside_it() {
    let server = Server::start();
    let _life = server.life();
    let mut session =
        server.runtime.session(&server.machine.script("read line; echo \"$line\"")).await.unwrap();
    session.send("here").await.unwrap();
    assert_eq!(session.receive(LONG).await.unwrap(), "here");
}

#[test]
fn a_pod_that_is_told_to_end_before_its_runner_came_does_not_wait_for_it() {
    let mut server = Server::start();
    let socket = server.machine.path("socket");
    until("it listens", LONG, || socket.exists());
    signal(server.child.id(), "TERM");
    until("it has ended", LONG, || server.has_ended());
}
