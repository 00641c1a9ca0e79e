//! Figures, measured side by side in one run: medians, and the ratios that matter.
//!
//! `cargo build --release -p standstill && cargo bench -p standstill-tests`; `… -- stream dump` measures only these.
//! Needs root (file systems), Debian's restic and PostgreSQL; what is missing is said and left out.
//! `stall` writes `freeze.md` and `freeze.svg` too, where `STANDSTILL_BENCH_DOCS` says into which directory.
//! `STANDSTILL_BENCH_DIR` (default `/tmp`) needs 10 GB of room.
#![allow(missing_docs, reason = "a program")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot be made ends it"
)]
#![allow(dead_code, reason = "the tests' support has more than is measured")]

#[path = "../../tests/e2e/support/mod.rs"]
mod support;

mod dump;
mod freeze;
mod generate;
mod measure;
mod page;
mod picture;
mod quick;
mod stall;
mod stream;
mod unchanged;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [first, bytes, seed] = arguments.as_slice()
        && first == "generate"
    {
        return generate::write(bytes.parse().unwrap(), seed.parse().unwrap());
    }
    let all: [(&str, fn()); 7] = [
        ("quick", quick::measure),
        ("freeze", freeze::measure),
        ("stall", stall::measure),
        ("unchanged", unchanged::measure),
        ("stream", stream::measure),
        ("memory", stream::measure_memory),
        ("dump", dump::measure),
    ];
    for (name, measure) in all {
        if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
            measure();
        }
    }
}
