//! `--from-here`: the run itself in this process, with the user's own rights.
//!
//! ```text
//!   plan ──▶ rights ──▶ secrets, repository ──▶ orders (ConfigMap), credentials (Secret) ──▶ run
//!                                                                         target's ports ◀──┤
//!                                                      commands in the target's container ◀──┤
//!                                       snapshot ──▶ mover's pod ──▶ repository ◀── record ──┘
//! ```
//!
//! Volumes go from a pod straight into the repository. What a hook gathers over its connection passes through here.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use standstill_core::{
    Error, Result,
    language::render_text,
    plan::{Limits, Plan, RunPlan},
    point::RunId,
    repository::Repository as Stored,
    runner::{Means, NoObserver, Recovered, RunReport, recover, run},
};
use standstill_kubernetes::{
    Cluster,
    launch::{self, Grantee, Launch, Orders, check_granted, own_permissions},
};
use standstill_repository::Repository;

use super::{
    launch::{Asked, in_pod, is_over, launch_of, within_reach},
    placing,
    seams::{Beside, Seams},
    secrets::Gathered,
};
use crate::{commands::discard_strays, progress, values, wiring};

/// Runs it in this process.
pub async fn run_from_here(asked: Asked<'_>) -> Result<RunReport> {
    let prepared = tokio::select! {
        prepared = Box::pin(prepare(&asked)) => prepared?,
        () = asked.cancel.cancelled() => return Err(Error::cancelled("the run was ended before it began")),
    };
    let Prepared { cluster, launch, secrets, repository } = prepared;
    let moves = asked.plan.iter().any(Plan::takes_snapshots);
    let owner = Some(launch::outside::begin(&cluster, &launch, moves).await?);
    let orders = Orders { owner, ..launch.orders };
    let report = Box::pin(perform(&cluster, &asked, &orders, secrets, repository)).await;
    if is_over(&cluster, &asked.id, &report).await
        && let Err(error) = launch::outside::end(&cluster, &asked.id).await
    {
        tracing::warn!("the objects of run {} are left: {}", asked.id, error.chain());
    }
    launch::tidy(&cluster).await;
    report
}

/// What is known before the first change of anything.
struct Prepared {
    cluster: Cluster,
    launch: Launch,
    secrets: Gathered,
    repository: Repository,
}

async fn prepare(asked: &Asked<'_>) -> Result<Prepared> {
    within_reach(&asked.location)?;
    check_places(&asked.plan)?;
    let place = &asked.launch.place;
    let cluster = Cluster::of_user(place.context.as_deref(), place.namespace.as_deref()).await?;
    let targets = values::target(asked.values)?;
    let (namespace, quiet) = (place.namespace.as_deref(), asked.global.quiet);
    let placings =
        Box::pin(placing::find(&cluster, &asked.plan, &targets, namespace, &asked.store(), quiet)).await?;
    if let Some((placing, role)) = placings.iter().find_map(|one| Some((one, one.open()?))) {
        return Err(Error::input(format!(
            "{} has several pods, and which of them is `{role}` is asked by a pod",
            placing.found_by()
        ))
        .remedy("Name the pod by `--set target.workload=pod/NAME`, or leave out `--from-here`."));
    }
    let cluster = cluster.in_namespace(placing::namespace(&placings));
    let place = placing::place(&cluster, &placings, asked.plan.is_group(), own_permissions).await?;
    check_granted(&cluster, &place.permissions, Grantee::User).await?;
    let secrets = Gathered::of(&cluster, &asked.plan.request).await?;
    let repository = Repository::open(&asked.location, &asked.password).await?;
    if asked.plan.commits() {
        discard_strays(&repository).await;
    }
    // As it was asked for: whoever recovers the run reads its secrets from there.
    let request = asked.plan.request.clone();
    let launch = launch_of(asked, place, request, placing::start_deadline(&placings)?);
    Ok(Prepared { cluster, launch, secrets, repository })
}

/// Refuses what can only be done beside the target.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`], naming the step.
pub(super) fn check_places(plan: &RunPlan) -> Result<()> {
    const REMEDY: &str = "Leave out `--from-here`: the run is then a pod beside its target.";
    if let Some((step, why)) = plan.iter().find_map(Plan::bound_to_its_place) {
        return Err(
            Error::input(format!("{} has to be done beside the target: it {why}", step.id)).remedy(REMEDY)
        );
    }
    // In a pod beside it the files are compared with the server.
    if let Some(host) = plan.iter().filter(|plan| plan.takes_snapshots()).find_map(launch::dials_elsewhere) {
        return Err(Error::input(format!(
            "a volume of the target is captured, and nobody can see from here that it is that of the database at {host}"
        ))
        .remedy(format!("Leave `host` out: the target's pod is then reached by a forwarded port. {REMEDY}")));
    }
    match plan.iter().find_map(mistakable) {
        None => Ok(()),
        Some(path) => Err(Error::input(format!(
            "{} is there on this machine, too, and would be taken for the database's",
            path.display()
        ))
        .remedy(format!("Run it from a machine that has no such path. {REMEDY}"))),
    }
}

/// A volume whose path is there on this machine, too: hooks that find files where their server has them look at those.
fn mistakable(plan: &Plan) -> Option<PathBuf> {
    let scope = plan.static_scope();
    let volumes =
        plan.blueprint.spec.volumes.values().filter(|_| !plan.blueprint.spec.connections.is_empty());
    let mut paths = volumes.filter_map(|volume| render_text(&volume.path, &scope).ok());
    paths.find(|path| !path.is_empty() && Path::new(path).exists()).map(PathBuf::from)
}

async fn perform(
    cluster: &Cluster,
    asked: &Asked<'_>,
    orders: &Orders,
    secrets: Gathered,
    repository: Repository,
) -> Result<RunReport> {
    let beside = Beside {
        repository: Some(Arc::new(repository)),
        secrets: Arc::new(secrets),
        observer: progress::observer(asked.global.quiet),
    };
    let hooks = wiring::hooks();
    let plan = RunPlan::make(in_pod(&asked.plan.request), None, hooks.as_ref())?;
    let seams = Seams::from_here(cluster, orders, plan.limits.lease, beside)?;
    seams.check_containers(&plan).await?;
    let report = run(seams.host.clone(), plan, asked.id.clone(), asked.cancel.clone()).await;
    seams.settle().await;
    report
}

/// Recovers a dead run that was one from outside; `None` for another one.
pub(super) async fn recover_from_here(
    cluster: &Cluster,
    repository: Option<Arc<dyn Stored>>,
    id: &RunId,
) -> Result<Option<Vec<Recovered>>> {
    let Some(orders) = launch::outside::orders(cluster, id).await? else { return Ok(None) };
    let beside = Beside {
        repository,
        secrets: Arc::new(Gathered::as_far_as_possible(cluster, &orders.request).await),
        observer: Arc::new(NoObserver),
    };
    let seams = Seams::from_here(cluster, &orders, Limits::default().lease, beside)?;
    let recovered = recover(&seams.host, Some(id), Means::All).await;
    seams.settle().await;
    let recovered = recovered?;
    if recovered.iter().all(Recovered::is_whole)
        && let Err(error) = launch::outside::end(cluster, id).await
    {
        tracing::warn!("the objects of run {id} are left: {}", error.chain());
    }
    Ok(Some(recovered))
}
