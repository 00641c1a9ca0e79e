//! `standstill list`, `show` and `status`.

use std::collections::BTreeMap;

use serde_json::json;
use standstill_core::{
    Result,
    point::CheckOutcome,
    repository::{ListedPoint, Repository as _},
    units::{show_bytes, show_duration},
};

use crate::{
    arguments::{self, Global},
    output,
    repository::{open, point, verified},
};

/// Lists recovery points, oldest first.
pub async fn list(global: &Global, arguments: &arguments::Repository, name: Option<&str>) -> Result<u8> {
    let points = open(arguments).await?.points().await?;
    let points: Vec<ListedPoint> =
        points.into_iter().filter(|listed| name.is_none_or(|name| listed.point.name == name)).collect();
    output::result(global, &points, || {
        if points.is_empty() {
            return "no recovery points".into();
        }
        let rows: Vec<Vec<String>> = points.iter().map(row).collect();
        output::table(&["ID", "NAME", "CUT AT", "CONSISTENCY", "FREEZE", "SIZE", "VERIFIED"], &rows)
    })?;
    Ok(output::DONE)
}

fn row(listed: &ListedPoint) -> Vec<String> {
    let point = &listed.point;
    let size: u64 = point.artifacts.iter().map(|artifact| artifact.bytes).sum();
    vec![
        point.id.to_string(),
        point.name.clone(),
        point.cut_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        point.consistency.to_string(),
        show_duration(std::time::Duration::from_millis(point.freeze.milliseconds)),
        show_bytes(size),
        verified(listed),
    ]
}

/// Shows one recovery point.
pub async fn show(
    global: &Global,
    arguments: &arguments::Repository,
    wanted: &str,
    name: Option<&str>,
) -> Result<u8> {
    let repository = open(arguments).await?;
    let listed = point(&repository, wanted, name).await?;
    output::result(global, &listed, || render(&listed))?;
    Ok(output::DONE)
}

fn render(listed: &ListedPoint) -> String {
    let point = &listed.point;
    let mut text = format!(
        "recovery point {}\n  name         {}\n  blueprint    {} ({})\n  cut at       {}\n  consistency  {}\n  verified     {}\n",
        point.id,
        point.name,
        point.blueprint,
        &point.blueprint_digest.get(..12).unwrap_or(&point.blueprint_digest),
        point.cut_at,
        point.consistency,
        verified(listed),
    );
    text.push_str("\nholds\n");
    for hold in &point.holds {
        let proven = if hold.evidence.is_some() { "proven" } else { "not proven" };
        let writes = if hold.blocks_writes { "writes waited" } else { "writes went on" };
        text.push_str(&format!("  {:24} {} ({writes}, {proven})\n", hold.step, hold.hook));
    }
    text.push_str("\nartifacts\n");
    for artifact in &point.artifacts {
        if let Some(kept) = &artifact.kept {
            text.push_str(&format!(
                "  {:24} kept as {}; its data is in no repository, and the backup has not read it\n",
                artifact.name, kept.called
            ));
            continue;
        }
        text.push_str(&format!(
            "  {:24} {:>10} read, {:>10} stored, snapshot {}\n",
            artifact.name,
            show_bytes(artifact.bytes),
            show_bytes(artifact.stored_bytes),
            &artifact.snapshot.get(..8).unwrap_or(&artifact.snapshot),
        ));
    }
    if !point.facts.is_empty() {
        text.push_str("\nfacts\n");
        for fact in &point.facts {
            text.push_str(&format!("  {:40} {}\n", fact.name, fact.value));
        }
    }
    text
}

/// Shows how each application stands.
pub async fn status(global: &Global, arguments: &arguments::Repository) -> Result<u8> {
    let points = open(arguments).await?.points().await?;
    let mut newest: BTreeMap<&str, (&ListedPoint, Option<&ListedPoint>, usize)> = BTreeMap::new();
    for listed in &points {
        let passed = listed.verification.as_ref().is_some_and(|seen| seen.outcome == CheckOutcome::Passed);
        let entry = newest.entry(&listed.point.name).or_insert((listed, None, 0));
        entry.0 = listed;
        entry.2 += 1;
        if passed {
            entry.1 = Some(listed);
        }
    }
    let document: Vec<_> = newest
        .iter()
        .map(|(name, (last, verified, count))| {
            json!({
                "name": name, "recoveryPoints": count, "newest": last.point.id, "newestCutAt": last.point.cut_at,
                "newestVerified": verified.map(|listed| &listed.point.id),
                "newestVerifiedCutAt": verified.map(|listed| listed.point.cut_at),
            })
        })
        .collect();
    output::result(global, &document, || {
        if newest.is_empty() {
            return "no recovery points".into();
        }
        let time = |listed: &ListedPoint| listed.point.cut_at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let rows: Vec<Vec<String>> = newest
            .iter()
            .map(|(name, (last, verified, count))| {
                let verified = verified.map_or_else(|| "never".to_owned(), time);
                vec![(*name).to_owned(), count.to_string(), time(last), verified]
            })
            .collect();
        output::table(&["NAME", "POINTS", "NEWEST", "NEWEST VERIFIED"], &rows)
    })?;
    Ok(output::DONE)
}
