//! What is done with a subject.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    place::{Outcome, Started},
    process,
    subject::{Application, Subject},
};

impl Subject {
    /// `backup …` of it.
    pub fn backup_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["backup".to_owned(), self.blueprint.clone(), "--output=json".to_owned()];
        arguments.extend(self.values().iter().map(|value| format!("--set={value}")));
        arguments
    }

    /// Backs it up.
    #[track_caller]
    pub fn backup(&self) -> Outcome {
        self.place.run(self.backup_arguments())
    }

    /// Backs it up, which must succeed; the recovery point.
    #[track_caller]
    pub fn backup_ok(&self) -> String {
        let outcome = self.backup();
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        let report = outcome.json();
        assert_eq!(report["consistency"], self.kind.consistency(), "{outcome}");
        report["recoveryPoint"].as_str().unwrap_or_else(|| panic!("no recovery point: {outcome}")).to_owned()
    }

    /// Backs it up over TCP, with these values besides.
    #[track_caller]
    pub fn backup_over_tcp(&self, more: &[String]) -> Outcome {
        let mut arguments = self.backup_arguments();
        arguments.extend(["--set=socket=".to_owned(), "--set=host=127.0.0.1".to_owned()]);
        arguments.extend(more.iter().map(|value| format!("--set={value}")));
        self.place.run(arguments)
    }

    /// Verifies a recovery point.
    #[track_caller]
    pub fn verify(&self, point: &str) -> Outcome {
        self.place.run(["verify", point, "--output=json"])
    }

    /// Verifies a recovery point, which must pass.
    #[track_caller]
    pub fn verify_ok(&self, point: &str) {
        let outcome = self.verify(point);
        assert_eq!(outcome.code(), Some(0), "{}: {outcome}", self.kind);
        let report = outcome.json();
        assert_eq!(report["outcome"], "passed", "{outcome}");
        assert_ne!(report["checks"].as_array().map(Vec::len), Some(0), "{outcome}");
    }

    /// The arguments of a backup with a blueprint of one's own in the place of the one that ships.
    pub fn with_blueprint(&self, text: &str) -> Vec<String> {
        let path = self.place.file("own.yaml", text);
        let mut arguments = self.backup_arguments();
        path.to_str().unwrap().clone_into(&mut arguments[1]);
        arguments
    }

    /// Asserts that a backup was refused with that status and these words, and that nothing is left of it.
    #[track_caller]
    pub fn assert_refused(&self, outcome: &Outcome, status: i32, says: &[&str]) {
        outcome.claims_nothing(status, says);
        assert_eq!(self.place.points(), Vec::<String>::new());
        self.assert_clean();
    }

    /// An executable script of the shell's.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.place.file(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Backs up into another repository, and tells people of it.
    pub fn backup_into(&self, repository: &Path) -> Outcome {
        let mut arguments = self.backup_arguments();
        arguments.retain(|argument| argument != "--output=json");
        arguments.push(format!("--repository={}", repository.display()));
        self.place.run(arguments)
    }

    /// Kills a runner together with its keeper: nobody is left who would let go by himself.
    #[track_caller]
    pub fn kill_with_keeper(&self, runner: Started) {
        // It must not see that its keeper is gone.
        runner.signal(Signal::STOP);
        let keepers: Vec<_> = process::all()
            .into_iter()
            .filter(|process| process.program.as_deref() == Some(self.place.binary.as_path()))
            .filter(|process| process.line().ends_with("agent keep"))
            .collect();
        assert_eq!(keepers.len(), 1, "{keepers:?}");
        let keeper = Pid::from_raw(i32::try_from(keepers[0].pid).unwrap()).unwrap();
        kill_process(keeper, Signal::KILL).unwrap();
        runner.signal(Signal::KILL);
        assert!(runner.wait().was_killed());
    }

    /// Kills the server with everything that it started.
    #[track_caller]
    pub fn kill_server(&mut self) {
        match &mut self.application {
            Application::Postgresql(server) => {
                let file = fs::read_to_string(server.data.join("postmaster.pid")).unwrap();
                let pid = Pid::from_raw(file.lines().next().unwrap().parse().unwrap()).unwrap();
                kill_process(pid, Signal::KILL).unwrap();
                server.stop();
            }
            Application::Mariadb(server) => server.end(Signal::KILL),
            Application::Redis(server) => server.end(Signal::KILL),
            Application::Mongodb(server) => server.end(Signal::KILL),
            Application::Etcd(member) => member.end(Signal::KILL),
            _ => panic!("{} has no server", self.kind),
        }
    }

    /// Starts it again.
    #[track_caller]
    pub fn start_server(&mut self) {
        match &mut self.application {
            Application::Postgresql(server) => server.start(),
            Application::Mariadb(server) => server.start(),
            Application::Redis(server) => server.start(),
            Application::Mongodb(server) => server.start(),
            Application::Etcd(member) => member.start(),
            _ => panic!("{} has no server", self.kind),
        }
    }
}
