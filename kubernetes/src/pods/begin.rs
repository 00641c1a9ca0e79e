//! Waiting until the program of a pod runs, and saying why it does not.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use standstill_core::{Error, Result, units::show_duration};

use super::{
    standing::{Standing, is_unexplained_pull},
    words,
};
use crate::client::Cluster;

/// How often the time that something was in the way is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long nothing is said about what is in the way: most of it passes.
const QUIET: Duration = Duration::from_secs(5);
/// How often it is told when it becomes something else.
const TELL: Duration = Duration::from_secs(10);

/// A pod that is to begin.
pub(crate) struct Start<'a> {
    pub(crate) cluster: &'a Cluster,
    /// The pod.
    pub(crate) name: &'a str,
    /// How long it may take: a node is found, volumes are mounted, images are pulled.
    pub(crate) within: Duration,
    /// How it stands.
    pub(crate) judge: fn(&Pod) -> Standing,
}

impl Start<'_> {
    /// Waits until the program of a pod that was just made or seen runs, or has ended already; `known` is what was
    /// seen of it. What is in its way for long is told. Returns how the pod stands then, and in which version.
    ///
    /// # Errors
    /// When it does not begin within the time, or never will, with what the cluster says is in its way.
    pub(crate) async fn wait(
        &self,
        known: Option<&Pod>,
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(Standing, Option<String>)> {
        let pods = self.cluster.objects::<Pod>();
        let started = Instant::now();
        let mut look = Look::default();
        let mut since = known.and_then(ResourceExt::resource_version);
        if let Some(begun) = known.and_then(|pod| look.at(pod, self.judge)) {
            return Ok(begun);
        }
        let mut told = String::new();
        loop {
            let measured = look.is_measured();
            let left = self.within.saturating_sub(started.elapsed());
            let slice = if measured {
                left.min(LOOK)
            } else if started.elapsed() < QUIET {
                left.min(QUIET)
            } else {
                left.min(TELL)
            };
            let seen = pods.wait_since(self.name, since.take(), slice, |pod| {
                let begun = look.at(pod.ok_or_else(|| deleted(self.name))?, self.judge);
                // What has a patience of its own ends a long wait, so that it can be measured.
                let first = !measured && look.is_measured();
                Ok(if begun.is_some() || first { Some(begun) } else { None })
            });
            if let Some(Some(begun)) = seen.await? {
                return Ok(begun);
            }
            look.explain(self.cluster, self.name).await;
            if look.is_hopeless() || started.elapsed() >= self.within {
                return Err(look.told(self, started.elapsed()).await);
            }
            if started.elapsed() >= QUIET && look.words != told {
                tell(&format!("waiting: {}", look.words));
                told.clone_from(&look.words);
            }
        }
    }
}

/// What was seen last of a pod that has not begun.
#[derive(Debug, Default)]
struct Look {
    /// What is in its way.
    words: String,
    /// How long that may be so, and since when it is.
    patience: Option<(Duration, Instant)>,
    claims: Vec<String>,
}

impl Look {
    /// Takes a look: how the pod stands, and in which version, once the program has begun.
    fn at(&mut self, pod: &Pod, judge: fn(&Pod) -> Standing) -> Option<(Standing, Option<String>)> {
        let (words, patience) = match judge(pod) {
            Standing::Waits { words, patience } => (words, patience),
            begun => return Some((begun, pod.resource_version())),
        };
        let before = self.patience.filter(|(before, _)| Some(*before) == patience);
        let since = before.map_or_else(Instant::now, |(_, since)| since);
        self.patience = patience.map(|patience| (patience, since));
        self.words = words;
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        self.claims = volumes
            .filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()))
            .collect();
        None
    }

    fn is_measured(&self) -> bool {
        self.patience.is_some()
    }

    /// Looks for the cause of an image that cannot be pulled: kubelets before 1.30 say it for a moment only, and then
    /// in an event.
    async fn explain(&mut self, cluster: &Cluster, name: &str) {
        if !is_unexplained_pull(&self.words) {
            return;
        }
        if let Some(said) = words::lost_image(cluster, name).await {
            self.patience = Some((Duration::ZERO, Instant::now()));
            self.words = said;
        }
    }

    /// Whether waiting for longer is of no use.
    fn is_hopeless(&self) -> bool {
        self.patience.is_some_and(|(patience, since)| since.elapsed() >= patience)
    }

    /// The error, with all that the cluster says about it.
    async fn told(&self, start: &Start<'_>, after: Duration) -> Error {
        let words = words::more(start.cluster, start.name, &self.claims, &self.words).await;
        let text = format!("the pod {} did not begin within {}: {words}", start.name, show_duration(after));
        let at_once = self.patience.is_some_and(|(patience, _)| patience.is_zero());
        let error = if at_once { Error::input(text) } else { Error::failed(text) };
        error.remedy(remedy(&words))
    }
}

/// What to do about it.
fn remedy(words: &str) -> &'static str {
    let lower = words.to_lowercase();
    if lower.contains("image") {
        "Check the image's name and tag (`--image` or STANDSTILL_IMAGE for Standstill's own), that the registry can be \
         reached from the node, and that the target's `imagePullSecrets` may pull it."
    } else if lower.contains("the claim ") || lower.contains("persistentvolumeclaim") {
        "Look at the claim by `kubectl describe persistentvolumeclaim`: its storage class, and the driver that is to \
         make its volume; slow storage gets more time by `--set target.startDeadline=…`."
    } else if lower.contains("unschedulable") {
        "Make room on the node that it must be on; one that is still to come gets time by \
         `--set target.startDeadline=…`."
    } else {
        "These are the cluster's own words; put that right, and run it again."
    }
}

/// Somebody removed the pod.
pub(crate) fn deleted(name: &str) -> Error {
    Error::failed(format!("the pod {name} was deleted before it was done")).remedy(
        "Find out who deleted it (its node may have been drained), then run it again: that recovers what it left.",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pods::standing;

    fn pod(reason: &str, message: &str) -> Pod {
        let state: Value = json!({"waiting": {"reason": reason, "message": message}});
        serde_json::from_value(json!({
            "metadata": {"name": "mover"},
            "spec": {"containers": [], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-1"}}]},
            "status": {"containerStatuses": [{
                "name": "mover", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            }]},
        }))
        .unwrap()
    }

    fn judge(pod: &Pod) -> Standing {
        standing(pod, "mover")
    }

    #[test]
    fn patience_begins_again_when_something_else_is_in_the_way() {
        let mut look = Look::default();
        assert!(look.at(&pod("ErrImagePull", "connection refused"), judge).is_none());
        let first = look.patience;
        assert!(look.at(&pod("ImagePullBackOff", "connection refused"), judge).is_none());
        assert_eq!(look.patience, first);
        assert!(!look.is_hopeless());
        look.at(&pod("ContainerCreating", ""), judge);
        assert!(!look.is_measured());
        assert_eq!(look.claims, ["data-1"]);
    }

    #[test]
    fn what_will_never_be_there_is_not_waited_for() {
        let mut look = Look::default();
        look.at(&pod("ErrImagePull", "rpc error: r/a:b: not found"), judge);
        assert!(look.is_hopeless());
    }

    #[test]
    fn each_kind_of_obstacle_has_its_remedy() {
        assert!(remedy("ErrImagePull: not found").contains("imagePullSecrets"));
        assert!(remedy("Unschedulable: unbound; the claim new is Pending").contains("storage class"));
        assert!(remedy("Unschedulable: 0/1 nodes are available: 1 Insufficient memory").contains("room"));
    }
}
