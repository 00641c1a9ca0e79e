//! `standstill agent` as the tests of this crate run it: the real guard and the real keeper.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("guard") => standstill_local::guard_main(arguments),
        Some("keep") => standstill_local::keep_main(arguments),
        _ => ExitCode::from(2),
    }
}
