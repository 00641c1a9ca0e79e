//! Looking at runs of a cluster, and recovering them, from outside.

use std::sync::Arc;

use standstill_core::{
    Result,
    journal::{JournalStore, RunState, RunSummary},
    plan::{Plan, RunPlan, ShownPlan},
    point::{KeptSnapshot, RunId},
    repository::Repository,
    runner::{Host, Means, Recovered},
};
use standstill_kubernetes::{
    Cluster, ClusterJournals, ClusterLocks, KubernetesRuntime, Outside, RuntimeSettings,
    launch::{self, Permissions, Rule, own_permissions, permissions, to_find_the_owner},
    machine,
};

use super::{
    here::{check_places, recover_from_here},
    launch::Printer,
    placing::values_of,
    seams::SETTLE,
};
use crate::{
    arguments::{Global, Place, Values},
    output, values,
};

async fn cluster(place: &Place) -> Result<Cluster> {
    Cluster::of_user(place.context.as_deref(), place.namespace.as_deref()).await
}

/// The journals of a namespace.
pub async fn journals(place: &Place) -> Result<Arc<dyn JournalStore>> {
    Ok(Arc::new(ClusterJournals::new(&cluster(place).await?)))
}

/// Recovers dead runs: those that were run from outside as they were, others each by a pod like its own where its objects
/// are still there, and otherwise from here, as far as that goes: what they made in the cluster can be removed from
/// anywhere.
pub async fn recover(
    global: &Global,
    host: Host,
    place: &Place,
    only: Option<&RunId>,
    means: Means,
) -> Result<Vec<Recovered>> {
    let cluster = cluster(place).await?;
    let journals = ClusterJournals::new(&cluster);
    let runs = journals.runs().await?;
    let mut dead: Vec<&RunSummary> = runs.iter().filter(|summary| summary.state == RunState::Dead).collect();
    dead.retain(|summary| only.is_none_or(|only| summary.run == *only));
    let mut recovered = Vec::new();
    // What was let go by hand needs nothing that is beside the target.
    for summary in dead.iter().filter(|_| means == Means::All) {
        match Box::pin(where_it_ran(&cluster, global, host.repository.clone(), &summary.run)).await {
            Ok(of_run) => recovered.extend(of_run),
            Err(error) => tracing::warn!(
                "run {} cannot be recovered where it ran, and is from here, as far as that goes: {}",
                summary.run,
                error.chain()
            ),
        }
    }
    let settings = RuntimeSettings { outside: Some(machine()), ..RuntimeSettings::default() };
    let host = Host {
        journals: Arc::new(journals.clone()),
        locks: Arc::new(ClusterLocks::new(&cluster)),
        // What was meant for a place beside the target is not done on this machine.
        runtime: Arc::new(KubernetesRuntime::new(
            Arc::new(Outside::new(host.runtime)),
            cluster.clone(),
            settings,
        )),
        ..host
    };
    let from_here = match only {
        // It says what is wrong with it where it is not dead.
        Some(only) if recovered.is_empty() => standstill_core::runner::recover(&host, Some(only), means)
            .await
            .map(|of_run| recovered.extend(of_run)),
        Some(_) => Ok(()),
        None => {
            the_rest(&host, &dead, &mut recovered, means).await;
            Ok(())
        }
    };
    journals.settle(SETTLE).await;
    launch::tidy(&cluster).await;
    from_here.map(|()| recovered)
}

/// Recovers a dead run as it was run: from here, or by a pod like its own; nothing where its objects are gone.
async fn where_it_ran(
    cluster: &Cluster,
    global: &Global,
    repository: Option<Arc<dyn Repository>>,
    run: &RunId,
) -> Result<Vec<Recovered>> {
    if let Some(of_run) = recover_from_here(cluster, repository, run).await? {
        return Ok(of_run);
    }
    let mut printer = Printer::new(global.quiet);
    Ok(launch::recover(cluster, run, &mut printer).await?.unwrap_or_default())
}

/// Recovers dead runs that were not recovered where they ran. One that cannot be keeps no other from it.
async fn the_rest(host: &Host, dead: &[&RunSummary], recovered: &mut Vec<Recovered>, means: Means) {
    for summary in dead {
        if recovered.iter().any(|other| other.run == summary.run) {
            continue;
        }
        match standstill_core::runner::recover(host, Some(&summary.run), means).await {
            // Somebody finished it meanwhile.
            Ok(of_run) if of_run.is_empty() => recovered.push(Recovered::nothing(summary)),
            Ok(of_run) => recovered.extend(of_run),
            Err(error) => recovered.push(Recovered::failed(summary, &error)),
        }
    }
}

/// Looks for snapshots that recovery points kept. One that is not there is told: it may be in another cluster.
pub async fn find_kept(place: &Place, kept: &[KeptSnapshot]) -> Result<()> {
    let cluster = cluster(place).await?;
    for snapshot in kept {
        if !standstill_kubernetes::has_kept(&cluster, snapshot).await? {
            tracing::warn!(
                "{} is not in this cluster: either it was removed, or it is in the cluster of another context, where \
                 it stays",
                snapshot.called
            );
        }
    }
    Ok(())
}

/// Removes snapshots that recovery points kept: all of them, whatever becomes of one. The first that could not be is told.
pub async fn remove_kept(place: &Place, kept: &[KeptSnapshot]) -> Result<()> {
    let cluster = cluster(place).await?;
    let mut outcome = Ok(());
    for snapshot in kept {
        if let Err(error) = standstill_kubernetes::remove_kept(&cluster, snapshot).await {
            tracing::error!("{}", error.chain());
            outcome = outcome.and(Err(error));
        }
    }
    outcome
}

/// Shows what would run, and what it would be allowed to do; with `from_here`, what says where the target is, what
/// whoever runs it from this machine has to be allowed.
pub fn plan(
    global: &Global,
    plan: &RunPlan,
    from_here: Option<&Values>,
    render: fn(&ShownPlan) -> String,
) -> Result<u8> {
    let shown = plan.show("Kubernetes")?;
    let mut needed = Permissions::default();
    let targets = from_here.map(values::target).transpose()?;
    if targets.is_some() {
        check_places(plan)?;
    }
    for member in plan.iter() {
        needed = needed.and(match &targets {
            Some(targets) => own_permissions(member, &values_of(plan, member, targets)?.1, None),
            None => permissions(member, None),
        });
    }
    // Nothing is asked here, the target's pod neither.
    if targets.is_some() && !plan.iter().any(Plan::enters_target) {
        needed.namespaced.push(to_find_the_owner());
    }
    let whose = if targets.is_some() { "a Role for whoever runs it" } else { "a Role that the run owns" };
    let together: Vec<Vec<&str>> =
        plan.iter().map(Plan::captured_together).filter(|volumes| volumes.len() > 1).collect();
    let role = format!("standstill-{}", plan.name);
    let document = serde_json::json!({
        "plan": shown, "permissions": needed, "manifests": needed.manifests(&role), "capturedTogether": together,
    });
    output::result(global, &document, || {
        format!("{}\n{}{}", render(&shown), groups(&together), rules(&needed, whose))
    })?;
    Ok(output::DONE)
}

/// How volumes of one database are captured together. What the cluster has is not looked at here.
fn groups(together: &[Vec<&str>]) -> String {
    let told = together.iter().map(|volumes| {
        format!(
            "the volumes {} are captured at one moment by a VolumeGroupSnapshot where the cluster has a class for them\n\
             and their claims share labels that no other claim has; otherwise each by a VolumeSnapshot, at the same time\n\n",
            volumes.join(" and ")
        )
    });
    told.collect()
}

fn rules(permissions: &Permissions, whose: &str) -> String {
    let rule = |rule: &Rule| {
        let group = if rule.api_group.is_empty() { String::new() } else { format!(".{}", rule.api_group) };
        let resources: Vec<String> = rule.resources.iter().map(|name| format!("{name}{group}")).collect();
        format!("  {:46} {:40} {}\n", resources.join(", "), rule.verbs.join(", "), rule.reason)
    };
    let mut text = format!("permissions in the target's namespace ({whose})\n");
    text.extend(permissions.namespaced.iter().map(rule));
    if !permissions.cluster.is_empty() {
        text.push_str("\npermissions on objects of no namespace (the ClusterRole standstill-snapshots)\n");
        text.extend(permissions.cluster.iter().map(rule));
    }
    text
}
