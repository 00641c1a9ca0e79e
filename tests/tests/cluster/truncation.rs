//! Streams from a pod into the repository and back: whole, or not at all.

use std::{fmt::Write as _, path::PathBuf, process::Command, time::Duration};

use crate::support::{
    Space, eventually,
    outage::delete_runner,
    place::Outcome,
    runs::{journal, states},
    sample::full,
};

/// A program of the target's image that writes this many bytes which nothing else begins with, the same ones each time,
/// or compares what it reads with them.
const STREAM: &str = "import random,sys;\
    how,number,mib=sys.argv[1],int(sys.argv[2]),int(sys.argv[3]);\
    source=random.Random(number);\
    same=True\nfor _ in range(mib):\n\
    \x20   part=source.randbytes(1<<20)\n\
    \x20   if how=='write': sys.stdout.buffer.write(part)\n\
    \x20   else: same=same and sys.stdin.buffer.read(1<<20)==part\n\
    if how=='compare' and (not same or sys.stdin.buffer.read(1)): sys.exit('stream %d is another one'%number)\n";

/// How long the streams of a full run may take: 10 GiB, on a machine that does other things too.
const LONGEST: Duration = Duration::from_mins(25);

/// A pod whose image has that program's interpreter.
struct Streams<'a> {
    space: &'a Space,
    blueprint: PathBuf,
}

impl<'a> Streams<'a> {
    /// With streams of these sizes in mebibytes, and one by another command at the end.
    fn of(space: &'a Space, sizes: &[u32], last: &str) -> Self {
        space.apply(
            r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"}, "spec": {
              "terminationGracePeriodSeconds": 0, "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
              "containers": [{"name": "app", "image": "standstill.test/databases:1", "imagePullPolicy": "Never",
                "command": ["sleep", "100000"]}]}}"#,
        );
        space.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "pod/app"]);
        let program = serde_json::to_string(STREAM).unwrap();
        let (mut put, mut get) = (String::new(), String::new());
        for (number, size) in sizes.iter().enumerate() {
            let stream = |how: &str| {
                format!(
                    "stream: {{artifact: part/{number}, command: [python3, -c, {program}, {how}, \"{number}\", \"{size}\"]"
                )
            };
            writeln!(put, "        - {}, consistent: true}}", stream("write")).unwrap();
            writeln!(get, "        - {}}}", stream("compare")).unwrap();
        }
        put.push_str(last);
        let text = format!(
            "apiVersion: standstill.dev/v1alpha1\nkind: Blueprint\nmetadata: {{name: streams}}\nspec:\n  summary: Streams\n  \
             actions:\n    backup:\n      capture:\n{put}    restore:\n      steps:\n{get}"
        );
        let blueprint = space.place.file("streams.yaml", &text);
        space.place.init();
        Self { space, blueprint }
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let common = ["--output=json", "--set=target.workload=pod/app"];
        let arguments: Vec<&str> = arguments.iter().chain(&common).copied().collect();
        self.space.start(&arguments).wait_within(LONGEST)
    }

    fn backup(&self) -> Outcome {
        self.run(&["backup", self.blueprint.to_str().unwrap()])
    }
}

/// Stores streams of these sizes in mebibytes, and compares them on their way back.
fn there_and_back(name: &str, sizes: &[u32]) {
    let Some(space) = Space::new(name) else { return };
    let streams = Streams::of(&space, sizes, "");
    let backup = streams.backup();
    assert_eq!(backup.code(), Some(0), "{backup}");
    let report = backup.json();
    let artifacts = report["artifacts"].as_array().unwrap();
    assert_eq!(artifacts.len(), sizes.len());
    for (artifact, size) in artifacts.iter().zip(sizes) {
        assert_eq!(artifact["bytes"], u64::from(*size) << 20, "{artifact}");
    }
    let restore = streams.run(&["restore", "latest"]);
    assert_eq!(restore.code(), Some(0), "{restore}");
    println!("{} streams: stored in {:?}, compared in {:?}", sizes.len(), backup.took, restore.took);
    space.assert_clean();
}

#[test]
fn many_streams_from_a_pod_come_back_bit_for_bit() {
    there_and_back("streams", &vec![16; if full() { 200 } else { 4 }]);
}

#[test]
fn large_streams_from_a_pod_come_back_bit_for_bit() {
    let sizes = if full() { vec![2048; 5] } else { vec![64] };
    there_and_back("large", &sizes);
}

#[test]
fn a_producer_that_is_killed_in_a_pod_leaves_no_recovery_point() {
    let Some(space) = Space::new("killed") else { return };
    let dies = "        - {name: dies, stream: {artifact: dies, consistent: true, command: [sh, -c, \
                \"head -c 10485760 /dev/urandom; echo half way >&2; kill -9 $$\"]}}\n";
    let streams = Streams::of(&space, &[1], dies);
    let outcome = streams.backup();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("sh was killed by signal 9") && message.contains("half way"), "{message}");
    assert_eq!(space.place.points(), Vec::<String>::new());
    space.assert_clean();
}

/// What a network does to a connection that it cuts.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// It is reset, and so is every new one.
    Reset,
    /// Nothing comes through any more.
    Silent,
}

/// A pod that the object store is out of reach of, for as long as this lives.
struct Apart(Vec<String>);

impl Apart {
    fn new(address: &str, cut: Cut) -> Self {
        let mut rule: Vec<String> = ["FORWARD", "--source", address, "--protocol", "tcp", "--dport", "9000"]
            .map(str::to_owned)
            .into();
        let target: &[&str] = match cut {
            Cut::Reset => &["--jump", "REJECT", "--reject-with", "tcp-reset"],
            Cut::Silent => &["--jump", "DROP"],
        };
        rule.extend(target.iter().map(|word| (*word).to_owned()));
        assert!(Self::iptables("--insert", &rule), "{rule:?}");
        Self(rule)
    }

    fn iptables(command: &str, rule: &[String]) -> bool {
        let cluster = std::env::var("STANDSTILL_CLUSTER").unwrap_or_else(|_| "standstill".to_owned());
        let mut iptables = Command::new("nsenter");
        iptables
            .arg(format!("--net=/var/run/netns/{cluster}"))
            .args(["iptables", "--wait", command])
            .args(rule);
        iptables.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        assert!(Self::iptables("--delete", &self.0) || std::thread::panicking());
    }
}

#[test]
fn a_connection_to_the_repository_that_is_cut_in_the_middle_of_a_stream_leaves_no_recovery_point() {
    // Silence is noticed by deadlines alone, which slow lines need long.
    for cut in if full() { vec![Cut::Reset, Cut::Silent] } else { vec![Cut::Reset] } {
        println!("{cut:?}");
        let Some(space) = Space::new("cut") else { return };
        let long = "        - {name: long, stream: {artifact: long, consistent: true, command: [sh, -c, \
                    \"while sleep 0.2; do head -c 4194304 /dev/urandom; done\"]}}\n";
        let streams = Streams::of(&space, &[1], long);
        let blueprint = streams.blueprint.to_str().unwrap();
        let mut run = space.start(&["backup", blueprint, "--output=json", "--set=target.workload=pod/app"]);
        await_first_stream(&space);
        let runner = space.get(&["pods", "--selector=standstill.dev/role=runner"]);
        let address = runner["items"][0]["status"]["podIP"].as_str().unwrap().to_owned();
        assert!(!run.has_ended(), "{}", run.stderr());
        let apart = Apart::new(&address, cut);
        let outcome = run.wait_within(LONGEST);
        assert_eq!(outcome.code(), Some(1), "{outcome}");
        println!("{:?}: {}", outcome.took, outcome.json()["error"]["message"]);
        assert_eq!(outcome.json()["error"]["step"], "capture.long", "{outcome}");
        drop(apart);
        assert_eq!(space.place.points(), Vec::<String>::new());
        // What was stored and could not be removed is a stray, of which a check says nothing.
        space.place.ok(["check", "--read-data"]);
    }
}

/// Waits until the first stream of the one run is stored; the run.
#[track_caller]
fn await_first_stream(space: &Space) -> String {
    let mut id = String::new();
    eventually(Duration::from_mins(2), "the first stream is stored", || {
        let runs = space.run_plain(&["runs"]).json();
        let Some(found) = runs[0]["run"].as_str() else { return false };
        found.clone_into(&mut id);
        journal(space, &id).iter().any(|event| !event["done"]["artifacts"][0].is_null())
    });
    id
}

#[test]
fn a_runner_that_is_evicted_in_the_middle_of_a_stream_leaves_no_recovery_point() {
    let Some(space) = Space::new("midstream") else { return };
    let endless = "        - {name: endless, stream: {artifact: endless, consistent: true, command: [sh, -c, \
                   \"head -c 10485760 /dev/urandom; sleep 1000\"]}}\n";
    let streams = Streams::of(&space, &[1], endless);
    let blueprint = streams.blueprint.to_str().unwrap();
    let run = space.start(&["backup", blueprint, "--output=json", "--set=target.workload=pod/app"]);
    let id = await_first_stream(&space);
    delete_runner(&space);
    let outcome = run.wait();
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    assert_eq!(space.place.points(), Vec::<String>::new());
    eventually(Duration::from_mins(2), "the dead run is recovered", || {
        space.run_plain(&["recover"]);
        states(&space) == [(id.clone(), "failed".to_owned())]
    });
    assert_eq!(space.place.points(), Vec::<String>::new());
    space.assert_clean();
    space.place.ok(["check", "--read-data"]);
}
