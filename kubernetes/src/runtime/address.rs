//! Where the target is reached: at its pod's address, or, from outside of the cluster, by a port of this machine.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use standstill_core::{Error, ErrorKind, Result};

use super::KubernetesRuntime;
use crate::{forward::Forwards, record::TargetAt, target::TargetPod};

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
        Some(TargetAt { pod: self.target_pod().ok()?.name.clone(), address })
    }

    /// Where a target is now that was somewhere; `None` where it is not this one, or not known.
    pub(super) async fn now_at(&self, then: &TargetAt) -> Option<String> {
        let is_ours = self.target_pod().is_ok_and(|pod| pod.name == then.pod);
        if is_ours { self.pod_address().await.ok() } else { None }
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
        let pods = self.cluster.objects::<Pod>();
        match tokio::time::timeout(ADDRESS, pods.find(&pod.name)).await {
            Ok(Ok(Some(found))) => found.status.and_then(|status| status.pod_ip).ok_or_else(|| {
                Error::temporary(format!("the pod {} has no address now", pod.name))
                    .remedy("Wait until it is ready again.")
            }),
            Ok(Ok(None)) => Err(Error::failed(format!("the pod {} of the target is gone", pod.name))
                .remedy("Run it again: the target is looked for anew.")),
            Ok(Err(error)) if error.kind() != ErrorKind::Temporary => Err(error),
            Ok(Err(_)) | Err(_) => Ok(pod.address.clone()),
        }
    }
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
    use super::*;

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
