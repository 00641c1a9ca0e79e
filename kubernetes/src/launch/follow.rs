//! Following a run: until its pod is there, until its program runs, its log, its report.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::LogParams};
use standstill_core::{Error, Result, point::RunId, runner::RunReport, units::show_duration};

use super::{
    Orders, RunnerLine,
    manifests::{INSTALL, RUNNER},
    name,
};
use crate::{
    client::{Cluster, Objects},
    names,
    pods::{Log, Refusal, Standing, Start, refusal, standing},
};

/// How long the cluster may take to make the pod of a Job.
const MADE: Duration = Duration::from_secs(30);
/// How long the pod may take to begin by default: a node is found, volumes are mounted, images are pulled.
pub(super) const BEGUN: Duration = Duration::from_mins(5);
/// How soon it is looked why it does not.
const GLANCE: Duration = Duration::from_secs(3);
/// The pause before a log that broke off is read again.
const PAUSE: Duration = Duration::from_millis(500);
/// How many last lines are read for the report: messages of the program may follow it.
const LAST_LINES: i64 = 50;

/// Who is told what the run says.
pub trait Follow: Send {
    /// Progress, in words.
    fn said(&mut self, text: &str);
    /// A line of its log.
    fn logged(&mut self, line: &str);
}

/// Follows a run to its end.
///
/// # Errors
/// What the run could not begin for, in its own or the cluster's words; or that its report was lost.
pub async fn follow(cluster: &Cluster, orders: &Orders, told: &mut dyn Follow) -> Result<RunReport> {
    let begun = orders.start_deadline.map_or(BEGUN, Duration::from_millis);
    let labels = names::labels(&orders.run, RUNNER);
    let followed = Followed { run: &orders.run, labels: &labels, job: &name(orders), begun };
    match followed.to_end(cluster, told).await? {
        RunnerLine::Report(report) => Ok(*report),
        _ => Err(Error::failed(format!("the run {} ended with something else than a report", orders.run))),
    }
}

/// The pod of a run's Job that is followed.
pub(super) struct Followed<'a> {
    pub(super) run: &'a RunId,
    /// The labels that it has, and no pod of another Job: one that was deleted leaves its pod for a while.
    pub(super) labels: &'a BTreeMap<String, String>,
    /// The Job.
    pub(super) job: &'a str,
    /// How long it may take to begin.
    pub(super) begun: Duration,
}

impl Followed<'_> {
    /// Follows it to its last line.
    pub(super) async fn to_end(&self, cluster: &Cluster, told: &mut dyn Follow) -> Result<RunnerLine> {
        let pods = cluster.objects::<Pod>();
        let made = self.made(cluster, &pods).await?;
        let pod = made.name_any();
        let start = Start { cluster, name: &pod, within: self.begun, judge: of_both };
        start.wait(Some(&made), &mut |words| told.said(words)).await?;
        let mut log = Log::of(&pods, &pod, RUNNER);
        loop {
            // The last word is enough: nothing of the run comes after it, and that its pod has ended the cluster notes a
            // second later.
            if let Some(report) = log.find(|line| hear(line, told)).await {
                return report;
            }
            if let Some(ended) = ended(&pods, &pod).await? {
                return finish(&pods, &pod, &ended, self.run).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The pod, once the cluster has made it.
    async fn made(&self, cluster: &Cluster, pods: &Objects<Pod>) -> Result<Pod> {
        let labels = names::of_labels(self.labels);
        let began = Instant::now();
        let mut why: Option<Refusal> = None;
        while began.elapsed() < MADE && !why.as_ref().is_some_and(|why| why.for_good) {
            let found = pods.wait_for(&labels, GLANCE, |pod| Ok(pod.cloned())).await?;
            if let Some(pod) = found {
                return Ok(pod);
            }
            why = refusal(cluster, self.job).await;
        }
        Err(not_made(self.job, began.elapsed(), why))
    }
}

fn not_made(job: &str, after: Duration, why: Option<Refusal>) -> Error {
    let words = why.as_ref().map_or_else(String::new, |why| format!(": {}", why.words));
    let text = format!("the cluster made no pod for the Job {job} within {}{words}", show_duration(after));
    if words.contains("exceeded quota") {
        return Error::failed(text).remedy("Raise the namespace's ResourceQuota, or free what uses it up.");
    }
    match why {
        Some(why) if why.for_good => Error::input(text).remedy(
            "An admission rule of the cluster (a LimitRange, a pod security level, a webhook) refuses the run's pod; \
             change that rule, or use another namespace.",
        ),
        _ => Error::failed(text).remedy(format!("Look at it by `kubectl describe job {job}`.")),
    }
}

/// How a pod stands: where the target's image is used, a container before it brings the program.
fn of_both(pod: &Pod) -> Standing {
    let installs =
        pod.spec.as_ref().is_some_and(|spec| spec.init_containers.iter().flatten().next().is_some());
    if !installs {
        return standing(pod, RUNNER);
    }
    match standing(pod, INSTALL) {
        Standing::Ended(end) if end.status == Some(0) => standing(pod, RUNNER),
        Standing::Runs => Standing::Waits { words: "the program is being installed".into(), patience: None },
        other => other,
    }
}

/// What a line of the log says, which is told; the run's last word.
fn hear(line: &str, told: &mut dyn Follow) -> Option<Result<RunnerLine>> {
    match serde_json::from_str(line) {
        Ok(RunnerLine::Said(text)) => told.said(&text),
        Ok(line) => return outcome(line),
        Err(_) => told.logged(line),
    }
    None
}

fn outcome(line: RunnerLine) -> Option<Result<RunnerLine>> {
    match line {
        RunnerLine::Error(failure) => Some(Err(Error::from(&failure))),
        RunnerLine::Said(_) => None,
        line => Some(Ok(line)),
    }
}

/// A line for people.
fn words(line: &str) -> String {
    match serde_json::from_str(line) {
        Ok(RunnerLine::Said(text)) => text,
        _ => line.to_owned(),
    }
}

/// Why the pod has ended; `None` while it runs.
async fn ended(pods: &Objects<Pod>, name: &str) -> Result<Option<String>> {
    let found = match pods.find(name).await {
        Err(error) if error.kind() == standstill_core::ErrorKind::Temporary => return Ok(None),
        found => found?,
    };
    let Some(pod) = found else { return Ok(Some("it was deleted".to_owned())) };
    Ok(match of_both(&pod) {
        Standing::Ended(end) => {
            let status = end.status.map_or_else(String::new, |status| format!("exit status {status} "));
            Some(format!("{status}{}", end.why).trim().to_owned())
        }
        _ => None,
    })
}

/// The report, which was not read: from the last lines of the log.
async fn finish(pods: &Objects<Pod>, pod: &str, ended: &str, run: &RunId) -> Result<RunnerLine> {
    let mut last = String::new();
    for container in [RUNNER, INSTALL] {
        let parameters = LogParams {
            container: Some(container.into()),
            tail_lines: Some(LAST_LINES),
            ..LogParams::default()
        };
        let text = pods.api().logs(pod, &parameters).await.unwrap_or_default();
        let lines = text.lines().rev();
        let report = lines.filter_map(|line| serde_json::from_str::<RunnerLine>(line).ok()).find_map(outcome);
        if let Some(report) = report {
            return report;
        }
        if last.is_empty() {
            last = text.lines().last().map(words).unwrap_or_default();
        }
    }
    let last = if last.is_empty() { String::new() } else { format!("; the last that it said: {last}") };
    Err(Error::failed(format!("the pod {pod} ended ({ended}) without a report{last}")).remedy(format!(
        "`standstill logs {run} --on kubernetes` shows how far it came; `standstill recover --on kubernetes` or the \
         next backup removes what it left."
    )))
}
