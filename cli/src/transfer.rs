//! `standstill agent transfer`: moves data between files that are here and the repository, for a run that is
//! elsewhere.
//!
//! What it says on standard output are [`TransferLine`]s, one JSON document a line; the last is a report or an error.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use standstill_core::{
    Error, Result,
    journal::Failure,
    repository::Progress,
    transfer::{TransferLine, TransferReport, TransferSpec, perform},
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{Format, Global, Repository},
    commands::in_runtime,
    output, repository, signals,
};

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// Moves data between files that are here and the repository; started by a run, not by people.
#[derive(Debug, Parser)]
#[command(name = "standstill agent transfer")]
struct Arguments {
    /// What is moved (JSON), as a run describes it
    #[arg(long, value_name = "FILE")]
    spec: PathBuf,
    #[command(flatten)]
    repository: Repository,
}

/// Performs one transfer, tells its progress and its outcome, and ends with the status of its error.
pub fn main(arguments: &[String]) -> ExitCode {
    output::start_log(&Global { output: Format::Json, quiet: false, verbose: 0 });
    let outcome = parse(arguments).and_then(|arguments| in_runtime(transfer(&arguments)));
    let (line, status) = match outcome {
        Ok(report) => (TransferLine::Report(report), output::DONE),
        Err(error) => (TransferLine::Error(Failure::from(&error)), output::error(&error)),
    };
    // A report that nobody got is not one: whoever waits for it takes the transfer for failed, and so must this.
    match say(&line) {
        Ok(()) => ExitCode::from(status),
        Err(cause) => {
            let error = Error::failed("the outcome of the transfer cannot be written to standard output");
            ExitCode::from(output::error(&error.because(cause)))
        }
    }
}

fn parse(arguments: &[String]) -> Result<Arguments> {
    let words = std::iter::once("standstill agent transfer").chain(arguments.iter().map(String::as_str));
    Arguments::try_parse_from(words).map_err(|cause| {
        if !cause.use_stderr() {
            cause.exit(); // `--help`
        }
        // What was wrong, in one line, without the usage that follows after an empty one.
        let text = cause.render().to_string();
        let said: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        Error::input(said.join(" ").trim_start_matches("error: ").to_owned())
            .remedy("`standstill agent transfer --help` lists what it takes.")
    })
}

async fn transfer(arguments: &Arguments) -> Result<TransferReport> {
    let cancel =
        signals::cancellation().map_err(|cause| Error::failed("signals cannot be watched").because(cause))?;
    let spec = read(&arguments.spec)?;
    let told = Arc::new(Told::default());
    let work = open_and_perform(&arguments.repository, &spec, Arc::clone(&told), cancel);
    tokio::pin!(work);
    let mut ticks = interval(TOLD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            outcome = &mut work => {
                told.tell();
                return outcome;
            }
            _ = ticks.tick() => told.tell(),
        }
    }
}

async fn open_and_perform(
    arguments: &Repository,
    spec: &TransferSpec,
    told: Arc<Told>,
    cancel: CancellationToken,
) -> Result<TransferReport> {
    let repository = tokio::select! {
        opened = repository::open(arguments) => opened?,
        () = cancel.cancelled() => return Err(Error::cancelled("opening the repository was cancelled")),
    };
    perform(spec, &repository, told, cancel).await
}

fn read(path: &Path) -> Result<TransferSpec> {
    let failed = |what| Error::input(format!("the description of the transfer, {}, {what}", path.display()));
    let text = std::fs::read(path).map_err(|cause| {
        failed("cannot be read").remedy("Check the path and that this user may read it.").because(cause)
    })?;
    serde_json::from_slice(&text).map_err(|cause| {
        failed("is not one that this program performs")
            .remedy("Use the same version of Standstill on both sides.")
            .because(cause)
    })
}

/// Says a line. It is flushed: whoever reads it follows a log.
fn say(line: &TransferLine) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&text)?;
    stdout.flush()
}

/// What was moved and not told yet. The threads that move it never wait for whoever reads it.
#[derive(Debug, Default)]
struct Told {
    moved: AtomicU64,
    expected: AtomicU64,
}

impl Told {
    /// Tells what is new. That nobody listens is no reason to fail: the outcome decides.
    fn tell(&self) {
        for (count, line) in [
            (&self.expected, TransferLine::Expect as fn(u64) -> TransferLine),
            (&self.moved, TransferLine::Advance),
        ] {
            match count.swap(0, Ordering::Relaxed) {
                0 => {}
                bytes => drop(say(&line(bytes))),
            }
        }
    }
}

impl Progress for Told {
    fn advance(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    fn expect(&self, bytes: u64) {
        self.expected.store(bytes, Ordering::Relaxed);
    }
}
