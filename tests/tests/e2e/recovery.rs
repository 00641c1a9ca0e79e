//! Recovery of runs that died while they held an application: what stands in its way, and in whose way it stands.

use std::{fs, path::PathBuf, time::Duration};

use crate::support::{
    Application, Subject, eventually,
    kind::Kind,
    kv::{Kv, PROGRAM},
};

/// An application that its blueprint pauses, and that can be kept from being captured and from being resumed.
struct Paused {
    subject: Subject,
    /// While this is there a capture goes on and on.
    slow: PathBuf,
    /// While this is there nobody can resume it.
    stuck: PathBuf,
}

impl Paused {
    fn new() -> Self {
        let subject = Subject::new(&Kind::Pair).unwrap();
        let (slow, stuck) = (subject.place.join("slow"), subject.place.join("stuck"));
        let capture = subject.script(
            "capture",
            &format!(
                "touch {}; while [ -e {} ]; do sleep 0.1; done",
                subject.place.join("began").display(),
                slow.display()
            ),
        );
        let resume = format!("{PROGRAM} {} RESUME", subject.data().display());
        let release = subject.script("release", &format!("[ ! -e {} ] && {resume}", stuck.display()));
        let text = fs::read_to_string(&subject.blueprint).unwrap();
        let usual = "release: [\"{{ params.kv }}\", \"{{ params.directory }}\", RESUME]";
        let steps = "      capture:\n";
        assert!(text.contains(usual) && text.contains(steps), "{text}");
        let text = text
            .replace(usual, &format!("release: [{}]", release.display()))
            .replace(steps, &format!("{steps}        - exec: {{command: [\"{}\"]}}\n", capture.display()));
        fs::write(&subject.blueprint, text).unwrap();
        Self { subject, slow, stuck }
    }

    fn kv(&self) -> &Kv {
        match &self.subject.application {
            Application::Kv(kv) => kv,
            _ => panic!("not kv"),
        }
    }

    fn state(&self) -> String {
        self.kv().ask("STATE")
    }

    /// Has a backup of it die together with its keeper while it is paused; the run.
    fn dies(&self) -> String {
        let place = &self.subject.place;
        let began = place.join("began");
        let _of_an_earlier_one = fs::remove_file(&began);
        fs::write(&self.slow, "").unwrap();
        let mut runner = place.start(self.subject.backup_arguments());
        eventually(Duration::from_mins(1), "the capture begins", || began.exists() || runner.has_ended());
        self.subject.kill_with_keeper(runner);
        fs::remove_file(&self.slow).unwrap();
        assert_eq!(self.state(), "paused");
        place.newest_run()
    }
}

/// What the recovery lets go would be the new run's.
#[test]
fn while_a_dead_run_is_being_recovered_the_next_backup_holds_nothing() {
    let paused = Paused::new();
    let place = &paused.subject.place;
    fs::write(&paused.stuck, "").unwrap();
    let run = paused.dies();
    let recovery = place.start(["recover"]);
    let taken_over = || place.journal(&run).iter().any(|(event, _)| event == "takenOver");
    eventually(Duration::from_secs(30), "the run is taken over", taken_over);
    let outcome = paused.subject.backup();
    outcome.claims_nothing(1, &[&run, "is being recovered", "standstill runs"]);
    let journal = place.journal(&place.newest_run());
    let holds = |held: &serde_json::Value| held["undo"]["runtime"]["record"].get("keeper").is_some();
    assert!(journal.iter().all(|(_, held)| !holds(held)), "it was about to hold: {journal:?}");
    assert_eq!(paused.state(), "paused");
    fs::remove_file(&paused.stuck).unwrap();
    let recovered = recovery.wait();
    assert_eq!(recovered.code(), Some(0), "{recovered}");
    assert_eq!(paused.state(), "running");
    paused.subject.backup_ok();
    paused.subject.assert_clean();
}

#[test]
fn what_is_held_does_not_wait_for_a_repository_that_is_gone() {
    let paused = Paused::new();
    let run = paused.dies();
    let mut command = paused.subject.place.command(["recover"]);
    command.env("STANDSTILL_REPOSITORY", "/nonexistent");
    let recovered = paused.subject.place.spawn(command).wait();
    assert_eq!(recovered.code(), Some(0), "{recovered}");
    assert!(recovered.stdout.contains(&run), "{recovered}");
    assert!(recovered.stderr.contains("recovering without it"), "{recovered}");
    assert_eq!(paused.state(), "running");
}

#[test]
fn a_run_that_cannot_be_recovered_keeps_no_other_from_it() {
    let paused = Paused::new();
    let place = &paused.subject.place;
    // The next backup would recover it first, so it is out of sight meanwhile.
    let older = paused.dies();
    paused.kv().ask("RESUME");
    let (of_older, hidden) = (place.runs().join(&older), place.join("hidden"));
    fs::rename(&of_older, &hidden).unwrap();
    let newer = paused.dies();
    fs::rename(&hidden, &of_older).unwrap();
    let file = of_older.join("journal.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let (start, rest) = text.split_once('\n').unwrap();
    fs::write(&file, format!("{start}\n{{\"at\": \"never\"}}\n{rest}")).unwrap();
    let recovered = place.run(["recover", "--output=json"]);
    recovered.fails(1, &[&older, "could not be recovered", "line 2 of the journal"]);
    let told = recovered.json();
    assert_eq!(told[0]["run"], older, "{recovered}");
    assert_eq!(told[0]["failure"]["kind"], "failed", "{recovered}");
    assert_eq!(told[1]["run"], newer, "{recovered}");
    let undone = told[1]["undone"].as_array().unwrap();
    assert!(undone.contains(&"quiesce.pause".into()), "{recovered}");
    assert_eq!(paused.state(), "running");
    fs::write(&file, text).unwrap();
    place.ok(["recover"]);
    paused.subject.assert_clean();
}
