use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command as Process, Stdio},
    time::{Duration, Instant},
};

use standstill_core::secret::Secret;

use super::*;

fn command(argv: &[&str]) -> Command {
    Command::new(argv.iter().copied())
}

/// Runs a script in a shell of this machine; what it printed.
fn run(script: &Script) -> String {
    let mut shell = Process::new(&script.argv[0]);
    shell.args(&script.argv[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(script.input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn nothing_of_a_command_is_read_as_a_script() {
    let odd = "a 'b' \"c\" $(id) `id` $HOME * \\ ;\n& | é";
    let script =
        Builder::new("t", []).command("ss_command", &command(&["printf", "%s", odd])).unwrap().exec();
    assert_eq!(run(&script), odd);
}

#[test]
fn variables_come_by_standard_input_with_all_their_lines() {
    let mut printenv = command(&["printenv", "ONE"]);
    printenv.env.insert("ONE".into(), "1\n.\n\n$TWO\n".into());
    printenv.secret_env.insert("TWO".into(), Secret::new("hidden"));
    let script = Builder::new("t", []).command("ss_command", &printenv).unwrap().exec();
    assert!(script.argv.iter().all(|argument| !argument.contains("hidden")));
    assert_eq!(run(&script), "1\n.\n\n$TWO\n\n");
}

#[test]
fn a_variable_that_no_shell_has_is_refused() {
    for name in ["a-b", "1a", "", "ss_word", "a b"] {
        let mut wrong = command(&["true"]);
        wrong.env.insert(name.into(), String::new());
        assert!(Builder::new("t", []).command("ss_command", &wrong).is_err(), "{name}");
    }
}

#[test]
fn a_line_of_a_session_is_one_line() {
    assert!(Builder::new("t", []).lines("ss_lines", &["a\nb".into()]).is_err());
}

#[test]
fn no_line_of_a_script_ends_it_early() {
    for part in [COMMON, EXEC, KEEPER, PAIR, SESSION, DISPOSE] {
        assert!(part.lines().all(|line| line != "."));
        assert!(part.ends_with('\n'));
    }
}

/// The file in which a keeper of this name notes what it does, in a directory of its own.
fn notes(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("standstill-keeper-{name}-{}/notes", std::process::id()))
}

fn builder(name: &str, lease: u32) -> Builder {
    Builder::new(&format!("standstill-keeper {name}"), ["WORD".into(), lease.to_string()])
}

/// A keeper in a shell of this machine. What it does it notes in a file: `a` for acquired, `r` for released.
struct Keeper {
    notes: PathBuf,
    shell: Child,
    input: Option<ChildStdin>,
}

impl Keeper {
    fn start(name: &str, by_session: bool, lease: u32) -> Self {
        if by_session {
            return Self::of_client(name, lease, "", None);
        }
        let notes = notes(name);
        let note = |what: &str| command(&["sh", "-c", &format!("printf {what} >>{}", notes.display())]);
        let builder = builder(name, lease).command("ss_acquire", &note("a")).unwrap();
        let builder = builder.command("ss_release", &note("r")).unwrap();
        let script = builder.command("ss_confirm", &command(&["echo", "held"])).unwrap().pair();
        Self::begin(&script, notes, "")
    }

    /// One whose client notes the lines that it gets, and does `more` after each; `until` is what it must say.
    fn of_client(name: &str, lease: u32, more: &str, until: Option<&str>) -> Self {
        let notes = notes(name);
        let client = format!("while read -r line; do printf $line >>{}; {more}\ndone", notes.display());
        let builder = builder(name, lease).command("ss_client", &command(&["sh", "-c", &client])).unwrap();
        let builder = builder.lines("ss_lines", &["r".into()]).unwrap().until(until).unwrap();
        Self::begin(&builder.session(true), notes, "send a\n")
    }

    fn begin(script: &Script, notes: PathBuf, orders: &str) -> Self {
        fs::create_dir_all(notes.parent().unwrap()).unwrap();
        fs::write(&notes, "").unwrap();
        // In a session of its own, as a container's runtime starts it.
        let mut shell = Process::new("setsid");
        shell.args(&script.argv).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = shell.spawn().unwrap();
        let mut input = shell.stdin.take().unwrap();
        input.write_all(script.input.as_bytes()).unwrap();
        input.write_all(orders.as_bytes()).unwrap();
        let keeper = Self { notes, shell, input: Some(input) };
        keeper.notes("a");
        keeper
    }

    fn say(&mut self, orders: &str) {
        self.input.as_mut().unwrap().write_all(orders.as_bytes()).unwrap();
    }

    /// Waits until it has noted exactly this; for how long.
    fn notes(&self, expected: &str) -> Duration {
        let started = Instant::now();
        while fs::read_to_string(&self.notes).unwrap() != expected {
            assert!(started.elapsed() < Duration::from_mins(1), "{:?}", fs::read_to_string(&self.notes));
            std::thread::sleep(Duration::from_millis(10));
        }
        started.elapsed()
    }

    /// Waits until the shell has ended; what it said.
    fn ends(&mut self) -> String {
        let mut said = String::new();
        self.shell.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.shell.wait().unwrap();
        said
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.input = None;
        let _ended = self.shell.wait();
        // With its directory: a timer that lets go once more at the end of the input makes no new file then.
        let _removed = self.notes.parent().map(fs::remove_dir_all);
    }
}

#[test]
fn a_keeper_does_what_it_is_told_and_leaves_no_process() {
    let mut keeper = Keeper::start("orders", false, 600);
    for id in 1..100 {
        keeper.say(&format!("renew {id}\n"));
    }
    keeper.say("confirm 100\nrelease 101\nend\n");
    // Its output ends only with the last of its processes.
    assert_eq!(keeper.ends(), "\nWORD done 0 0\nheld\n\nWORD done 100 0\n\nWORD done 101 0\n");
    keeper.notes("ar");
}

#[test]
fn a_keeper_lets_go_at_end_of_file() {
    for by_session in [false, true] {
        let mut keeper = Keeper::start(&format!("eof-{by_session}"), by_session, 600);
        keeper.input = None;
        keeper.ends();
        keeper.notes("ar");
    }
}

#[test]
fn a_keeper_lets_go_at_the_end_of_its_lease_though_its_input_stays_open() {
    for by_session in [false, true] {
        let keeper = Keeper::start(&format!("lease-{by_session}"), by_session, 1);
        keeper.notes("ar");
    }
}

#[test]
fn a_renewed_keeper_holds_on_for_longer_than_its_lease() {
    let mut keeper = Keeper::start("renewed", true, 2);
    for id in 0..8 {
        std::thread::sleep(Duration::from_millis(500));
        keeper.say(&format!("renew {id}\n"));
    }
    keeper.notes("a");
    keeper.say("release\n");
    keeper.notes("ar");
}

#[test]
fn a_client_that_does_not_say_that_it_let_go_is_told_again_until_it_does() {
    for (name, lease, gone) in [("said-eof", 600, true), ("said-lease", 1, false)] {
        // It ends with status 0 whatever it says.
        let more = format!("[ $(wc -c <{}) -ge 4 ] && echo off || echo 'still on'", notes(name).display());
        let mut keeper = Keeper::of_client(name, lease, &more, Some("^o(f){2}$"));
        if gone {
            keeper.input = None;
        }
        keeper.notes("arrr");
        keeper.input = None;
        keeper.ends();
        keeper.notes("arrr");
    }
}

#[test]
fn patterns_that_mean_something_else_to_grep_are_refused() {
    for same in ["^OK$", "unlocked|was not locked", r"^\(1 row\)\.$", "[0-9]+ left", "a{2,3}b?", "[?*]*"] {
        assert_eq!(extended(same).unwrap(), same);
    }
    for other in ["", r"\d+", "(?i)ok", "a+?", "[[:alpha:]]", r"[\]]", "a\nb", "[a-z&&b]", r"\"] {
        let error = extended(other).unwrap_err();
        assert!(error.to_string().starts_with("`releaseUntil: "), "{other}: {error}");
    }
}
