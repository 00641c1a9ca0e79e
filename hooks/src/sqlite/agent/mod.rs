//! The helper processes: everything that touches a database's files happens in one of these.

mod backup;
mod end;
mod files;
mod holder;
mod inspect;
mod locks;
mod open;
mod read;
mod witness;

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use standstill_core::Result;

use super::task::Task;
use crate::helper::{say, to_value};

/// Runs one helper process to its end: the rest of the command line after `agent hold sqlite`.
///
/// A task that is a session answers orders on standard input with lines on standard output, and ends at end of
/// file or when its lease ran out; every other task prints one line. The exit status is 0 on success, 1 on failure
/// (a one-line reply says why), 2 when the command line is wrong.
pub fn holder_main(arguments: &[String]) -> ExitCode {
    let [argument] = arguments else {
        eprintln!("`agent hold sqlite` takes one argument: its task as JSON");
        return ExitCode::from(2);
    };
    let task = match serde_json::from_str(argument) {
        Ok(task) => task,
        Err(cause) => {
            eprintln!("`agent hold sqlite` does not understand its task: {cause}");
            return ExitCode::from(2);
        }
    };
    match perform(task) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(value)) => match say(0, Ok(value)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("{}", error.chain());
            // Whether anybody still listens changes nothing about the status.
            let _unheard = say(0, Err(&error));
            ExitCode::FAILURE
        }
    }
}

/// Performs a task; `None` after a session.
fn perform(task: Task) -> Result<Option<Value>> {
    match task {
        Task::Hold(task) => holder::run(&task).map(|()| None),
        Task::Witness(task) => witness::run(&task).map(|()| None),
        Task::Identify(task) => inspect::identify(&task).and_then(value),
        Task::Inspect(task) => inspect::inspect(&task).and_then(value),
        Task::Checkpoint(database) => inspect::checkpoint(&database).and_then(value),
        Task::Backup(task) => backup::back_up(&task).and_then(value),
        Task::Check(task) => read::check(&task).and_then(value),
        Task::Count(task) => read::count(&task).and_then(value),
        Task::Query(task) => read::query(&task).and_then(value),
        Task::End(owner) => end::end(&owner).and_then(value),
    }
}

fn value(found: impl Serialize) -> Result<Option<Value>> {
    to_value(found).map(Some)
}
