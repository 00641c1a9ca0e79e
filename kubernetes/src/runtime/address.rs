//! Where the target is reached: at its pod's address, or, from outside of the cluster, by a port of this machine.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use standstill_core::{Error, ErrorKind, Result};

use super::KubernetesRuntime;
use crate::{
    forward::Forwards,
    record::TargetAt,
    target::{Target, TargetPod},
};

/// How long looking for the pod's address may take: letting go of a hold may wait for it.
const ADDRESS: Duration = Duration::from_secs(3);

/// How long an address is taken for known: several connections are opened one after the other.
const FRESH: Duration = Duration::from_secs(5);

/// What is known about reaching the target's pod.
#[derive(Default)]
pub(super) struct Reached {
    address: Mutex<Option<(String, Instant)>>,
    /// From outside of the cluster, once something was dialled. All that a run reaches share them.
    forwards: Arc<Mutex<Option<Arc<Forwards>>>>,
}

impl Reached {
    /// Another pod, whose address is not known.
    pub(super) fn another(&self) -> Self {
        Self { address: Mutex::default(), forwards: Arc::clone(&self.forwards) }
    }

    /// Another pod, with an address that is known.
    pub(super) fn another_at(&self, address: &str) -> Self {
        let address = Mutex::new(Some((address.to_owned(), Instant::now())));
        Self { address, forwards: Arc::clone(&self.forwards) }
    }
}

impl KubernetesRuntime {
    /// The port of the target's pod as it is dialled from this process.
    pub(super) async fn own_port(&self, port: u16) -> Result<(String, u16)> {
        if self.settings.outside.is_none() {
            return Ok((self.pod_address().await?, port));
        }
        let pod = self.target_pod()?;
        let forwards = {
            let mut forwards = lock(&self.reached.forwards);
            match &*forwards {
                Some(forwards) if !forwards.is_over() => forwards.clone(),
                _ => forwards.insert(Arc::new(Forwards::start(&self.cluster)?)).clone(),
            }
        };
        Ok(("127.0.0.1".to_owned(), forwards.to(&pod.name, port).await?))
    }

    /// Waits until what was reached by forwarded ports knows that it is not any more.
    pub async fn settle(&self) {
        let forwards = lock(&self.reached.forwards).clone();
        if let Some(forwards) = forwards {
            forwards.settle().await;
        }
    }

    /// The address of the target's pod. It is asked for again and again, because a pod that was replaced has another
    /// one; an API server that is away must keep nobody from letting go, so the last one known will do then.
    pub(super) async fn pod_address(&self) -> Result<String> {
        let known = lock(&self.reached.address).clone();
        if let Some((address, _)) = known.filter(|(_, asked)| asked.elapsed() < FRESH) {
            return Ok(address);
        }
        let address = self.ask_address().await?;
        *lock(&self.reached.address) = Some((address.clone(), Instant::now()));
        Ok(address)
    }

    /// Where the target was seen last.
    pub(super) fn seen_at(&self) -> Option<TargetAt> {
        let (address, _) = lock(&self.reached.address).clone()?;
        TargetAt::of(self.target.as_deref()?, address)
    }

    /// Where a target is now that was somewhere; `None` where it is none of this run's.
    ///
    /// # Errors
    /// When that cannot be seen now: the address that it had may be another pod's.
    pub(super) async fn now_at(&self, then: &TargetAt) -> Result<Option<String>> {
        let Some(pod) = self.pod_that_is(then) else { return Ok(None) };
        self.address_of(&pod.name).await.map(Some)
    }

    /// The address of a pod that was somewhere, where it is just there still; `None` where it is not.
    ///
    /// # Errors
    /// When that cannot be seen now.
    pub(super) async fn still_at(&self, then: &TargetAt) -> Result<Option<String>> {
        let found = self.look_for(&then.pod).await?;
        Ok(found.as_ref().and_then(address).filter(|address| *address == then.address))
    }

    /// The pod of this run's target, or of a member's, that a target is now which was somewhere.
    pub(super) fn pod_that_is(&self, then: &TargetAt) -> Option<&TargetPod> {
        let members = self.settings.members.values().map(|placed| &placed.target);
        self.target.as_deref().into_iter().chain(members).find_map(|target| then.pod_of(target))
    }

    fn target_pod(&self) -> Result<&TargetPod> {
        self.target.as_ref().and_then(|target| target.pod.as_ref()).ok_or_else(|| {
            Error::input(
                "the database is said to be on the target's own host, and the target's pod is not known",
            )
            .remedy("Name the target's workload, or give the database's host by an address of the cluster.")
        })
    }

    async fn ask_address(&self) -> Result<String> {
        let pod = self.target_pod()?;
        match self.look_for(&pod.name).await {
            Ok(found) => address_in(&pod.name, found.as_ref()),
            Err(error) if error.kind() == ErrorKind::Temporary => Ok(pod.address.clone()),
            Err(error) => Err(error),
        }
    }

    /// The address that a pod has now.
    async fn address_of(&self, name: &str) -> Result<String> {
        address_in(name, self.look_for(name).await?.as_ref())
    }

    async fn look_for(&self, name: &str) -> Result<Option<Pod>> {
        let pods = self.cluster.objects::<Pod>();
        let found = tokio::time::timeout(ADDRESS, pods.find(name)).await;
        found.unwrap_or_else(|_elapsed| Err(pods.attempt("get", Some(name)).timed_out(ADDRESS)))
    }
}

impl TargetAt {
    /// Where a target is, at this address; `None` for one without a pod.
    pub(super) fn of(target: &Target, address: String) -> Option<Self> {
        let pod = target.pod.as_ref()?.name.clone();
        let found_by = if target.peers.is_none() { target.found_by.clone() } else { String::new() };
        Some(Self { pod, address, found_by })
    }

    /// The pod of a target, where it is the same one: by the name of its pod, or because one pod alone is found by the
    /// same words. The pods of a Deployment have another name each time.
    fn pod_of<'a>(&self, target: &'a Target) -> Option<&'a TargetPod> {
        let by_words =
            target.peers.is_none() && !self.found_by.is_empty() && target.found_by == self.found_by;
        target.pod.as_ref().filter(|pod| by_words || pod.name == self.pod)
    }
}

/// The address of a pod that was looked for.
fn address_in(name: &str, found: Option<&Pod>) -> Result<String> {
    let Some(pod) = found else {
        return Err(Error::failed(format!("the pod {name} of the target is gone"))
            .remedy("Run it again: the target is looked for anew."));
    };
    address(pod).ok_or_else(|| {
        Error::temporary(format!("the pod {name} has no address now")).remedy("Wait until it is ready again.")
    })
}

/// The address that a pod has; one that has ended may have left it to another pod.
fn address(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    status.pod_ip.clone().filter(|_| !has_ended)
}

/// What a panic elsewhere left is still the best that is known.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a host is the target's own, as the target sees it: a loopback address, or the directory of a socket.
pub(crate) fn is_own(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.is_empty()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::target::Peers;

    fn target(found_by: &str, pod: &str, several: bool) -> Target {
        let peers = Peers { selector: "app=db".into(), prefix: String::new() };
        let target = json!({
            "namespace": "db", "foundBy": found_by, "container": "db", "image": "db:1", "pullPolicy": null,
            "pod": {"name": pod, "uid": "1", "address": "10.0.0.9", "node": "node-1"},
            "peers": several.then_some(peers), "pullSecrets": [], "mounts": [], "runAsUser": null,
            "runAsGroup": null, "tolerations": [],
        });
        serde_json::from_value(target).unwrap()
    }

    #[test]
    fn a_target_is_the_same_by_its_pods_name_or_as_the_only_one_that_is_found_by_the_same_words() {
        let then = |target: &Target| TargetAt::of(target, "10.0.0.1".into()).unwrap();
        let of_before = TargetAt { found_by: String::new(), ..then(&target("deployment/db", "db-1", false)) };
        for (then, now, same) in [
            (then(&target("statefulset/db", "db-0", false)), target("statefulset/db", "db-0", false), true),
            (then(&target("pod/db-0", "db-0", false)), target("statefulset/db", "db-0", true), true),
            (then(&target("deployment/db", "db-1", false)), target("deployment/db", "db-2", false), true),
            (then(&target("deployment/db", "db-1", false)), target("deployment/other", "o-1", false), false),
            (then(&target("deployment/db", "db-1", false)), target("deployment/db", "db-2", true), false),
            (then(&target("statefulset/db", "db-1", true)), target("statefulset/db", "db-0", false), false),
            (of_before.clone(), target("deployment/db", "db-2", false), false),
            (of_before, target("", "db-2", false), false),
        ] {
            assert_eq!(then.pod_of(&now).is_some(), same, "{then:?} {now:?}");
        }
        let mut gone = target("deployment/db", "db-1", false);
        gone.pod = None;
        assert_eq!(TargetAt::of(&gone, String::new()), None);
        assert_eq!(then(&target("deployment/db", "db-1", false)).pod_of(&gone), None);
    }

    #[test]
    fn the_address_of_a_pod_that_is_gone_or_has_ended_is_not_known() {
        let pod =
            |status: serde_json::Value| -> Pod { serde_json::from_value(json!({"status": status})).unwrap() };
        let runs = pod(json!({"phase": "Running", "podIP": "10.0.0.1"}));
        assert_eq!(address_in("db-0", Some(&runs)).unwrap(), "10.0.0.1");
        for other in [json!({"phase": "Pending"}), json!({"phase": "Failed", "podIP": "10.0.0.1"})] {
            let error = address_in("db-0", Some(&pod(other))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Temporary);
        }
        assert_eq!(address_in("db-0", None).unwrap_err().kind(), ErrorKind::Failed);
    }

    #[test]
    fn only_loopback_addresses_and_sockets_are_the_targets_own_host() {
        for own in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "/run/postgresql", ""]
        {
            assert!(is_own(own), "{own}");
        }
        for other in ["pg", "pg.db.svc", "10.0.0.1", "localhost.example", "::2"] {
            assert!(!is_own(other), "{other}");
        }
    }
}
