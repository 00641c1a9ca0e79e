//! `standstill agent` as the tests of this crate run it: the real guard, the real keeper, the real server of helpers, and a
//! helper that answers lines and notes the end of its input in a file.

use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["guard", ..] => standstill_local::guard_main(std::env::args_os().skip(2)),
        ["keep"] | ["agent", "keep"] => standstill_local::keep_main(std::env::args_os().skip(2)),
        ["helpers", rest @ ..] => {
            standstill_local::helpers_main(&rest.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
        }
        ["agent", "hold", "echo", file] => echo(file),
        _ => ExitCode::from(2),
    }
}

fn echo(file: &str) -> ExitCode {
    let mut output = std::io::stdout();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        // Nobody may listen any more.
        let _heard = writeln!(output, "heard {line}").and_then(|()| output.flush());
    }
    match std::fs::write(file, "let go") {
        Ok(()) => ExitCode::from(7),
        Err(_) => ExitCode::FAILURE,
    }
}
