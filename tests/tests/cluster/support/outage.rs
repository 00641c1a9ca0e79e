//! Daemons of the cluster that stop for a while, and containers that end at once.

use std::{
    process::Command,
    time::{Duration, SystemTime},
};

use super::{Space, eventually, image, place::Started, process};

/// A daemon that is stopped, or does not answer; it runs again when this is dropped.
pub struct Outage {
    /// The process, where it is only frozen.
    frozen: Option<String>,
    /// When it began, in seconds since 1970.
    pub since: f64,
}

impl Outage {
    /// Ends a daemon: connections to it break.
    #[track_caller]
    pub fn stop(daemon: &str) -> Self {
        let since = now();
        run(Command::new(image::folder().join("stop")).arg(daemon));
        Self { frozen: None, since }
    }

    /// Freezes a daemon: connections to it stay, and nobody answers.
    #[track_caller]
    pub fn freeze(daemon: &str) -> Self {
        let kubeconfig = std::env::var_os("STANDSTILL_KUBECONFIG").unwrap();
        let daemons = std::path::Path::new(&kubeconfig).with_file_name("daemons");
        let known = std::fs::read_to_string(daemons.join(daemon)).unwrap();
        let process = known.split(' ').next().unwrap().to_owned();
        run(Command::new("kill").args(["-STOP", &process]));
        Self { frozen: Some(process), since: now() }
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        match &self.frozen {
            Some(process) => run(Command::new("kill").args(["-CONT", process])),
            None => run(&mut Command::new(image::folder().join("up"))),
        }
    }
}

/// The processes of the container of the runner that runs, once its node has noted it.
fn of_runner(space: &Space) -> Option<Vec<u32>> {
    let pods =
        ["get", "pods", "--selector=standstill.dev/role=runner", "--field-selector=status.phase=Running"];
    let id = "--output=jsonpath={.items[0].status.containerStatuses[?(@.name==\"runner\")].containerID}";
    let said = space.try_kubectl(&[&pods[..], &[id]].concat());
    let id = String::from_utf8_lossy(&said.stdout).trim().strip_prefix("containerd://")?.to_owned();
    let listed = std::fs::read_to_string(format!("/sys/fs/cgroup/pids/k8s.io/{id}/cgroup.procs")).ok()?;
    Some(listed.lines().map(|process| process.parse().unwrap()).collect())
}

/// Ends every process of the runner's container at once, as a node does that has no memory left for it.
#[track_caller]
pub fn kill_runner(space: &Space) {
    let mut processes = None;
    // The node notes a container up to a second after it has begun.
    eventually(Duration::from_secs(30), "the runner's container is known", || {
        processes = of_runner(space);
        processes.is_some()
    });
    let processes = processes.into_iter().flatten().map(|process| process.to_string());
    run(Command::new("kill").arg("-KILL").args(processes));
}

/// Waits until a runner has stopped itself at its failpoint, and deletes its pod then; `false` when it ended before.
#[track_caller]
pub fn delete_stopped_runner(space: &Space, started: &mut Started) -> bool {
    let is_stopped = |space: &Space| {
        of_runner(space)
            .is_some_and(|all| all.into_iter().any(|process| process::state(process) == Some('T')))
    };
    let mut ended = false;
    eventually(Duration::from_mins(3), "the runner has stopped itself, or has ended", || {
        ended = started.has_ended();
        ended || is_stopped(space)
    });
    if !ended {
        delete_runner(space);
    }
    !ended
}

/// Deletes the runner's pod without any grace, as nobody should.
#[track_caller]
pub fn delete_runner(space: &Space) {
    let pods = space.kubectl(&["get", "pods", "--selector=standstill.dev/role=runner", "--output=name"]);
    space.kubectl(&["delete", pods.trim(), "--grace-period=0", "--force"]);
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let good = output.status.success() || std::thread::panicking();
    assert!(good, "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
