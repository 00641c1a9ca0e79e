//! Whether secrets are seen in what `/proc` tells everybody.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use super::process;

/// Looks at every command line and every environment under `/proc`, again and again.
pub struct Watch {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    found: JoinHandle<Vec<String>>,
}

/// What is looked for, and where it may be.
struct Look {
    secrets: Vec<String>,
    /// The programs that may have a secret in their environment; `None`: environments are not looked at.
    clients: Option<Vec<&'static str>>,
    /// The programs that others started, with whatever they say.
    strangers: Vec<&'static str>,
}

impl Watch {
    /// Looks at command lines, and at the environments of all programs but these.
    pub fn start(secrets: &[&str], may_have_environment: impl IntoIterator<Item = &'static str>) -> Self {
        let clients = Some(may_have_environment.into_iter().collect());
        Self::with(Look { secrets: owned(secrets), clients, strangers: Vec::new() })
    }

    /// Looks at command lines alone, but for those of these programs.
    pub fn of_command_lines(secrets: &[&str], but_of: impl IntoIterator<Item = &'static str>) -> Self {
        let strangers = but_of.into_iter().collect();
        Self::with(Look { secrets: owned(secrets), clients: None, strangers })
    }

    fn with(look: Look) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopping, count) = (Arc::clone(&stop), Arc::clone(&rounds));
        let found = std::thread::spawn(move || {
            let mut found = Vec::new();
            while !stopping.load(Ordering::Relaxed) {
                look.round(&mut found);
                count.fetch_add(1, Ordering::Relaxed);
            }
            found
        });
        Self { stop, rounds, found }
    }

    /// Asserts that none was seen.
    #[track_caller]
    pub fn found_nothing(self) {
        self.stop.store(true, Ordering::Relaxed);
        let found = self.found.join().unwrap();
        assert!(self.rounds.load(Ordering::Relaxed) > 5, "too few looks to prove anything");
        assert_eq!(found, Vec::<String>::new());
    }
}

fn owned(secrets: &[&str]) -> Vec<String> {
    secrets.iter().map(|secret| (*secret).to_owned()).collect()
}

impl Look {
    fn round(&self, found: &mut Vec<String>) {
        let own = std::process::id().to_string();
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let name = entry.file_name().into_string().unwrap();
            if name.bytes().all(|byte| byte.is_ascii_digit()) && name != own {
                self.process(name.parse().unwrap(), found);
            }
        }
    }

    fn process(&self, pid: u32, found: &mut Vec<String>) {
        let before = process::look(pid);
        let environment = match self.clients {
            Some(_) => fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(),
            None => Vec::new(),
        };
        let environment = String::from_utf8_lossy(&environment);
        // One that became another program, or ended, between the two looks is seen in the next round as what it is.
        let Some(process) = process::look(pid) else { return };
        if before.is_none_or(|before| before.command != process.command) || process.command.is_empty() {
            return;
        }
        let command = process.line();
        // A client gets its own password by its environment, and hands it to what it starts (`pg_dumpall` a shell).
        let parent = process::look(process.parent);
        let may_have = std::iter::once(&process)
            .chain(&parent)
            .any(|process| self.clients.iter().flatten().any(|client| *client == program(&process.command)));
        let is_strange = self.strangers.contains(&program(&process.command));
        for secret in &self.secrets {
            if !is_strange && command.contains(secret) {
                found.push(format!("the command line of {pid}: {command}"));
            }
            if !may_have && environment.contains(secret) {
                found.push(format!("the environment of {pid}: {command}"));
            }
        }
    }
}

/// The file name of a command line's program. MySQL's are scripts that have a loader of their own run the program
/// (`LOADER --library-path PATH PROGRAM`), and its dump is begun by a shell that becomes it (`sh -fc SCRIPT sh PROGRAM`).
fn program(command: &[String]) -> &str {
    let name = |at: usize| command.get(at).map_or("", |word| word.rsplit('/').next().unwrap_or_default());
    match name(0) {
        "sh" if command.get(2).is_some_and(|script| script.contains("exec \"$@\"")) => name(4),
        "sh" => name(1),
        loader if loader.starts_with("ld-linux") => name(3),
        program => program,
    }
}
