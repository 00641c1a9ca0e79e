//! What the cluster says about what is in the way of a pod: events, and claims that are not bound.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::standing::is_for_good;
use crate::client::Cluster;

/// What a controller says while something that was just made is not known everywhere; in lower case.
const PASSES: [&str; 2] = ["error looking up service account", "status unknown for quota"];

/// Why the cluster makes no pod for a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// In its own words.
    pub(crate) words: String,
    /// Whether the same would be said again.
    pub(crate) for_good: bool,
}

/// Why a pod's image cannot be had, if that is certain.
pub(super) async fn lost_image(cluster: &Cluster, pod: &str) -> Option<String> {
    let is_it = |words: &String| words.contains("Failed to pull image") && is_for_good(words);
    cluster.warnings(pod).await.into_iter().find(is_it)
}

/// Why a Job has no pod, if that was said.
pub(crate) async fn refusal(cluster: &Cluster, job: &str) -> Option<Refusal> {
    cluster.last_warning(job).await.map(judge)
}

fn judge(words: String) -> Refusal {
    let lower = words.to_lowercase();
    let for_good = lower.starts_with("failedcreate")
        && (lower.contains("forbidden")
            || lower.contains("denied the request")
            || lower.contains("is invalid"))
        && !PASSES.iter().any(|passes| lower.contains(passes));
    Refusal { words, for_good }
}

/// What there is to say about a pod and its claims besides `words`.
pub(super) async fn more(cluster: &Cluster, pod: &str, claims: &[String], words: &str) -> String {
    let mut all = words.to_owned();
    let mut add = |more: Option<String>| {
        if let Some(more) = more.filter(|more| !all.contains(more.as_str())) {
            all = format!("{all}; {more}");
        }
    };
    for claim in claims {
        add(unbound(cluster, claim).await);
    }
    add(cluster.last_warning(pod).await);
    all
}

/// What is wrong with a claim, if it is not bound.
async fn unbound(cluster: &Cluster, name: &str) -> Option<String> {
    let found = cluster.objects::<PersistentVolumeClaim>().find(name).await.ok()?;
    let Some(claim) = found else { return Some(format!("the claim {name} is not there")) };
    let phase = claim.status.and_then(|status| status.phase)?;
    if phase == "Bound" {
        return None;
    }
    let why = cluster.last_warning(name).await.map_or_else(String::new, |words| format!(" ({words})"));
    Some(format!("the claim {name} is {phase}{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_for_good_unless_something_new_is_only_not_known_yet() {
        let for_good = |words: &str| judge(words.to_owned()).for_good;
        assert!(for_good(
            "FailedCreate: Error creating: pods \"a\" is forbidden: exceeded quota: small, requested: pods=1"
        ));
        assert!(for_good(
            "FailedCreate: Error creating: admission webhook \"policy\" denied the request: no hostPath"
        ));
        assert!(!for_good(
            "FailedCreate: Error creating: pods \"a\" is forbidden: error looking up service account db/a"
        ));
        assert!(!for_good(
            "FailedCreate: Error creating: pods \"a\" is forbidden: status unknown for quota: small"
        ));
        assert!(!for_good("FailedCreate: Error creating: Internal error occurred"));
        assert!(!for_good("FailedMount: forbidden"));
    }
}
