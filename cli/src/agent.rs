//! `standstill agent …`: helper processes, started by a run beside the database.

use std::process::ExitCode;

/// Runs the helper that the arguments name, to its end.
pub fn main(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["guard", ..] => standstill_local::guard_main(std::env::args_os()),
        ["keep", ..] => standstill_local::keep_main(std::env::args_os()),
        ["helpers", ..] => standstill_local::helpers_main(&arguments[1..]),
        ["transfer", ..] => crate::transfer::main(&arguments[1..]),
        ["runner", ..] => crate::kubernetes::runner_main(&arguments[1..]),
        ["install", ..] => crate::kubernetes::install_main(&arguments[1..]),
        ["demo-writer", ..] => crate::demo::writer_main(&arguments[1..]),
        ["hold", "filesystem", ..] => standstill_hooks::filesystem::holder_main(&arguments[2..]),
        ["hold", "mongodb", ..] => standstill_hooks::mongodb::holder_main(&arguments[2..]),
        ["hold", "redis", ..] => standstill_hooks::redis::holder_main(&arguments[2..]),
        ["hold", "sqlite", ..] => standstill_hooks::sqlite::holder_main(&arguments[2..]),
        _ => {
            eprintln!("there is no such helper; `standstill agent` is started by a run, not by people");
            ExitCode::from(2)
        }
    }
}
