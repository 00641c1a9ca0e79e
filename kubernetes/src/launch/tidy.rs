//! What earlier runs left that nobody looked after.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{batch::v1::Job, core::v1::ServiceAccount, rbac::v1::ClusterRoleBinding};
use kube::ResourceExt;
use standstill_core::{
    Result,
    journal::{Event, JournalStore, RunState},
    point::RunId,
};

use super::{
    manifests::{NAMESPACE, RUNNER},
    outside,
};
use crate::{client::Cluster, journal::ClusterJournals, names};

/// How long tidying up may take: it is in the way of a result.
pub(super) const TIDYING: Duration = Duration::from_secs(10);
/// How long whoever follows a run may take to get its report.
const REPORTED: SignedDuration = SignedDuration::from_secs(15);

/// How long a launch may take to make its Job, which it does within seconds.
const LAUNCHED: SignedDuration = SignedDuration::from_mins(5);

/// Removes what earlier runs left that nobody followed, or that have been recovered since. Whoever may not do that
/// leaves it to others.
pub async fn tidy(cluster: &Cluster) {
    let jobs = async {
        let jobs = cluster.objects::<Job>().list(&names::of_role(RUNNER)).await?;
        let ended = async {
            let removed = remove_ended(cluster, &jobs).await?;
            remove_bindings(cluster, &removed).await
        };
        // Who may not do the one may be allowed to do the other.
        let (unfinished, ended) = tokio::join!(remove_unfinished(cluster, &jobs), ended);
        unfinished.and(ended)
    };
    let both = async { tokio::join!(outside::tidy(cluster), jobs) };
    let Ok((orders, jobs)) = tokio::time::timeout(TIDYING, Box::pin(both)).await else { return };
    for error in [orders, jobs].into_iter().filter_map(Result::err) {
        tracing::debug!("objects of earlier runs are left: {}", error.chain());
    }
}

/// Removes what launches made that ended before they made their Jobs: all of that is owned by the account.
async fn remove_unfinished(cluster: &Cluster, jobs: &[Job]) -> Result<()> {
    let accounts = cluster.objects::<ServiceAccount>();
    for account in accounts.list(&names::of_role(RUNNER)).await? {
        if is_unfinished(&account, jobs, Timestamp::now()) {
            accounts.delete(&account.name_any()).await?;
        }
    }
    Ok(())
}

/// Whether an account is that of a launch that made no Job, and will not any more.
fn is_unfinished(account: &ServiceAccount, jobs: &[Job], now: Timestamp) -> bool {
    let is_old = account.creation_timestamp().is_some_and(|made| now.duration_since(made.0) > LAUNCHED);
    is_old
        && account.owner_references().is_empty()
        && jobs.iter().all(|job| job.name_any() != account.name_any())
}

/// Removes the Jobs of runs whose journals say that nothing is left to do; their names.
async fn remove_ended(cluster: &Cluster, jobs: &[Job]) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    if jobs.is_empty() {
        return Ok(removed);
    }
    let journals = ClusterJournals::new(cluster);
    let runs = journals.runs().await?;
    for job in jobs {
        let run = job.labels().get(names::RUN).map(String::as_str).unwrap_or_default();
        let has_ended = ended_before(job, Timestamp::now());
        let over = match runs.iter().find(|summary| summary.run.as_str() == run) {
            None => has_ended,
            Some(summary) if matches!(summary.state, RunState::Running | RunState::Dead) => false,
            // Nobody waits for the report of a run that was taken over, whenever the cluster notes that its Job has ended.
            Some(summary) => has_ended || was_taken_over(&journals, &summary.run).await?,
        };
        if over {
            cluster.objects::<Job>().delete(&job.name_any()).await?;
            removed.push(job.name_any());
        }
    }
    Ok(removed)
}

async fn was_taken_over(journals: &ClusterJournals, run: &RunId) -> Result<bool> {
    Ok(journals.read(run).await?.iter().any(|entry| matches!(entry.event, Event::TakenOver)))
}

/// Whether a Job ended long enough ago that whoever follows it has its report.
fn ended_before(job: &Job, now: Timestamp) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ends = conditions.filter(|condition| {
        condition.status == "True" && matches!(condition.type_.as_str(), "Failed" | "Complete")
    });
    let times = ends.filter_map(|condition| condition.last_transition_time.as_ref());
    times.map(|time| now.duration_since(time.0)).any(|since| since > REPORTED)
}

/// Removes bindings of the cluster whose runs are gone, or just `removed`: their accounts follow a little later.
async fn remove_bindings(cluster: &Cluster, removed: &[String]) -> Result<()> {
    let bindings = cluster.global::<ClusterRoleBinding>();
    for binding in bindings.list(&names::of_role(RUNNER)).await? {
        let name = binding.name_any();
        // Also those of other namespaces: one that was deleted took everything but this along.
        let namespace = binding.labels().get(NAMESPACE).cloned().unwrap_or_default();
        let accounts = cluster.in_namespace(&namespace).objects::<ServiceAccount>();
        if removed.contains(&name) || matches!(accounts.find(&name).await, Ok(None)) {
            bindings.delete(&name).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn account(owners: &Value) -> ServiceAccount {
        let metadata = json!({
            "name": "standstill-run-1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": owners,
        });
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn job(name: &str) -> Job {
        serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
    }

    #[test]
    fn only_an_account_that_is_old_and_has_no_job_is_of_a_launch_that_died() {
        let later: Timestamp = "2026-01-01T00:06:00Z".parse().unwrap();
        let alone = account(&json!([]));
        assert!(is_unfinished(&alone, &[job("standstill-run-2")], later));
        assert!(!is_unfinished(&alone, &[job("standstill-run-1")], later), "its Job was made");
        assert!(!is_unfinished(&alone, &[], "2026-01-01T00:04:00Z".parse().unwrap()), "it may still be made");
        let owner =
            json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "standstill-run-1", "uid": "1"}]);
        assert!(!is_unfinished(&account(&owner), &[], later), "it goes with its Job");
    }
}
