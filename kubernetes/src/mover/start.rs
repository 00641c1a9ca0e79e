//! Waiting until a mover's pod runs, and saying why it does not.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use standstill_core::{Error, Result, units::show_duration};

use super::{
    manifests::CONTAINER,
    standing::{Standing, standing},
};
use crate::{
    client::{Cluster, Objects},
    record::MoverRecord,
};

/// How often the time that something was in the way is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Waits until the program of a pod runs, or has ended already.
///
/// # Errors
/// When it does not begin within the time, with what the cluster says is in its way.
pub(super) async fn started(
    cluster: &Cluster,
    pods: &Objects<Pod>,
    record: &MoverRecord,
    within: Duration,
) -> Result<()> {
    let deadline = Instant::now() + within;
    let mut obstacle: Option<Obstacle> = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let measured = is_measured(obstacle.as_ref());
        let slice = if measured { left.min(LOOK) } else { left };
        let seen = pods.wait(&record.name, slice, |pod| {
            let begun = look(pod, record, &mut obstacle)?;
            // What has its own patience ends the long wait, so that it can be measured.
            Ok(if begun {
                Some(true)
            } else {
                (!measured && is_measured(obstacle.as_ref())).then_some(false)
            })
        });
        if seen.await? == Some(true) {
            return Ok(());
        }
        let Some(found) = &obstacle else { continue };
        let tried = found.patience.is_some_and(|patience| found.since.elapsed() >= patience);
        if tried || Instant::now() >= deadline {
            return Err(found.told(cluster, record).await);
        }
    }
}

fn is_measured(obstacle: Option<&Obstacle>) -> bool {
    obstacle.is_some_and(|obstacle| obstacle.patience.is_some())
}

/// What is in the way of a pod, and since when.
struct Obstacle {
    words: String,
    patience: Option<Duration>,
    /// Since when this very patience is tried.
    since: Instant,
}

/// Takes a look: whether the program has begun.
fn look(pod: Option<&Pod>, record: &MoverRecord, obstacle: &mut Option<Obstacle>) -> Result<bool> {
    let Some(pod) = pod else { return Err(deleted(&record.name)) };
    match standing(pod, CONTAINER) {
        Standing::Runs | Standing::Ended(_) => Ok(true),
        Standing::Waits { words, patience } => {
            let before = obstacle.take().filter(|before| before.patience == patience);
            let since = before.map_or_else(Instant::now, |before| before.since);
            *obstacle = Some(Obstacle { words, patience, since });
            Ok(false)
        }
    }
}

/// Somebody removed the pod.
pub(super) fn deleted(name: &str) -> Error {
    Error::failed(format!("the pod {name} was deleted before it was done"))
        .remedy("Find out who deleted it (its node may have been drained), then run the backup again.")
}

impl Obstacle {
    /// The obstacle with all that the cluster says about it.
    async fn told(&self, cluster: &Cluster, record: &MoverRecord) -> Error {
        let mut words = self.words.clone();
        for more in [claim(cluster, &record.name).await, cluster.last_warning(&record.name).await] {
            if let Some(more) = more.filter(|more| !words.contains(more)) {
                words = format!("{words}; {more}");
            }
        }
        Error::failed(format!(
            "the pod {} did not begin to move data within {}: {words}",
            record.name,
            show_duration(self.since.elapsed())
        ))
        .remedy("These are the cluster's own words; put that right, and run the backup again.")
    }
}

/// What is wrong with the claim, if it is not bound.
async fn claim(cluster: &Cluster, name: &str) -> Option<String> {
    let found = cluster.objects::<PersistentVolumeClaim>().find(name).await.ok()??;
    let phase = found.status.and_then(|status| status.phase)?;
    (phase != "Bound").then(|| format!("its claim is {phase}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use standstill_core::point::RunId;

    use super::*;

    fn pod(reason: &str) -> Pod {
        let state: Value = json!({"waiting": {"reason": reason}});
        serde_json::from_value(json!({"metadata": {"name": "mover"}, "status": {"containerStatuses": [{
            "name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }]}}))
        .unwrap()
    }

    #[test]
    fn patience_begins_again_when_something_else_is_in_the_way() {
        let record = MoverRecord { run: RunId::generate(), namespace: "db".into(), name: "mover".into() };
        let mut obstacle = None;
        look(Some(&pod("ErrImagePull")), &record, &mut obstacle).unwrap();
        let first = obstacle.as_ref().unwrap().since;
        look(Some(&pod("ImagePullBackOff")), &record, &mut obstacle).unwrap();
        assert_eq!(obstacle.as_ref().unwrap().since, first);
        look(Some(&pod("ContainerCreating")), &record, &mut obstacle).unwrap();
        assert_eq!(obstacle.as_ref().unwrap().patience, None);
        assert!(look(None, &record, &mut obstacle).is_err());
    }
}
