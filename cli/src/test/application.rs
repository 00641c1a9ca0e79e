//! The application of a test: its commands, its server, and who writes to it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use standstill_core::{
    Error, Result,
    hook::Endpoint,
    language::{Scope, Template, TestService, render_text},
    runtime::{Command, Output, Runtime, Service, ServiceSpec},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long one command of a test may take.
const COMMAND: Duration = Duration::from_mins(5);
/// How long a server may take until it is ready.
const READY: Duration = Duration::from_mins(1);

/// Renders a command.
pub fn command(templates: &[Template], scope: &Scope) -> Result<Command> {
    Ok(Command::new(templates.iter().map(|part| render_text(part, scope)).collect::<Result<Vec<_>>>()?))
}

/// Runs a command that must succeed.
pub async fn run(
    runtime: &dyn Runtime,
    what: &str,
    command: &Command,
    cancel: &CancellationToken,
) -> Result<Output> {
    let output = runtime.exec(command, COMMAND, cancel).await.map_err(|error| error.during(what))?;
    if output.exit.is_success() {
        return Ok(output);
    }
    let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
    Err(Error::failed(format!(
        "{what}: {} ended with {}: {}",
        command.program(),
        output.exit,
        said.trim().lines().next_back().unwrap_or("it said nothing")
    ))
    .remedy("Run the command by hand, as this user."))
}

/// Runs the commands that make an application's data, then starts its server, if it is one.
pub async fn bring_up(
    runtime: &dyn Runtime,
    (prepare, service): (&[Vec<Template>], Option<&TestService>),
    scope: &Scope,
    port: u16,
    cancel: &CancellationToken,
) -> Result<Option<Arc<dyn Service>>> {
    for step in prepare {
        run(runtime, "prepare", &command(step, scope)?, cancel).await?;
    }
    match service {
        Some(service) => serve(runtime, service, scope, port, cancel).await.map(Some),
        None => Ok(None),
    }
}

/// Starts the server of a test and waits until it is ready.
async fn serve(
    runtime: &dyn Runtime,
    service: &TestService,
    scope: &Scope,
    port: u16,
    cancel: &CancellationToken,
) -> Result<Arc<dyn Service>> {
    let spec = ServiceSpec {
        name: "service".to_owned(),
        command: command(&service.command, scope)?,
        endpoint: Endpoint { host: "127.0.0.1".to_owned(), port, socket_dir: None },
        stop_signal: "TERM".to_owned(),
        stop_timeout: Duration::from_secs(30),
    };
    let (started, ready) = (runtime.service(&spec).await?, command(&service.ready, scope)?);
    let begun = Instant::now();
    loop {
        if let Some((exit, log)) = started.ended() {
            return Err(Error::failed(format!("the server of the test ended with {exit}: {log}"))
                .remedy("It must stay in the foreground; start it by hand to see why it does not."));
        }
        if runtime.exec(&ready, COMMAND, cancel).await?.exit.is_success() {
            return Ok(started);
        }
        if begun.elapsed() > READY {
            return Err(Error::failed(format!(
                "the server of the test was not ready within {READY:?}: {}",
                started.log()
            ))
            .remedy("Check the command of `ready`."));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes 1, 2, 3, …, each as soon as the one before it was acknowledged.
pub struct Writer {
    numbers: Arc<Numbers>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Numbers {
    begun: AtomicU64,
    acknowledged: AtomicU64,
    failed: Mutex<Option<Error>>,
}

impl Writer {
    /// Starts to write.
    pub fn start(runtime: &Arc<dyn Runtime>, write: &[Template], scope: &Scope) -> Self {
        let (numbers, stop) = (Arc::new(Numbers::default()), CancellationToken::new());
        let (runtime, write, mut scope) = (Arc::clone(runtime), write.to_vec(), scope.clone());
        let (noted, stopping) = (Arc::clone(&numbers), stop.clone());
        let task = tokio::spawn(async move {
            for number in 1.. {
                if stopping.is_cancelled() {
                    return;
                }
                scope.insert("number", number);
                noted.begun.store(number, Ordering::Release);
                let written = async {
                    run(runtime.as_ref(), &format!("write {number}"), &command(&write, &scope)?, &stopping)
                        .await
                };
                match written.await {
                    Ok(_) => noted.acknowledged.store(number, Ordering::Release),
                    Err(error) if !stopping.is_cancelled() => {
                        *noted.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        return;
                    }
                    Err(_) => return,
                }
            }
        });
        Self { numbers, stop, task }
    }

    /// The last number that was acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.numbers.acknowledged.load(Ordering::Acquire)
    }

    /// The last number whose write has begun.
    pub fn begun(&self) -> u64 {
        self.numbers.begun.load(Ordering::Acquire)
    }

    /// Waits until a number is acknowledged whose write began after now; `Ok(None)` where that takes longer.
    ///
    /// # Errors
    /// When a write failed: it did not wait for the application.
    pub async fn goes_on(&self, within: Duration) -> Result<Option<Duration>> {
        let (begun, before) = (Instant::now(), self.begun());
        while self.acknowledged() <= before {
            if let Some(error) = self.numbers.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Err(error.during("the writer"));
            }
            if begun.elapsed() > within {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Some(begun.elapsed()))
    }

    /// Ends it.
    pub async fn stop(self) {
        self.stop.cancel();
        // A writer that panicked has nothing more to say.
        let _ = self.task.await;
    }
}
