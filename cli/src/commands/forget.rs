//! `standstill forget` and `standstill check`.

use jiff::tz::TimeZone;
use serde_json::json;
use standstill_core::{
    Error, Result,
    point::{KeptSnapshot, RunId},
    repository::{ListedPoint, Repository as _},
    units::{parse_duration, show_bytes},
};
use standstill_repository::{Policy, policy::decide};

use crate::{
    arguments::{self, Global, Keep, On},
    kubernetes, output,
    repository::{open, point_among},
};

/// The exit status when damage was found.
const DAMAGED: u8 = 4;

/// Removes recovery points: those that are named, or those that no rule keeps.
pub async fn forget(global: &Global, arguments: &arguments::Forget) -> Result<u8> {
    let policy = policy(&arguments.keep)?;
    if arguments.points.is_empty() == policy.is_empty() {
        return Err(Error::input("`forget` needs either recovery points or rules")
            .remedy("Name recovery points, or give rules such as `--keep-daily 7`."));
    }
    let repository = open(&arguments.repository).await?;
    let points = repository.points().await?;
    let remove = if policy.is_empty() {
        let mut ids = Vec::new();
        for wanted in &arguments.points {
            ids.push(point_among(&repository, &points, wanted, arguments.name.as_deref())?.point.id);
        }
        ids
    } else {
        let of_name =
            |listed: &ListedPoint| arguments.name.as_ref().is_none_or(|name| listed.point.name == *name);
        let named: Vec<ListedPoint> = points.iter().filter(|listed| of_name(listed)).cloned().collect();
        decide(&named, &policy, &TimeZone::system()).remove
    };
    if arguments.dry_run {
        let document = json!({"wouldRemove": remove});
        output::result(global, &document, || format!("would remove {}", names(&remove)))?;
        return Ok(output::DONE);
    }
    let kept = kept(&points, &remove);
    if let Some(first) = kept.first().filter(|_| arguments.place.on != On::Kubernetes) {
        return Err(Error::input(format!("{} is part of what is to be removed", first.called))
            .remedy("Add `--on kubernetes`, with the context of that cluster: it is removed there, too."));
    }
    if !kept.is_empty() {
        // Before the recovery points go: nobody else knows of them.
        kubernetes::find_kept(&arguments.place, &kept).await?;
    }
    let report = repository.forget(&remove, arguments.prune).await?;
    // Only now: a recovery point that is listed is whole.
    if !kept.is_empty() {
        kubernetes::remove_kept(&arguments.place, &kept).await?;
    }
    output::result(global, &report, || {
        let freed =
            report.freed_bytes.map_or_else(String::new, |bytes| format!(", {} freed", show_bytes(bytes)));
        format!("removed {}{freed}", names(&report.removed))
    })?;
    Ok(output::DONE)
}

/// The snapshots that these recovery points kept.
fn kept(points: &[ListedPoint], remove: &[RunId]) -> Vec<KeptSnapshot> {
    let removed = points.iter().filter(|listed| remove.contains(&listed.point.id));
    removed
        .flat_map(|listed| &listed.point.artifacts)
        .filter_map(|artifact| artifact.kept.as_deref().cloned())
        .collect()
}

fn names(ids: &[RunId]) -> String {
    if ids.is_empty() {
        return "nothing".into();
    }
    ids.iter().map(RunId::as_str).collect::<Vec<_>>().join(", ")
}

fn policy(keep: &Keep) -> Result<Policy> {
    Ok(Policy {
        keep_last: keep.keep_last,
        keep_hourly: keep.keep_hourly,
        keep_daily: keep.keep_daily,
        keep_weekly: keep.keep_weekly,
        keep_monthly: keep.keep_monthly,
        keep_yearly: keep.keep_yearly,
        keep_within: keep.keep_within.as_deref().map(days_or_duration).transpose()?,
    })
}

/// A duration; days are 24 hours.
fn days_or_duration(text: &str) -> Result<std::time::Duration> {
    match text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()) {
        Some(days) => Ok(std::time::Duration::from_hours(24 * days)),
        None => parse_duration(text),
    }
}

/// Looks for damage.
pub async fn check(global: &Global, arguments: &arguments::Repository, read_data: bool) -> Result<u8> {
    let report = open(arguments).await?.check(read_data).await?;
    output::result(global, &report, || {
        let read =
            if read_data { format!(", {} read", show_bytes(report.bytes_read)) } else { String::new() };
        let mut text = format!("{} recovery points looked at{read}\n", report.recovery_points);
        if report.damage.is_empty() {
            text.push_str("no damage found");
        }
        for damage in &report.damage {
            text.push_str(&format!("DAMAGED: {damage}\n"));
        }
        text
    })?;
    Ok(if report.damage.is_empty() { output::DONE } else { DAMAGED })
}
