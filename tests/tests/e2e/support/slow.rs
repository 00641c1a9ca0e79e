//! A backup that stands still in the middle of its capture, for as long as a test needs.

use std::{fs, path::PathBuf, time::Duration};

use super::{
    Subject, eventually,
    place::{Outcome, Started},
    subject::shipped,
};

/// Such a backup: everything is held.
pub struct Slow {
    pub runner: Started,
    go_on: PathBuf,
}

impl Slow {
    /// Starts one, with these values besides, and waits until it stands still.
    pub fn start(subject: &Subject, more: &[&str]) -> Self {
        let began = subject.place.join("began");
        let _of_an_earlier_one = fs::remove_file(&began);
        let text = Self::blueprint(subject);
        let mut arguments = subject.with_blueprint(&text);
        arguments.extend(more.iter().map(|value| format!("--set={value}")));
        let mut runner = subject.place.start(arguments);
        eventually(Duration::from_mins(1), "the slow step begins", || began.exists() || runner.has_ended());
        let go_on = subject.place.join("go-on");
        if began.exists() { Self { runner, go_on } } else { panic!("ended too early: {}", runner.wait()) }
    }

    /// The blueprint that ships, with a step more in `capture` that says that it began and then takes a minute, or
    /// until there is a file `go-on`.
    pub fn blueprint(subject: &Subject) -> String {
        let (began, go_on) = (subject.place.join("began"), subject.place.join("go-on"));
        let script = subject.script(
            "slow",
            &format!(
                "touch '{}'; n=0; while [ $n -lt 600 ] && [ ! -e '{}' ]; do sleep 0.1; n=$((n + 1)); done",
                began.display(),
                go_on.display()
            ),
        );
        let text = shipped(subject.kind.blueprint());
        let capture = "      capture:\n";
        assert_eq!(text.matches(capture).count(), 1);
        let step = format!(
            "{capture}        - name: slow\n          exec: {{command: [\"{}\"]}}\n",
            script.display()
        );
        text.replace(capture, &step)
    }

    /// Lets it go on, and waits for its end.
    pub fn finish(self) -> Outcome {
        fs::write(&self.go_on, "").unwrap();
        let outcome = self.runner.wait();
        fs::remove_file(self.go_on).unwrap();
        outcome
    }
}
