//! How a mover's pod stands: a pure judgement of its status.

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

/// Reasons that mostly stay: the image's name or what the pod refers to is wrong.
const STAYS: [&str; 3] = ["InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"];
/// How long they may stay: a node may know of a new object a little later.
const SHORT: Duration = Duration::from_secs(15);
/// Reasons that pass when a registry answers again.
const PULLS: [&str; 3] = ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"];
/// How long they may stay.
const LONG: Duration = Duration::from_secs(90);

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
        let patience = patience(&reason);
        return Standing::Waits { words: joined([Some(reason), waiting.message]), patience };
    }
    Standing::Waits { words: unscheduled(&status), patience: None }
}

fn patience(reason: &str) -> Option<Duration> {
    if STAYS.contains(&reason) {
        Some(SHORT)
    } else if PULLS.contains(&reason) {
        Some(LONG)
    } else {
        None
    }
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
    fn an_image_that_cannot_be_had_is_not_waited_for_as_long_as_a_node() {
        let waiting = |reason: &str| {
            stands(&container(&json!({"waiting": {"reason": reason, "message": "no such image"}})))
        };
        assert_eq!(waiting("ErrImageNeverPull"), waits("ErrImageNeverPull: no such image", Some(SHORT)));
        assert_eq!(waiting("ImagePullBackOff"), waits("ImagePullBackOff: no such image", Some(LONG)));
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
