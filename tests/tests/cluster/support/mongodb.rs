//! Servers that speak MongoDB's protocol in pods, and somebody who writes to them over a forwarded port: nothing in the
//! fake's image could.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use bson::doc;

use super::{
    Space, eventually, image,
    mongodb_client::Client,
    place::{Outcome, Started},
    writer::{Commit, Writer},
};

/// The database of the tests.
const DATABASE: &str = "app";

/// A server in a pod.
pub struct Mongod<'a> {
    space: &'a Space,
    target: String,
    forward: Forward,
}

impl<'a> Mongod<'a> {
    /// Starts the fake, in the pod `mongo`.
    pub fn fake(space: &'a Space) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_fake-mongod"));
        let image = image::at(&space.state, "fake-mongod", program, "/usr/bin/mongod");
        Self::start(space, "mongo", &image)
    }

    /// Starts `SecantusDB` in a pod; `None`, and said, where the cluster has no image of it.
    pub fn secantus(space: &'a Space, pod: &str) -> Option<Self> {
        let there = image::is_there(&space.state, "secantusdb");
        there.then(|| Self::start(space, pod, "standstill.test/secantusdb:1"))
    }

    fn start(space: &'a Space, pod: &str, image: &str) -> Self {
        let manifest = std::fs::read_to_string(image::folder().join("manifests/mongod.yaml")).unwrap();
        space.apply(&manifest.replace("IMAGE", image).replace("NAME", pod));
        let target = format!("pod/{pod}");
        space.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", &target]);
        let server = Self { space, forward: Forward::to(space, &target), target };
        eventually(Duration::from_secs(30), "the server answers", || {
            Client::open(server.forward.port)
                .and_then(|mut client| client.ask("admin", doc! {"ping": 1}))
                .is_ok()
        });
        server
    }

    /// Somebody who writes to it.
    pub fn writer(&self) -> Writer {
        let port = self.forward.port;
        let last = self.numbers().into_iter().max().unwrap_or_default();
        Writer::start(last, move || {
            let mut client = Client::open(port).unwrap();
            let commit: Commit = Box::new(move |number| {
                let insert = doc! {"insert": "rows", "documents": [{"_id": number, "text": "an order"}]};
                let answer = client.ask(DATABASE, insert)?;
                if answer.contains_key("writeErrors") { Err(answer.to_string()) } else { Ok(()) }
            });
            commit
        })
    }

    /// Every number in it.
    #[track_caller]
    pub fn numbers(&self) -> Vec<i64> {
        let mut client = Client::open(self.forward.port).unwrap();
        let command = doc! {"find": "rows", "projection": {"_id": 1}, "batchSize": 100_000};
        let documents = client.all(DATABASE, command).unwrap();
        documents.iter().map(|document| document.get_i64("_id").unwrap()).collect()
    }

    /// What runs hold in it.
    #[track_caller]
    pub fn held(&self) -> Vec<String> {
        let mut client = Client::open(self.forward.port).unwrap();
        let operations = client.ask("admin", doc! {"currentOp": 1, "$ownOps": true}).unwrap();
        let locked = operations.get_bool("fsyncLock").unwrap_or(false).then(|| "it is locked".to_owned());
        let marks = client.all("local", doc! {"find": "standstill"}).unwrap();
        locked.into_iter().chain(marks.iter().map(|mark| format!("a mark is left: {mark}"))).collect()
    }

    /// Starts a backup.
    #[track_caller]
    pub fn start_backup(&self, blueprint: &str, more: &[&str]) -> Started {
        let target = format!("--set=target.workload={}", self.target);
        let arguments = ["backup", blueprint, "--name=carts", "--output=json", &target];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        self.space.start(&arguments)
    }

    /// Runs `restore` or `verify` of the newest recovery point, which must succeed.
    #[track_caller]
    pub fn of_newest(&self, command: &str, more: &[&str]) -> Outcome {
        let target = format!("--set=target.workload={}", self.target);
        let arguments = [command, "latest", "--output=json", &target];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        let outcome = self.space.run(&arguments);
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        outcome
    }

    /// The numbers in the files on a claim: those of the journal, which a start would take over.
    #[track_caller]
    pub fn numbers_on(&self, claim: &str) -> Vec<i64> {
        let text = self.space.read_on(claim, "cat /data/db/journal");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| line.strip_suffix(';').unwrap().parse().unwrap()).collect()
    }
}

/// A port of a pod on this machine, for as long as this lives.
struct Forward {
    port: u16,
    child: Child,
}

impl Forward {
    #[track_caller]
    fn to(space: &Space, pod: &str) -> Self {
        let mut command = space.command(&["port-forward", "--address=127.0.0.1", pod, ":27017"]);
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        // It says each connection; nobody must wait for a reader.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port in `{line}`"));
        Self { port, child }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
