//! Following a run: until its pod is there, until its program runs, its log, its report.

use std::time::{Duration, Instant};

use futures_util::{AsyncBufReadExt, StreamExt};
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
    mover::standing::{Standing, standing},
    names,
};

/// How long the cluster may take to make the pod of a Job.
const MADE: Duration = Duration::from_secs(30);
/// How long the pod may take to begin: a node is found, volumes are mounted, images are pulled.
const BEGUN: Duration = Duration::from_mins(5);
/// How long nothing is said about what is in the way: most of it passes.
const QUIET: Duration = Duration::from_secs(5);
/// How often the time that something was in the way is looked at.
const LOOK: Duration = Duration::from_secs(1);
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
    match to_end(cluster, &orders.run, RUNNER, &name(orders), told).await? {
        RunnerLine::Report(report) => Ok(*report),
        _ => Err(Error::failed(format!("the run {} ended with something else than a report", orders.run))),
    }
}

/// Follows the pod of a run's Job that has a role to its last line.
pub(super) async fn to_end(
    cluster: &Cluster,
    run: &RunId,
    role: &str,
    job: &str,
    told: &mut dyn Follow,
) -> Result<RunnerLine> {
    let pods = cluster.objects::<Pod>();
    let pod = pod_of(cluster, &pods, run, role, job).await?;
    begun(cluster, &pods, &pod, told).await?;
    let mut report = None;
    let mut read = 0;
    loop {
        if let Err(error) = log(&pods, &pod, &mut read, told, &mut report).await {
            tracing::debug!("the log of {pod} broke off: {error}");
        }
        if let Some(ended) = ended(&pods, &pod).await? {
            return finish(&pods, &pod, report, &ended, run).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The pod of the run's Job.
async fn pod_of(
    cluster: &Cluster,
    pods: &Objects<Pod>,
    run: &RunId,
    role: &str,
    job: &str,
) -> Result<String> {
    let labels = format!("{},{}={run}", names::of_role(role), names::RUN);
    let found = pods.wait_for(&labels, MADE, |pod| Ok(pod.map(ResourceExt::name_any))).await?;
    if let Some(pod) = found {
        return Ok(pod);
    }
    let words = cluster.last_warning(job).await.map_or_else(String::new, |words| format!(": {words}"));
    Err(Error::failed(format!(
        "the cluster made no pod for the Job {job} within {}{words}",
        show_duration(MADE)
    ))
    .remedy(format!("Look at it by `kubectl describe job {job}`.")))
}

/// Waits until the program runs, or has ended already.
async fn begun(cluster: &Cluster, pods: &Objects<Pod>, name: &str, told: &mut dyn Follow) -> Result<()> {
    let began = Instant::now();
    let mut said = String::new();
    let mut obstacle: Option<(String, Option<Duration>, Instant)> = None;
    loop {
        let look = |pod: Option<&Pod>| {
            let pod = pod.ok_or_else(|| deleted(name))?;
            match of_both(pod) {
                Standing::Runs | Standing::Ended(_) => Ok(Some(())),
                Standing::Waits { words, patience } => {
                    let before = obstacle.take().filter(|(_, before, _)| *before == patience);
                    let since = before.map_or_else(Instant::now, |(_, _, since)| since);
                    obstacle = Some((words, patience, since));
                    Ok(None)
                }
            }
        };
        if pods.wait(name, LOOK, look).await?.is_some() {
            return Ok(());
        }
        let Some((words, patience, since)) = &obstacle else { continue };
        if began.elapsed() >= QUIET && *words != said {
            told.said(&format!("waiting: {words}"));
            said.clone_from(words);
        }
        let out = patience.is_some_and(|patience| since.elapsed() >= patience) || began.elapsed() >= BEGUN;
        if out {
            let more = cluster.last_warning(name).await.filter(|more| !words.contains(more));
            let more = more.map_or_else(String::new, |more| format!("; {more}"));
            let after = show_duration(began.elapsed());
            return Err(Error::failed(format!("the pod {name} did not begin within {after}: {words}{more}"))
                .remedy("These are the cluster's own words; put that right, and run it again."));
        }
    }
}

/// How a pod of two containers stands, of which the first brings the program.
fn of_both(pod: &Pod) -> Standing {
    match standing(pod, INSTALL) {
        Standing::Ended(end) if end.status == Some(0) => standing(pod, RUNNER),
        Standing::Runs => Standing::Waits { words: "the program is being installed".into(), patience: None },
        other => other,
    }
}

fn deleted(name: &str) -> Error {
    Error::failed(format!("the pod {name} was deleted before it was done"))
        .remedy("Find out who deleted it (its node may have been drained), then run it again: that recovers what it left.")
}

/// Reads the log until it ends; lines that were told already are not told again.
async fn log(
    pods: &Objects<Pod>,
    pod: &str,
    read: &mut usize,
    told: &mut dyn Follow,
    report: &mut Option<Result<RunnerLine>>,
) -> kube::Result<()> {
    let parameters = LogParams { container: Some(RUNNER.into()), follow: true, ..LogParams::default() };
    let mut lines = pods.api().log_stream(pod, &parameters).await?.lines().enumerate();
    while let Some((number, line)) = lines.next().await {
        let line = line.map_err(kube::Error::ReadEvents)?;
        if number < *read {
            continue;
        }
        *read = number + 1;
        match serde_json::from_str(&line) {
            Ok(RunnerLine::Said(text)) => told.said(&text),
            Ok(line) => *report = outcome(line).or(report.take()),
            Err(_) => told.logged(&line),
        }
    }
    Ok(())
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

/// The report: as it was read, or else from the last lines of the log.
async fn finish(
    pods: &Objects<Pod>,
    pod: &str,
    report: Option<Result<RunnerLine>>,
    ended: &str,
    run: &RunId,
) -> Result<RunnerLine> {
    if let Some(report) = report {
        return report;
    }
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
