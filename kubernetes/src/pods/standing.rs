//! How a pod stands: a pure judgement of its status.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus};

/// How a pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not begun.
    Waits {
        /// What is in its way, in the API's words.
        words: String,
        /// How long that may stay so; `None` for what others may change at any time.
        patience: Option<Duration>,
    },
    /// Its program runs.
    Runs,
    /// It has ended.
    Ended(End),
}

/// How a pod ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// The exit status of its program; none when the pod was ended from outside before it could say.
    pub(crate) status: Option<i32>,
    /// Why, in the API's words.
    pub(crate) why: String,
}

/// Reasons that stay: the name of the image is none, or it may not be pulled and is not there.
const FOR_GOOD: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];
/// Reasons that mostly stay: what the pod refers to is not there, or a node does not know of it yet.
const STAYS: [&str; 1] = ["CreateContainerConfigError"];
/// How long they may stay: a node may know of a new object a little later.
const SHORT: Duration = Duration::from_secs(15);
/// Reasons that pass when a registry answers again, unless it said that it has no such image.
const PULLS: [&str; 3] = ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"];
/// How long they may stay.
const LONG: Duration = Duration::from_secs(90);
/// What registries, and those who ask them, say again whenever they are asked; in lower case.
const ANSWERS_FOR_GOOD: [&str; 12] = [
    "not found",
    "manifest unknown",
    "name unknown",
    "no such host",
    "does not exist",
    "access denied",
    "unauthorized",
    "authentication required",
    "403 forbidden",
    "no match for platform",
    "invalid reference format",
    "certificate signed by unknown authority",
];

/// How a pod stands, by the state of one of its containers.
pub(crate) fn standing(pod: &Pod, container: &str) -> Standing {
    let status = pod.status.clone().unwrap_or_default();
    let state = state_of(&status, container);
    if let Some(ended) = state.as_ref().and_then(|state| state.terminated.clone()) {
        let words = [ended.reason, ended.message, ended.signal.map(|signal| format!("signal {signal}"))];
        return Standing::Ended(End { status: Some(ended.exit_code), why: joined(words) });
    }
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        return Standing::Ended(End { status: None, why: joined([status.reason, status.message]) });
    }
    if state.as_ref().is_some_and(|state| state.running.is_some()) {
        return Standing::Runs;
    }
    if let Some(waiting) = state.and_then(|state| state.waiting)
        && let Some(reason) = waiting.reason
        && !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing")
    {
        let patience = patience(&reason, waiting.message.as_deref().unwrap_or_default());
        return Standing::Waits { words: joined([Some(reason), waiting.message]), patience };
    }
    Standing::Waits { words: unscheduled(&status), patience: None }
}

/// Who ended a pod, or is ending it, where that is not its own program: it is deleted, its node is drained or has no room
/// for it any more, its time is over.
pub(crate) fn from_outside(pod: &Pod) -> Option<String> {
    let status = pod.status.clone().unwrap_or_default();
    let said = joined([status.reason, status.message]);
    let disrupted = status.conditions.iter().flatten();
    let disrupted = disrupted
        .filter(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True")
        .map(|condition| joined([condition.reason.clone(), condition.message.clone()]))
        .next();
    let deleted = || pod.metadata.deletion_timestamp.is_some().then(|| "it was deleted".to_owned());
    Some(said).filter(|said| !said.is_empty()).or(disrupted).or_else(deleted)
}

fn patience(reason: &str, message: &str) -> Option<Duration> {
    if FOR_GOOD.contains(&reason) || (PULLS.contains(&reason) && is_for_good(message)) {
        Some(Duration::ZERO)
    } else if STAYS.contains(&reason) {
        Some(SHORT)
    } else if PULLS.contains(&reason) {
        Some(LONG)
    } else {
        None
    }
}

/// Whether words are about an image that is being pulled, and do not say why that fails.
pub(super) fn is_unexplained_pull(words: &str) -> bool {
    PULLS.iter().any(|reason| words.starts_with(reason)) && !words.contains("rpc error")
}

/// Whether the answer about an image will be the same one again.
pub(super) fn is_for_good(message: &str) -> bool {
    let message = message.to_lowercase();
    ANSWERS_FOR_GOOD.iter().any(|answer| message.contains(answer))
}

/// Why a pod is not ready, as far as its status says; nothing where it says nothing.
pub(crate) fn why_not_ready(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let waiting = containers.filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.clone()?;
        let reason = waiting.reason.filter(|reason| reason != "PodInitializing")?;
        Some(joined([Some(format!("container {}", container.name)), Some(reason), waiting.message]))
    });
    let waiting: Vec<String> = waiting.collect();
    if !waiting.is_empty() {
        return waiting.join("; ");
    }
    let refused = |kind: &str| {
        let mut conditions = status.conditions.iter().flatten();
        let found = conditions.find(|condition| condition.type_ == kind && condition.status == "False")?;
        Some(joined([found.reason.clone(), found.message.clone()]))
    };
    refused("PodScheduled").or_else(|| refused("Ready")).unwrap_or_default()
}

fn state_of(status: &PodStatus, container: &str) -> Option<ContainerState> {
    let is_it = |status: &&ContainerStatus| status.name == container;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.into_iter().find(is_it).and_then(|status| status.state.clone())
}

/// Why a pod has no node, or that it is being started on it.
fn unscheduled(status: &PodStatus) -> String {
    let mut conditions = status.conditions.iter().flatten();
    let refused =
        conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    match refused {
        Some(condition) => joined([condition.reason.clone(), condition.message.clone()]),
        None => "its container is being created".to_owned(),
    }
}

fn joined<const N: usize>(words: [Option<String>; N]) -> String {
    let words: Vec<String> = words.into_iter().flatten().filter(|words| !words.is_empty()).collect();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stands(status: &Value) -> Standing {
        let pod = json!({"metadata": {"name": "mover"}, "spec": {"containers": []}, "status": status});
        standing(&serde_json::from_value(pod).unwrap(), "mover")
    }

    fn container(state: &Value) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{
            "name": "mover", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }]})
    }

    fn waits(words: &str, patience: Option<Duration>) -> Standing {
        Standing::Waits { words: words.into(), patience }
    }

    #[test]
    fn a_pod_that_does_not_begin_says_why_in_the_words_of_the_api() {
        assert_eq!(stands(&json!({})), waits("its container is being created", None));
        let unscheduled = json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 pod has unbound immediate PersistentVolumeClaims.",
        }]});
        let words =
            "Unschedulable: 0/1 nodes are available: 1 pod has unbound immediate PersistentVolumeClaims.";
        assert_eq!(stands(&unscheduled), waits(words, None));
        let creating = container(&json!({"waiting": {"reason": "ContainerCreating"}}));
        assert_eq!(stands(&creating), waits("its container is being created", None));
    }

    #[test]
    fn a_pod_that_others_end_says_who() {
        let ended = |metadata: &Value, status: &Value| {
            let pod = json!({"metadata": metadata, "spec": {"containers": []}, "status": status});
            from_outside(&serde_json::from_value(pod).unwrap())
        };
        let (named, done) = (json!({"name": "a"}), json!({"phase": "Succeeded"}));
        assert_eq!(ended(&named, &done), None);
        let evicted =
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."});
        assert_eq!(ended(&named, &evicted).unwrap(), "Evicted: The node was low on memory.");
        let drained = json!({"phase": "Failed", "conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        }]});
        assert_eq!(ended(&named, &drained).unwrap(), "EvictionByEvictionAPI");
        let deleted = json!({"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(ended(&deleted, &done).unwrap(), "it was deleted");
    }

    #[test]
    fn an_image_that_is_not_there_is_given_up_at_once_and_a_registry_that_is_away_is_waited_for() {
        let waiting = |reason: &str, message: &str| match stands(&container(
            &json!({"waiting": {"reason": reason, "message": message}}),
        )) {
            Standing::Waits { words, patience } => {
                assert_eq!(words, format!("{reason}: {message}"));
                patience
            }
            other => panic!("{other:?}"),
        };
        let at_once = Some(Duration::ZERO);
        assert_eq!(waiting("ErrImageNeverPull", "it is not there"), at_once);
        assert_eq!(waiting("InvalidImageName", "no such image"), at_once);
        let no_tag =
            "rpc error: code = NotFound desc = failed to pull and unpack image \"r/a:b\": r/a:b: not found";
        assert_eq!(waiting("ErrImagePull", no_tag), at_once);
        let denied = "rpc error: code = Unknown desc = pull access denied, repository does not exist";
        assert_eq!(waiting("ImagePullBackOff", denied), at_once);
        let away = "rpc error: code = Unknown desc = dial tcp 10.0.0.1:443: connect: connection refused";
        assert_eq!(waiting("ErrImagePull", away), Some(LONG));
        assert_eq!(waiting("CreateContainerConfigError", "secret \"a\" not found"), Some(SHORT));
        assert!(is_unexplained_pull("ImagePullBackOff: Back-off pulling image \"r/a:b\""));
        assert!(!is_unexplained_pull(&format!("ErrImagePull: {away}")));
    }

    #[test]
    fn a_pod_that_is_not_ready_says_what_its_containers_wait_for() {
        let why = |status: Value| {
            let pod = json!({"metadata": {}, "status": status});
            why_not_ready(&serde_json::from_value(pod).unwrap())
        };
        let crashing =
            container(&json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}));
        assert_eq!(why(crashing), "container mover: CrashLoopBackOff: back-off 10s");
        let unready = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady",
            "message": "containers with unready status: [postgres]"}]});
        assert_eq!(why(unready), "ContainersNotReady: containers with unready status: [postgres]");
        assert_eq!(why(json!({})), "");
    }

    #[test]
    fn a_program_that_ended_says_its_status_and_one_that_was_killed_why() {
        assert_eq!(stands(&container(&json!({"running": {}}))), Standing::Runs);
        let ended = |code: i32, reason: &str| {
            stands(&container(&json!({"terminated": {"exitCode": code, "reason": reason}})))
        };
        assert_eq!(ended(0, "Completed"), Standing::Ended(End { status: Some(0), why: "Completed".into() }));
        assert_eq!(
            ended(137, "OOMKilled"),
            Standing::Ended(End { status: Some(137), why: "OOMKilled".into() })
        );
        let evicted =
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource"});
        assert_eq!(
            stands(&evicted),
            Standing::Ended(End { status: None, why: "Evicted: The node was low on resource".into() })
        );
    }
}
