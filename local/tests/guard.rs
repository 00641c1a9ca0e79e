//! Children end when they must: with their runner, with its renewals, with their deadline.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

mod common;

use std::{collections::BTreeMap, fs, os::unix::fs::chown, time::Duration};

use common::{Machine, is_alive, number, parent, signal, until};
use standstill_core::{
    ErrorKind,
    hook::Undone,
    point::RunId,
    runtime::{Command, Exit, RunAs, Runtime},
    secret::Secret,
};
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(30);

/// A child, a grandchild in the background, and one that forked twice and made a session of its own.
const FAMILY: &str = "echo $$ > child; sleep 600 & echo $! > background; \
    setsid sh -c 'sh -c \"echo \\$\\$ > daemon; exec sleep 600\" & exit 0'; sleep 600";

fn family(machine: &Machine) -> [u32; 3] {
    ["child", "background", "daemon"].map(|name| number(&machine.path(name)))
}

fn all_gone(pids: [u32; 3]) -> impl FnMut() -> bool {
    move || pids.iter().all(|pid| !is_alive(*pid))
}

#[tokio::test]
async fn a_command_gives_its_output_and_its_exit_status() {
    let machine = Machine::new(LONG);
    let command = machine.script("echo out; echo err >&2; exit 7");
    let output = machine.runtime.exec(&command, LONG, &CancellationToken::new()).await.unwrap();
    assert_eq!(
        (output.exit, output.stdout.as_str(), output.stderr.as_str()),
        (Exit::Status(7), "out\n", "err\n")
    );
    let command = machine.script("kill -TERM $$");
    let output = machine.runtime.exec(&command, LONG, &CancellationToken::new()).await.unwrap();
    assert_eq!(output.exit, Exit::Signal(15));
}

#[tokio::test]
async fn a_command_sees_a_small_fixed_environment_and_its_own_input() {
    let machine = Machine::new(LONG);
    let mut command = machine.script("env | sort; cat");
    command.env = BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]);
    command.secret_env = BTreeMap::from([("TOKEN".to_owned(), Secret::new("s3cret"))]);
    command.stdin = Some(Secret::new("from standard input"));
    let output = machine.runtime.exec(&command, LONG, &CancellationToken::new()).await.unwrap();
    assert!(output.stdout.ends_with("from standard input"));
    let names: Vec<&str> = output.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let mut expected = vec!["GREETING", "HOME", "LANG", "PATH", "PWD", "TOKEN"];
    if std::env::var_os("TZ").is_some() {
        expected.push("TZ");
    }
    assert_eq!(
        names.into_iter().filter(|name| !["_", "OLDPWD", "SHLVL"].contains(name)).collect::<Vec<_>>(),
        expected
    );
    assert!(output.stdout.contains("LANG=C.UTF-8\n"));
}

#[tokio::test]
async fn a_command_that_is_too_late_is_killed_with_everything_it_started() {
    let machine = Machine::new(LONG);
    let command = machine.script(&format!("echo waiting for the lock >&2; {FAMILY}"));
    let error = machine
        .runtime
        .exec(&command, Duration::from_millis(700), &CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "sh did not end within 700 ms and was killed: waiting for the lock");
    assert!(all_gone(family(&machine))(), "exec returns when all are gone");
}

#[tokio::test]
async fn a_command_that_is_cancelled_is_killed_with_everything_it_started() {
    let machine = Machine::new(LONG);
    let cancel = CancellationToken::new();
    let command = machine.script(FAMILY);
    let (result, pids) = tokio::join!(machine.runtime.exec(&command, LONG, &cancel), async {
        while !machine.path("daemon").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
        family(&machine)
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(all_gone(pids)());
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_ended() {
    let machine = Machine::new(LONG);
    let command = machine.script("sleep 600 >/dev/null 2>&1 & echo $! > left");
    let output = machine.runtime.exec(&command, LONG, &CancellationToken::new()).await.unwrap();
    assert!(output.exit.is_success());
    assert!(!is_alive(number(&machine.path("left"))));
}

#[tokio::test]
async fn more_output_than_a_command_may_have_is_an_error() {
    let machine = Machine::new(LONG);
    let command = machine.script("head -c 2000000 /dev/zero");
    let error = machine.runtime.exec(&command, LONG, &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("more than 1 MiB"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_input_error_that_names_it() {
    let machine = Machine::new(LONG);
    let command = Command::new(["no-such-program", "--version"]);
    let error = machine.runtime.exec(&command, LONG, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().starts_with("cannot start no-such-program: No such file"), "{error}");
    let error = machine.runtime.program("no-such-program", &["/opt/db/bin".into()]).await.unwrap_err();
    assert!(
        error.to_string().starts_with("the program no-such-program was not found in /opt/db/bin, /"),
        "{error}"
    );
    assert!(machine.runtime.program("sh", &[]).await.unwrap().is_absolute());
}

#[test]
fn killing_the_runner_ends_its_children_within_a_moment() {
    let machine = Machine::new(LONG);
    let mut runner = machine.runner(LONG, &["producer", "sh", "-c", FAMILY]);
    runner.line();
    let pids = family(&machine);
    runner.signal("KILL");
    until("all children are gone", Duration::from_secs(2), all_gone(pids));
}

#[test]
fn stopping_the_runner_ends_its_children_within_the_lease() {
    let machine = Machine::new(LONG);
    let lease = Duration::from_secs(1);
    let mut runner = machine.runner(lease, &["producer", "sh", "-c", FAMILY]);
    runner.line();
    let pids = family(&machine);
    std::thread::sleep(lease * 2);
    assert!(pids.iter().all(|pid| is_alive(*pid)), "renewals keep them alive for longer than the lease");
    // The whole group, as Ctrl-Z does: the guard must not be stopped with it.
    runner.signal_group("STOP");
    until("all children are gone", lease + Duration::from_secs(1), all_gone(pids));
}

#[test]
fn a_session_sees_the_end_of_its_runner_as_the_end_of_its_input() {
    let machine = Machine::new(LONG);
    let mut runner =
        machine.runner(LONG, &["session", "sh", "-c", "echo $$ > child; cat; echo done > let-go; sleep 600"]);
    runner.line();
    let child = number(&machine.path("child"));
    runner.signal("KILL");
    until("it lets go", Duration::from_secs(2), || machine.path("let-go").exists());
    until("it is ended although it goes on", Duration::from_secs(3), || !is_alive(child));
}

#[test]
fn a_session_that_puts_something_back_may_outlive_a_runner_that_is_stopped_but_not_for_ever() {
    let lease = Duration::from_secs(1);
    let machine = Machine::new(LONG);
    let mut runner = machine.runner(
        lease,
        &[
            "session that may outlive",
            "sh",
            "-c",
            "echo $$ > child; sleep 2; echo done > put-back; sleep 600",
        ],
    );
    runner.line();
    runner.signal_group("STOP");
    let child = number(&machine.path("child"));
    until("it puts back what it changed", lease * 3, || machine.path("put-back").exists());
    until("it is ended when it goes on", lease * 4, || !is_alive(child));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_whose_guard_was_killed_has_an_unknown_end_and_does_not_stay() {
    let machine = Machine::new(LONG);
    let command = machine.script("echo $$ > child; sleep 600; exit 0");
    let cancel = CancellationToken::new();
    let (result, child) = tokio::join!(machine.runtime.exec(&command, LONG, &cancel), async {
        let path = machine.path("child");
        let child = tokio::task::spawn_blocking(move || number(&path)).await.unwrap();
        signal(parent(child), "KILL");
        child
    });
    let error = result.unwrap_err();
    assert!(error.to_string().contains("its guard was lost"), "{error}");
    until("the child is gone", Duration::from_secs(2), || !is_alive(child));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_command_line_and_in_no_environment_but_the_childs() {
    let machine = Machine::new(LONG);
    let secret = "correct horse battery staple";
    let mut command = machine.script("echo $$ > child; sleep 600");
    command.secret_env = BTreeMap::from([("PGPASSWORD".to_owned(), Secret::new(secret))]);
    let session = machine.runtime.session(&command).await.unwrap();
    let path = machine.path("child");
    let child = tokio::task::spawn_blocking(move || number(&path)).await.unwrap();
    let has_it = |file: String| {
        fs::read(file).is_ok_and(|text| text.windows(secret.len()).any(|part| part == secret.as_bytes()))
    };
    assert!(has_it(format!("/proc/{child}/environ")));
    assert!(!has_it(format!("/proc/{}/environ", parent(child))), "the guard needs no environment");
    for entry in fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!has_it(format!("/proc/{}/cmdline", name.display())));
    }
    drop(session);
    until("the child is gone", Duration::from_secs(5), || !is_alive(child));
}

#[tokio::test]
async fn a_command_runs_as_the_owner_of_a_file() {
    let machine = Machine::new(LONG);
    let data = machine.path("data");
    fs::create_dir(&data).unwrap();
    if chown(&data, Some(1234), Some(4321)).is_err() {
        println!("skipped: only root can run commands as somebody else");
        return;
    }
    let mut command = Command::new(["sh", "-c", "id -u; id -g; id -G; echo $HOME"]);
    command.run_as = RunAs::OwnerOf(data);
    let output = machine.runtime.exec(&command, LONG, &CancellationToken::new()).await.unwrap();
    assert_eq!(output.stdout, "1234\n4321\n4321\n/\n", "root's supplementary groups are gone too");
}

#[tokio::test]
async fn a_service_of_another_user_reaches_its_sockets_but_not_the_files_of_the_run() {
    let machine = Machine::new(LONG);
    let data = machine.path("data");
    fs::create_dir(&data).unwrap();
    if chown(&data, Some(1234), Some(4321)).is_err() {
        println!("skipped: only root can run commands as somebody else");
        return;
    }
    let run = RunId::generate();
    let intent = machine.runtime.scratch_intent(&run).await.unwrap();
    machine.runtime.make_scratch(&intent, None).await.unwrap();
    fs::write(intent.path.join("precious"), "x").unwrap();
    let run_as = RunAs::OwnerOf(data);
    let endpoint = machine.runtime.endpoint("pg", &intent.path, &run_as, None).await.unwrap();
    let sockets = endpoint.socket_dir.unwrap();
    let mut command =
        Command::new(["sh", "-c", "touch \"$1/socket\" && ! cat \"$2/precious\" && ! ls \"$2/..\"", "sh"]);
    command.argv.extend([&sockets, &intent.path].map(|path| path.to_str().unwrap().to_owned()));
    command.run_as = run_as;
    let output = machine.runtime.exec(&command, LONG, &CancellationToken::new()).await.unwrap();
    assert!(output.exit.is_success(), "{output:?}");
    assert!(sockets.join("socket").exists());
    let none = BTreeMap::new();
    assert_eq!(machine.runtime.dispose(&intent.record, &none).await.unwrap(), Undone::LetGo);
    assert!(!sockets.exists() && !intent.path.exists());
    assert_eq!(machine.runtime.dispose(&intent.record, &none).await.unwrap(), Undone::AlreadyGone);
}
