//! From a plan to a Job, and from its log to a report.

use std::{collections::BTreeMap, io::Write};

use standstill_core::{
    Error, ErrorKind, Result,
    journal::{JournalStore, RunRequest, RunState},
    plan::{Plan, PlannedStep, RunPlan},
    point::RunId,
    runner::RunReport,
    runtime::Place as CommandPlace,
    secret::{ProcessSecrets, Secret, SecretReference, SecretSource},
};
use standstill_kubernetes::{
    Cluster, ClusterJournals, ClusterSecret,
    launch::{self, Follow, Image, Launch, Orders, PARAMETERS, Purpose, permissions},
};
use standstill_repository::Location;
use tokio_util::sync::CancellationToken;

use super::{
    placing::{self, Place, Placing, Rights},
    roles,
    secrets::of_key,
    target::Store,
};
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
    pub plan: RunPlan,
    /// Where the repository is.
    pub location: Location,
    /// The repository's password.
    pub password: Secret,
    /// The run.
    pub id: RunId,
    /// Ends it early.
    pub cancel: CancellationToken,
}

impl Asked<'_> {
    /// Its repository.
    pub(super) fn store(&self) -> Store<'_> {
        Store { location: &self.location, password: &self.password }
    }
}

/// Runs it in a pod; `None` when nobody waits for its end.
pub async fn run(asked: Asked<'_>) -> Result<Option<RunReport>> {
    within_reach(&asked.location)?;
    let place = &asked.launch.place;
    let cluster = Cluster::of_user(place.context.as_deref(), place.namespace.as_deref()).await?;
    let targets = values::target(asked.values)?;
    let mut placings = Box::pin(placing::find(
        &cluster,
        &asked.plan,
        &targets,
        place.namespace.as_deref(),
        &asked.store(),
        asked.global.quiet,
    ))
    .await?;
    let cluster = cluster.in_namespace(placing::namespace(&placings));
    Box::pin(roles::decide(&cluster, &asked, &mut placings)).await?;
    let prepared = Box::pin(prepare(&cluster, &asked, &placings)).await?;
    let orders = prepared.orders.clone();
    Box::pin(launch::launch(&cluster, prepared)).await?;
    if asked.launch.detach {
        launch::tidy(&cluster).await;
        return Ok(None);
    }
    let report = Box::pin(follow(&cluster, &orders, asked.global.quiet, &asked.cancel)).await;
    if is_over(&cluster, &asked.id, &report).await
        && let Err(error) = launch::remove(&cluster, &asked.id).await
    {
        tracing::warn!("the objects of run {} are left: {}", asked.id, error.chain());
    }
    launch::tidy(&cluster).await;
    report.map(Some)
}

/// Refuses a repository that pods cannot reach.
pub(super) fn within_reach(location: &Location) -> Result<()> {
    let Some(directory) = location.directory() else { return Ok(()) };
    Err(Error::input(format!(
        "the repository {} is a directory of this machine, which pods cannot reach",
        directory.display()
    ))
    .remedy("Use an object store: s3://BUCKET/PREFIX."))
}

/// Whether a run left nothing to recover, for which its objects would be needed. Where that cannot be seen now they stay:
/// the next run removes them.
pub(super) async fn is_over(cluster: &Cluster, id: &RunId, report: &Result<RunReport>) -> bool {
    if report.as_ref().is_ok_and(|report| report.failure.is_none()) {
        return true;
    }
    let Ok(runs) = ClusterJournals::new(cluster).runs().await else { return false };
    let unfinished = |state| matches!(state, RunState::Running | RunState::Dead);
    !runs.iter().any(|summary| summary.run == *id && unfinished(summary.state))
}

async fn prepare(cluster: &Cluster, asked: &Asked<'_>, placings: &[Placing<'_>]) -> Result<Launch> {
    asked.plan.iter().try_for_each(check_streams)?;
    let needed: Rights = |plan, _, pod| permissions(plan, pod);
    let mut place = placing::place(cluster, placings, asked.plan.is_group(), needed).await?;
    if let Some((size, class)) = placing::scratch(placings)? {
        if let Some(class) = &class {
            launch::check_storage_class(cluster, class).await?;
        }
        place.mounts.scratch = Some(launch::scratch_claim(&asked.id, &size, class.as_deref()));
        // A new file system is root's, and the copies are given to their owners.
        place.mounts.as_root = true;
    }
    for plan in asked.plan.iter() {
        for (mounted, claim) in launch::kept(cluster, plan, &asked.id).await? {
            place.mounts.mounted.push(mounted);
            place.mounts.kept.push(claim);
        }
    }
    let Secrets { parameters, references } = secrets(cluster, asked.plan.iter()).await?;
    let helpers = asked.plan.iter().any(Plan::holds_outlive_clients);
    let launch = launch_of(asked, place, in_pod(&asked.plan.request), placing::start_deadline(placings)?);
    Ok(Launch { helpers, parameters, references, ..launch })
}

/// What a run needs besides its parameters; `request` is what it is told to do.
pub(super) fn launch_of(
    asked: &Asked<'_>,
    place: Place,
    request: RunRequest,
    start_deadline: Option<u64>,
) -> Launch {
    let environment: BTreeMap<String, Secret> = ENVIRONMENT
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), Secret::new(std::env::var(name).ok()?))))
        .filter(|(_, value)| !value.expose().is_empty())
        .collect();
    let orders = Orders {
        run: asked.id.clone(),
        request,
        repository: asked.location.to_string(),
        permissions: place.permissions.clone(),
        place: place.like,
        members: place.members,
        start_deadline,
        image: asked.launch.image.clone(),
        environment: environment.keys().cloned().collect(),
        secrets: BTreeMap::new(),
        owner: None,
    };
    Launch {
        purpose: Purpose::Run,
        orders,
        permissions: place.permissions,
        mounts: place.mounts,
        owner: place.owner,
        image: image(&asked.plan),
        helpers: false,
        password: asked.password.clone(),
        environment,
        parameters: BTreeMap::new(),
        references: BTreeMap::new(),
    }
}

/// The target's image only where anything in it is needed.
fn image(plan: &RunPlan) -> Image {
    let needed = |plan: &Plan| plan.runs_programs() || plan.names_files();
    if plan.iter().any(needed) { Image::Target } else { Image::Own }
}

/// The values of secret parameters: those that come from outside, and those that are in Secrets of the namespace.
#[derive(Default)]
pub(super) struct Secrets {
    pub(super) parameters: BTreeMap<String, Secret>,
    pub(super) references: BTreeMap<String, (String, String)>,
}

/// The values of the secret parameters of plans.
///
/// # Errors
/// When one cannot be read, or when there is no such Secret.
pub(super) async fn secrets(cluster: &Cluster, plans: impl Iterator<Item = &Plan>) -> Result<Secrets> {
    let mut secrets = Secrets::default();
    for request in plans.map(|plan| &plan.request) {
        for (parameter, reference) in &request.secrets {
            let file = file_of(request, parameter);
            match reference {
                SecretReference::Secret { name, key } => {
                    check(cluster, name, key).await?;
                    secrets.references.insert(file, (name.clone(), key.clone()));
                }
                other => {
                    secrets.parameters.insert(file, ProcessSecrets.read(other)?);
                }
            }
        }
    }
    Ok(secrets)
}

/// Data is not streamed out of a container or into one: the connection may lose its end without a word.
fn check_streams(plan: &Plan) -> Result<()> {
    let entering =
        |step: &&PlannedStep| step.step.stream.is_some() && plan.place(&step.step) == CommandPlace::Target;
    match plan.steps.iter().find(entering) {
        None => Ok(()),
        Some(step) => Err(Error::input(format!(
            "{} streams data in the target's own container, which is not possible on Kubernetes",
            step.id
        ))
        .remedy("Write `in: runner`: the command then runs in a pod of the same image beside it.")),
    }
}

/// The name of the file that a secret parameter comes from: two members may have one of the same name.
fn file_of(request: &RunRequest, parameter: &str) -> String {
    request.member.as_ref().map_or_else(|| parameter.to_owned(), |member| format!("{member}.{parameter}"))
}

/// The request as the runner gets it: secret parameters come from files.
pub(super) fn in_pod(request: &RunRequest) -> RunRequest {
    let file =
        |name: &String| SecretReference::File(format!("{PARAMETERS}/{}", file_of(request, name)).into());
    let secrets = request.secrets.keys().map(|name| (name.clone(), file(name))).collect();
    RunRequest { secrets, members: request.members.iter().map(in_pod).collect(), ..request.clone() }
}

/// A Secret or key that is not there would show in events of the pod alone. Whoever may not read it is not told.
async fn check(cluster: &Cluster, name: &str, key: &str) -> Result<()> {
    let Ok(found) = cluster.objects::<ClusterSecret>().find(name).await else { return Ok(()) };
    of_key(cluster.namespace(), name, key, found).map(drop)
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

#[cfg(test)]
mod tests {
    use standstill_core::{
        language::ParameterType,
        plan::{Given, bind},
    };

    use super::*;
    use crate::{
        blueprint::{BUILT_IN, find, load},
        commands::request,
        wiring,
    };

    /// A backup by a built-in blueprint, with something for each value that has no default.
    fn backup(name: &str) -> RunPlan {
        let (hooks, text) = (wiring::hooks(), find(name).unwrap());
        let blueprint = load(&text, hooks.as_ref()).unwrap();
        let needed = blueprint.spec.parameters.iter().filter(|(_, parameter)| {
            !parameter.optional && parameter.default.is_none() && parameter.ty != ParameterType::Secret
        });
        let given = needed.map(|(name, parameter)| {
            let text = if parameter.ty == ParameterType::Path { "/data" } else { "app" };
            (name.clone(), Given::Text(text.into()))
        });
        let given = given.collect();
        let request = request(&text, "backup", name, bind(&blueprint, &given).unwrap());
        RunPlan::make(request, None, hooks.as_ref()).unwrap()
    }

    #[test]
    fn a_backup_that_runs_no_program_of_its_database_has_the_own_image() {
        let names = BUILT_IN.iter().map(|(name, _)| *name);
        let own: Vec<&str> = names.filter(|name| image(&backup(name)) == Image::Own).collect();
        assert_eq!(
            own,
            [
                "etcd",
                "mariadb",
                "mongodb",
                "mongodb-dump",
                "mysql",
                "postgresql",
                "redis",
                "redis-aof",
                "redis-dump",
                "sqlite",
                "sqlite-online"
            ]
        );
    }
}
