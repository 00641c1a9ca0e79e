//! From a plan to a Job, and from its log to a report.

use std::{collections::BTreeMap, io::Write};

use standstill_core::{
    Error, ErrorKind, Result,
    journal::{JournalStore, RunRequest, RunState},
    plan::{Plan, PlannedStep},
    point::RunId,
    runner::RunReport,
    runtime::Place,
    secret::{ProcessSecrets, Secret, SecretReference, SecretSource},
    units::{milliseconds, parse_duration},
};
use standstill_kubernetes::{
    Cluster, ClusterJournals, ClusterSecret, Target, TargetValues,
    launch::{self, Follow, Launch, Orders, PARAMETERS, permissions},
};
use standstill_repository::Location;
use tokio_util::sync::CancellationToken;

use super::mounts::{mounts, owner};
use crate::{
    arguments::{self, Global, Values},
    progress, values,
};

/// The object stores' credentials and settings, as environment variables.
const ENVIRONMENT: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_ACCOUNT_NAME",
    "AZURE_STORAGE_KEY",
    "AZURE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_BLOB_ENDPOINT",
    #[cfg(feature = "failpoints")]
    "STANDSTILL_FAILPOINT",
];

/// A run that is asked for.
pub struct Asked<'a> {
    /// How it is printed.
    pub global: &'a Global,
    /// How it is started.
    pub launch: &'a arguments::Launch,
    /// What binds it to its target.
    pub values: &'a Values,
    /// What it does.
    pub plan: Plan,
    /// Where the repository is.
    pub location: Location,
    /// The repository's password.
    pub password: Secret,
    /// The run.
    pub id: RunId,
    /// Ends it early.
    pub cancel: CancellationToken,
}

/// Runs it in a pod; `None` when nobody waits for its end.
pub async fn run(asked: Asked<'_>) -> Result<Option<RunReport>> {
    if let Some(directory) = asked.location.directory() {
        return Err(Error::input(format!(
            "the repository {} is a directory of this machine, which pods cannot reach",
            directory.display()
        ))
        .remedy("Use an object store: s3://BUCKET/PREFIX."));
    }
    let place = &asked.launch.place;
    let cluster = Cluster::of_user(place.context.as_deref(), place.namespace.as_deref()).await?;
    let mut where_it_is = TargetValues::of(&values::target(asked.values)?)?;
    if place.namespace.is_some() {
        where_it_is.namespace.clone_from(&place.namespace);
    }
    let target = if asked.plan.commits() {
        Box::pin(Target::find(&cluster, &where_it_is)).await?
    } else {
        Box::pin(Target::find_or_template(&cluster, &where_it_is)).await?
    };
    let cluster = cluster.in_namespace(&target.namespace);
    let prepared = Box::pin(prepare(&cluster, &asked, target, where_it_is)).await?;
    let orders = prepared.orders.clone();
    Box::pin(launch::launch(&cluster, prepared)).await?;
    if asked.launch.detach {
        launch::tidy(&cluster).await;
        return Ok(None);
    }
    let report = Box::pin(follow(&cluster, &orders, asked.global.quiet, &asked.cancel)).await;
    if (report.is_ok() || !is_unfinished(&cluster, &asked.id).await)
        && let Err(error) = launch::remove(&cluster, &asked.id).await
    {
        tracing::warn!("the objects of run {} are left: {}", asked.id, error.chain());
    }
    launch::tidy(&cluster).await;
    report.map(Some)
}

/// Whether a run that has ended without a report left something to recover, for which its objects are needed.
async fn is_unfinished(cluster: &Cluster, id: &RunId) -> bool {
    let runs = ClusterJournals::new(cluster).runs().await.unwrap_or_default();
    let unfinished = |state| matches!(state, RunState::Running | RunState::Dead);
    runs.iter().any(|summary| summary.run == *id && unfinished(summary.state))
}

async fn prepare(
    cluster: &Cluster,
    asked: &Asked<'_>,
    target: Target,
    where_it_is: TargetValues,
) -> Result<Launch> {
    let plan = &asked.plan;
    check_streams(plan)?;
    if let Some(class) = &where_it_is.snapshot_class {
        launch::check_class(cluster, class).await?;
    }
    let snapshot_deadline = where_it_is.snapshot_deadline.as_deref().map(parse_duration).transpose()?;
    let start_deadline = where_it_is.start_deadline.as_deref().map(parse_duration).transpose()?;
    let owner = owner(cluster, &target, plan).await?;
    let mounts = mounts(cluster, &target, &where_it_is, plan).await?;
    let environment: BTreeMap<String, Secret> = ENVIRONMENT
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), Secret::new(std::env::var(name).ok()?))))
        .filter(|(_, value)| !value.expose().is_empty())
        .collect();
    let (mut parameters, mut references) = (BTreeMap::new(), BTreeMap::new());
    for (parameter, reference) in &plan.request.secrets {
        match reference {
            SecretReference::Secret { name, key } => {
                check(cluster, name, key).await?;
                references.insert(parameter.clone(), (name.clone(), key.clone()));
            }
            other => {
                parameters.insert(parameter.clone(), ProcessSecrets.read(other)?);
            }
        }
    }
    let orders = Orders {
        run: asked.id.clone(),
        request: in_pod(&plan.request),
        repository: asked.location.to_string(),
        permissions: permissions(plan, target.pod.as_ref().map(|pod| pod.name.as_str())),
        target,
        data_owner: owner,
        snapshot_class: where_it_is.snapshot_class,
        snapshot_deadline: snapshot_deadline.map(milliseconds),
        start_deadline: start_deadline.map(milliseconds),
        image: asked.launch.image.clone(),
        environment: environment.keys().cloned().collect(),
        owner: None,
    };
    let (permissions, password) = (orders.permissions.clone(), asked.password.clone());
    Ok(Launch { orders, permissions, mounts, owner, password, environment, parameters, references })
}

/// Data is not streamed out of a container or into one: the connection may lose its end without a word.
fn check_streams(plan: &Plan) -> Result<()> {
    let entering =
        |step: &&PlannedStep| step.step.stream.is_some() && plan.place(&step.step) == Place::Target;
    match plan.steps.iter().find(entering) {
        None => Ok(()),
        Some(step) => Err(Error::input(format!(
            "{} streams data in the target's own container, which is not possible on Kubernetes",
            step.id
        ))
        .remedy("Write `in: runner`: the command then runs in a pod of the same image beside it.")),
    }
}

/// The request as the runner gets it: secret parameters come from files.
fn in_pod(request: &RunRequest) -> RunRequest {
    let file = |name: &String| SecretReference::File(format!("{PARAMETERS}/{name}").into());
    let secrets = request.secrets.keys().map(|name| (name.clone(), file(name))).collect();
    RunRequest { secrets, ..request.clone() }
}

/// A Secret or key that is not there would show in events of the pod alone. Whoever may not read it is not told.
async fn check(cluster: &Cluster, name: &str, key: &str) -> Result<()> {
    let Ok(found) = cluster.objects::<ClusterSecret>().find(name).await else { return Ok(()) };
    let namespace = cluster.namespace();
    let Some(secret) = found else {
        return Err(Error::input(format!("there is no Secret {name} in the namespace {namespace}"))
            .remedy("Check the name; Secrets of other namespaces cannot be used."));
    };
    let keys: Vec<&String> = secret.data.iter().flatten().map(|(key, _)| key).collect();
    if keys.iter().any(|known| *known == key) {
        return Ok(());
    }
    let keys = keys.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(Error::input(format!("the Secret {name} in the namespace {namespace} has no key {key}"))
        .remedy(format!("Its keys are: {keys}.")))
}

/// Follows the run; a signal asks it to end, and its report is still waited for.
async fn follow(
    cluster: &Cluster,
    orders: &Orders,
    quiet: bool,
    cancel: &CancellationToken,
) -> Result<RunReport> {
    let mut printer = Printer::new(quiet);
    let followed = launch::follow(cluster, orders, &mut printer);
    tokio::pin!(followed);
    tokio::select! {
        report = &mut followed => return report,
        () = cancel.cancelled() => {}
    }
    launch::stop(cluster, orders).await?;
    // A pod that had not begun has no report, and nothing to let go.
    followed.await.map_err(|error| match error.kind() {
        ErrorKind::Failed => {
            Error::cancelled(format!("run {} was ended before it could report", orders.run)).because(error)
        }
        _ => error,
    })
}

/// Prints what the run says on standard error.
pub(super) struct Printer {
    quiet: bool,
}

impl Printer {
    pub(super) const fn new(quiet: bool) -> Self {
        Self { quiet }
    }
}

impl Follow for Printer {
    fn said(&mut self, text: &str) {
        if !self.quiet {
            self.logged(&format!("  {text}"));
        }
    }

    fn logged(&mut self, line: &str) {
        // A terminal that went away must not disturb the run.
        let _ = writeln!(progress::Stderr, "{line}");
    }
}
