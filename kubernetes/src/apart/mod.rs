//! Commands in pods of their own: steps `pod`.
//!
//! ```text
//!   spec ──▶ pod (the run owns it) ──▶ its end: exit status ─┐
//!              └── its log ──────────────────────────────────┴▶ output ──▶ removed
//! ```
//!
//! Secrets are named in the pod and read by the kubelet: from the run's own Secret, or from those that the values name.
//! Nothing but a pod is made, and a pod that nobody watches any more ends with its step's time.
//!
//! # Rights
//! In the namespace: `create`, `get`, `list`, `watch` and `delete` on `pods`; `get` on `pods/log`; `list` on `events`.

mod manifest;

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use serde_json::Value;
use standstill_core::{
    Error, Result,
    cluster::{PodSpec, Pods},
    hook::Undone,
    point::RunId,
    runtime::{Exit, Output},
};
use tokio_util::sync::CancellationToken;

use self::manifest::CONTAINER;
use crate::{
    client::{Cluster, Objects, explain},
    mover::MoverSettings,
    names,
    pods::{End, Standing, Start, ended, from_outside, make, standing},
    record::{PodRecord, Record, name_part},
    target::Target,
};

/// The most that a command may write.
const OUTPUT_LIMIT: i64 = 1024 * 1024;
/// How long its output may take to be read.
const READ: Duration = Duration::from_secs(30);
/// How long a pod may take to be gone.
const GONE: Duration = Duration::from_mins(2);

/// Where the value of a secret parameter is: the name of a Secret, and the key in it.
pub(crate) type SecretKey = (String, String);

/// Runs commands in pods of their own.
pub(crate) struct Apart {
    pub(crate) cluster: Cluster,
    pub(crate) target: Option<Arc<Target>>,
    /// What all pods of the run are made like.
    pub(crate) settings: MoverSettings,
    /// Where the values of the secret parameters are, by their names.
    pub(crate) secrets: BTreeMap<String, SecretKey>,
    /// The run that they are of.
    pub(crate) run: Option<RunId>,
}

/// Where no run is that pods would be made for: a dead one is recovered whose own objects are gone.
pub(crate) struct Nowhere;

#[async_trait]
impl Pods for Nowhere {
    fn intend(&self, spec: &PodSpec, _run: &RunId) -> Result<Value> {
        Err(Error::failed(format!("{} runs in a pod, and what its run made pods of is gone", spec.step))
            .remedy("Do by hand what it is for."))
    }

    async fn run(&self, spec: &PodSpec, _: &Value, _: Duration, _: &CancellationToken) -> Result<Output> {
        Err(Error::failed(format!("{} runs in a pod, and there is none for it", spec.step)))
    }
}

#[async_trait]
impl Pods for Apart {
    fn intend(&self, spec: &PodSpec, run: &RunId) -> Result<Value> {
        let name = names::of_run(&format!("pod-{}", name_part(&spec.step)), run);
        let record = PodRecord { run: run.clone(), namespace: self.cluster.namespace().to_owned(), name };
        // What cannot be made is refused before it is in the journal.
        self.manifest(spec, &record, Duration::ZERO)?;
        Record::Pod(record).to_value()
    }

    async fn run(
        &self,
        spec: &PodSpec,
        record: &Value,
        within: Duration,
        cancel: &CancellationToken,
    ) -> Result<Output> {
        let Some(Record::Pod(record)) = Record::from_value(record)? else {
            return Err(Error::failed(format!("the record of {} is not of a pod", spec.step)));
        };
        tokio::select! {
            output = self.perform(spec, &record, within) => output,
            () = cancel.cancelled() => {
                Err(Error::cancelled(format!("{} was ended before its command was done", spec.step)))
            }
        }
    }
}

impl Apart {
    async fn perform(&self, spec: &PodSpec, record: &PodRecord, within: Duration) -> Result<Output> {
        let (pods, name) = (self.cluster.objects::<Pod>(), &record.name);
        let pod = make(&pods, &self.manifest(spec, record, within)?, name, &record.run).await?;
        let start = Start {
            cluster: &self.cluster,
            name,
            within: self.settings.start.min(within),
            judge: of_command,
        };
        let begun = start.wait(Some(&pod), &mut |words| tracing::info!("the pod {name} is {words}")).await?;
        let end = match begun {
            (Standing::Ended(end), _) => end,
            (_, version) => ended(&pods, name, of_command, version).await?,
        };
        let exit = exit(spec, name, &end)?;
        Ok(Output { exit, stdout: said(&pods, spec, name).await?, stderr: String::new() })
    }

    fn manifest(&self, spec: &PodSpec, record: &PodRecord, within: Duration) -> Result<Value> {
        // A dead run that is recovered has parameters of its own, by the same names.
        let none = BTreeMap::new();
        let secrets = if self.run.as_ref() == Some(&record.run) { &self.secrets } else { &none };
        let of = manifest::Of { record, target: self.target.as_deref(), settings: &self.settings, secrets };
        of.pod(spec, within)
    }
}

/// How the pod of a command stands. What a program says that others end is nothing that it said itself.
fn of_command(pod: &Pod) -> Standing {
    match (standing(pod, CONTAINER), from_outside(pod)) {
        (Standing::Ended(_), Some(why)) => Standing::Ended(End { status: None, why }),
        (standing, _) => standing,
    }
}

/// How the command ended.
fn exit(spec: &PodSpec, name: &str, end: &End) -> Result<Exit> {
    if end.why.contains("OOMKilled") {
        return Err(Error::failed(format!(
            "the command of {} had too little memory ({})",
            spec.step, end.why
        ))
        .remedy("Give it more by the step's `resources: {memory: …}`."));
    }
    let Some(status) = end.status else {
        return Err(Error::failed(format!("the pod {name} of {} was ended from outside: {}", spec.step, end.why))
            .remedy("Find out who ended it (its node may have been drained, or its time was over), then run it again."));
    };
    Ok(Exit::Status(status))
}

/// What the command wrote.
async fn said(pods: &Objects<Pod>, spec: &PodSpec, name: &str) -> Result<String> {
    let parameters = LogParams {
        container: Some(CONTAINER.into()),
        limit_bytes: Some(OUTPUT_LIMIT + 1),
        ..LogParams::default()
    };
    let attempt = pods.attempt("get", Some(name)).of("pods/log");
    let read = async {
        let mut bytes = Vec::new();
        let stream = pods.api().log_stream(name, &parameters).await?;
        pin!(stream).read_to_end(&mut bytes).await.map_err(kube::Error::ReadEvents)?;
        Ok(bytes)
    };
    let bytes = match tokio::time::timeout(READ, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(cause)) => return Err(explain(attempt, cause)),
        Err(_elapsed) => return Err(attempt.timed_out(READ)),
    };
    if i64::try_from(bytes.len()).is_ok_and(|length| length <= OUTPUT_LIMIT) {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    Err(Error::failed(format!("the command of {} wrote more than 1 MiB", spec.step))
        .remedy("Have it say less; large output belongs into a `stream` step."))
}

/// Removes a pod. It is gone when this returns.
pub(crate) async fn dispose(cluster: &Cluster, record: &PodRecord) -> Result<Undone> {
    let pods = cluster.in_namespace(&record.namespace).objects::<Pod>();
    let gone = pods.remove(&record.name, &record.run, GONE).await?;
    Ok(if gone { Undone::LetGo } else { Undone::AlreadyGone })
}

#[cfg(test)]
mod tests {
    use super::*;
    use standstill_core::language::PodSecurity;

    fn spec() -> PodSpec {
        PodSpec {
            step: "prepare.convert".into(),
            image: "tool:1".into(),
            argv: vec!["convert".into()],
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            volumes: Vec::new(),
            security: PodSecurity::Restricted,
            cpu: None,
            memory: None,
        }
    }

    #[test]
    fn only_what_the_command_said_itself_is_how_it_ended() {
        let end = |status, why: &str| exit(&spec(), "pod", &End { status, why: why.into() });
        assert_eq!(end(Some(3), "Error").unwrap(), Exit::Status(3));
        let error = end(None, "Evicted").unwrap_err().to_string();
        assert_eq!(error, "the pod pod of prepare.convert was ended from outside: Evicted");
        assert!(end(Some(137), "OOMKilled").unwrap_err().to_string().contains("too little memory"));
    }
}
