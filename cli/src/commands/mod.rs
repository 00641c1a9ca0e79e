//! The commands: one file each, or one for a few that belong together.

mod backup;
mod blueprints;
mod forget;
mod init;
mod lint;
mod listing;
mod new;
mod plan;
mod restore;
mod runs;
mod schema;

use std::process::ExitCode;

use clap::CommandFactory;
use standstill_core::{Error, Result, runner::Means};

#[cfg(feature = "kubernetes")]
pub use backup::discard_strays;
pub use backup::{Asked, back_up, plan as plan_backup};
pub use plan::request;
pub use restore::{Wanted, run_on_point};

use crate::{
    agent,
    arguments::{Arguments, Command, Global},
    demo, output, test,
};

/// Runs a command and says how it ended.
pub fn main(arguments: Arguments) -> ExitCode {
    let Arguments { global, command } = arguments;
    if let Command::Agent { arguments } = &command {
        return agent::main(arguments);
    }
    output::start_log(&global);
    let status = match quick(&global, &command) {
        Some(outcome) => outcome,
        None => in_runtime(perform(&global, command)),
    };
    ExitCode::from(status.unwrap_or_else(|error| output::error(&error)))
}

/// Commands that need no runtime; they answer at once.
fn quick(global: &Global, command: &Command) -> Option<Result<u8>> {
    match command {
        Command::Blueprints => Some(blueprints::list(global)),
        Command::Lint { files } => Some(lint::lint(global, files)),
        Command::New(new) => Some(new::new(global, new)),
        Command::Schema { of } => Some(schema::print(*of)),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Arguments::command(), "standstill", &mut std::io::stdout());
            Some(Ok(output::DONE))
        }
        _ => None,
    }
}

/// Does asynchronous work to its end.
pub fn in_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::failed("the program cannot start its threads").because(cause))?;
    let outcome = runtime.block_on(work);
    // What is still blocked in a system call must not keep a finished command alive.
    runtime.shutdown_background();
    outcome
}

async fn perform(global: &Global, command: Command) -> Result<u8> {
    match command {
        Command::Demo(demo) => demo::demo(global, demo).await,
        Command::Plan(plan) => plan::plan(global, &plan),
        Command::Init { repository } => init::init(global, &repository).await,
        Command::Test(test) => test::test(global, &test).await,
        Command::Backup(backup) => backup::backup(global, &backup).await,
        Command::Restore(restore) => restore::restore(global, &restore).await,
        Command::Verify(verify) => restore::verify(global, &verify).await,
        Command::List { repository, name } => listing::list(global, &repository, name.as_deref()).await,
        Command::Show { point, repository, name } => {
            listing::show(global, &repository, &point, name.as_deref()).await
        }
        Command::Status { repository } => listing::status(global, &repository).await,
        Command::Forget(forget) => forget::forget(global, &forget).await,
        Command::Check { repository, read_data } => forget::check(global, &repository, read_data).await,
        Command::Recover { run, let_go_by_hand, repository, place } => {
            let means = if let_go_by_hand { Means::ByHand } else { Means::All };
            runs::recover(global, run.as_deref(), means, &repository, &place).await
        }
        Command::Runs { place } => runs::list(global, &place).await,
        Command::Logs { run, place } => runs::logs(global, &run, &place).await,
        Command::Blueprints
        | Command::Lint { .. }
        | Command::New(_)
        | Command::Schema { .. }
        | Command::Completions { .. }
        | Command::Agent { .. } => Ok(output::DONE),
    }
}
