//! Clients of databases, run in the databases' own pods.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

use super::{
    Space,
    writer::{Commit, Writer},
};

fn command(space: &Space, pod: &str, script: &str) -> Command {
    let mut command = space.command(&["exec", "--stdin", pod, "--", "sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// What the client that a script starts says to its input, or what it complains of.
pub fn ask(space: &Space, pod: &str, script: &str, input: &str) -> Result<String, String> {
    let spawned = command(space, pod, script).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|cause| cause.to_string())?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).map_err(|cause| cause.to_string())?;
    let output = child.wait_with_output().map_err(|cause| cause.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Somebody who writes through such a client: for each number a line, and the line that acknowledges it.
pub fn writer(
    space: &Space,
    pod: &str,
    script: &str,
    last: i64,
    line: impl Fn(i64) -> (String, String) + Send + 'static,
) -> Writer {
    Writer::start(last, commits(space, pod, script, line))
}

/// The commits of such a writer, once it has connected.
pub fn commits<L: Fn(i64) -> (String, String) + Send + 'static>(
    space: &Space,
    pod: &str,
    script: &str,
    line: L,
) -> impl FnOnce() -> Commit + Send + use<L> {
    let mut command = command(space, pod, script);
    move || {
        let mut client = Client(command.spawn().unwrap());
        let (mut orders, answers) = (client.0.stdin.take().unwrap(), client.0.stdout.take().unwrap());
        let mut answers = BufReader::new(answers).lines();
        let commit: Commit = Box::new(move |number| {
            let _until_the_writer_ends = &client;
            let (order, acknowledged) = line(number);
            orders.write_all(format!("{order}\n").as_bytes()).map_err(|cause| cause.to_string())?;
            match answers.next() {
                Some(Ok(answer)) if answer == acknowledged => Ok(()),
                other => Err(format!("{other:?} instead of {acknowledged}")),
            }
        });
        commit
    }
}

/// A client in a pod, ended with this value.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}
