//! `standstill agent runner ORDERS`: the run itself, in its pod.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use standstill_core::{
    Error, Result,
    journal::{Event, Failure},
    plan::{Limits, Point, RunPlan},
    repository,
    repository::Repository as _,
    runner::{Means, NoObserver, Observer, recover, roles, run},
    secret::{ProcessSecrets, SecretReference, SecretSource},
};
use standstill_kubernetes::{
    Cluster,
    launch::{Grantee, HELPERS, Orders, PASSWORD_FILE, RunnerLine, check_granted},
};
use standstill_local::Life;
use standstill_repository::{Location, Repository};

use super::seams::{Beside, Seams};
use crate::{
    arguments::{Format, Global},
    commands::{discard_strays, in_runtime},
    output, progress,
    repository::for_recovery,
    signals, wiring,
};

/// Runs what the orders say; the last line of its output is the report.
pub fn runner_main(arguments: &[String]) -> ExitCode {
    output::start_log(&Global { output: Format::Json, quiet: false, verbose: 0 });
    let teller = Teller::start();
    // Held until this process ends: then the container for helpers may end, too.
    let (outcome, _life) = match helpers().map(|socket| Life::begin(&socket)).transpose() {
        Ok(life) => (obey(arguments, &teller), life),
        Err(error) => (Err(error), None),
    };
    let (line, status) = match outcome {
        Ok(RunnerLine::Report(report)) => {
            let status = output::status(report.failure);
            (RunnerLine::Report(report), status)
        }
        Ok(line) => (line, output::DONE),
        Err(error) => (RunnerLine::Error(Failure::from(&error)), error.kind().exit_status()),
    };
    teller.finish(line);
    ExitCode::from(status)
}

fn obey(arguments: &[String], teller: &Teller) -> Result<RunnerLine> {
    match arguments {
        [file] => in_runtime(perform(Path::new(file), teller.lines.clone())),
        [recover, file] if recover == "--recover" => in_runtime(recover_run(Path::new(file))),
        [roles, file] if roles == "--roles" => in_runtime(ask_roles(Path::new(file))),
        _ => Err(Error::input("`agent runner` takes the path of its orders")),
    }
}

/// The socket of the container for helpers, where the pod has one.
fn helpers() -> Option<PathBuf> {
    std::env::var_os(HELPERS).map(PathBuf::from)
}

/// Says lines by a thread of its own: a log that is not read must not keep a database held.
struct Teller {
    lines: mpsc::Sender<RunnerLine>,
    thread: JoinHandle<()>,
}

impl Teller {
    fn start() -> Self {
        let (lines, said) = mpsc::channel::<RunnerLine>();
        let thread = std::thread::spawn(move || {
            for line in said {
                let Ok(text) = serde_json::to_string(&line) else { continue };
                let last = !matches!(line, RunnerLine::Said(_));
                let mut stdout = std::io::stdout().lock();
                // Without anybody who reads, the journal still tells it.
                let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
                if last {
                    return;
                }
            }
        });
        Self { lines, thread }
    }

    fn finish(self, line: RunnerLine) {
        let _ = self.lines.send(line);
        let _ = self.thread.join();
    }
}

/// Tells the progress of the run.
struct Told(mpsc::Sender<RunnerLine>);

impl Observer for Told {
    fn event(&self, event: &Event) {
        if let Some(said) = progress::said(event) {
            let _ = self.0.send(RunnerLine::Said(said));
        }
    }
}

/// The cluster as the run's account sees it.
fn cluster(orders: &Orders) -> Result<Cluster> {
    Cluster::of_pod(Some(&orders.place.target.namespace))
}

fn beside(repository: Option<Repository>, observer: Arc<dyn Observer>) -> Beside {
    let repository = repository.map(|repository| Arc::new(repository) as Arc<dyn repository::Repository>);
    Beside { repository, secrets: Arc::new(ProcessSecrets), observer }
}

async fn open(orders: &Orders) -> Result<Repository> {
    let location = Location::from_str(&orders.repository)?;
    let password = ProcessSecrets.read(&SecretReference::File(PASSWORD_FILE.into()))?;
    Repository::open(&location, &password).await
}

/// Finishes the dead run of the orders.
async fn recover_run(file: &Path) -> Result<RunnerLine> {
    let orders = read(file)?;
    let repository = for_recovery(&orders.repository, open(&orders)).await;
    let beside = beside(repository, Arc::new(NoObserver));
    let seams = Seams::in_pod(&cluster(&orders)?, &orders, Limits::default().lease, helpers(), beside)?;
    let recovered = recover(&seams.host, Some(&orders.run), Means::All).await;
    seams.settle().await;
    recovered.map(RunnerLine::Recovered)
}

/// Asks the pods among which the target is what their databases are.
async fn ask_roles(file: &Path) -> Result<RunnerLine> {
    let orders = read(file)?;
    let cluster = cluster(&orders)?;
    check_granted(&cluster, &orders.permissions, Grantee::Run).await?;
    let plan = RunPlan::make(orders.request.clone(), None, wiring::hooks().as_ref())?;
    let beside = beside(None, Arc::new(NoObserver));
    let seams = Seams::in_pod(&cluster, &orders, plan.limits.lease, helpers(), beside)?;
    roles(&seams.host, plan.members().0, &orders.run).await.map(RunnerLine::Roles)
}

async fn perform(file: &Path, lines: mpsc::Sender<RunnerLine>) -> Result<RunnerLine> {
    let cancel =
        signals::cancellation().map_err(|cause| Error::failed("signals cannot be watched").because(cause))?;
    let orders = read(file)?;
    let cluster = cluster(&orders)?;
    check_granted(&cluster, &orders.permissions, Grantee::Run).await?;
    let repository = open(&orders).await?;
    let point = point(&repository, &orders).await?;
    let hooks = wiring::hooks();
    let plan = RunPlan::make(orders.request.clone(), point.as_deref(), hooks.as_ref())?;
    if plan.commits() {
        discard_strays(&repository).await;
    }
    let beside = beside(Some(repository), Arc::new(Told(lines)));
    let seams = Seams::in_pod(&cluster, &orders, plan.limits.lease, helpers(), beside)?;
    seams.check_containers(&plan).await?;
    let report = run(seams.host.clone(), plan, orders.run, cancel).await;
    seams.settle().await;
    Ok(RunnerLine::Report(Box::new(report?)))
}

fn read(file: &Path) -> Result<Orders> {
    let wrong = |what: &str| Error::input(format!("the orders {} {what}", file.display()));
    let text = std::fs::read(file).map_err(|cause| wrong("cannot be read").because(cause))?;
    serde_json::from_slice(&text).map_err(|cause| {
        wrong("are not understood")
            .remedy("Use an image of the same version as the program that starts the run (`--image`).")
            .because(cause)
    })
}

/// The recovery point that is restored or verified.
async fn point(repository: &Repository, orders: &Orders) -> Result<Option<Point>> {
    let Some(wanted) = &orders.request.point else { return Ok(None) };
    let mut points = repository.points().await?.into_iter();
    let found = points.find(|listed| listed.point.id == *wanted).ok_or_else(|| {
        Error::input(format!("the repository has no recovery point {wanted} any more"))
            .remedy("`standstill list` shows them.")
    })?;
    Ok(Some(Arc::new(found.point)))
}
