//! The report for people.

use std::time::Duration;

use standstill_core::{
    point::CheckOutcome,
    runtime::CaptureMode,
    units::{show_bytes, show_duration},
};

use super::{
    chart::{Scale, Span},
    facts::Facts,
    measure::{Acknowledged, Latencies, Latency},
};
use crate::output;

/// The width of what is drawn: with labels and notes a line fits into 80 columns.
const COLUMNS: usize = 52;

/// The whole report.
pub fn render(facts: &Facts) -> String {
    let mut text = String::from("\n");
    text.push_str(&whole(facts));
    text.push_str(&zoomed(facts));
    if let Some(latency) = &facts.latency {
        text.push_str(&waits(latency));
    }
    text.push_str(&findings(facts));
    text.push_str(&conclusion(facts));
    text
}

/// A drawn line: a name, what is drawn, and what was measured.
fn lane(name: &str, drawn: &str, note: &str) -> String {
    let room = " ".repeat(COLUMNS.saturating_sub(drawn.chars().count()));
    format!("  {name:<10} {drawn}{room}  {note}").trim_end().to_owned() + "\n"
}

fn axis(scale: &Scale) -> String {
    scale.axis().iter().map(|line| lane("", line, "")).collect()
}

fn writer(scale: &Scale, orders: &[Acknowledged], within: Span) -> String {
    let waits: Vec<(Span, Duration)> =
        orders.iter().map(|order| (order.span, order.span.length())).filter(|(span, _)| span.overlaps(within)).collect();
    let longest = waits.iter().map(|(_, wait)| *wait).max().unwrap_or_default();
    lane("writer", &scale.sparkline(&waits), &format!("waits ≤ {}", show_duration(longest)))
}

fn held(facts: &Facts) -> &'static str {
    if facts.froze() { "FROZEN" } else { "held" }
}

/// The story from the first order to the last.
fn whole(facts: &Facts) -> String {
    let end = facts.timeline.iter().map(|stretch| stretch.span.to).max().unwrap_or_default();
    let from = facts.orders.first().map_or(Duration::ZERO, |order| order.span.from);
    let span = Span::new(from, end);
    let scale = Scale::new(span, COLUMNS);
    let mut text = format!(
        "{}, and a writer that inserts orders as fast as it can; a column is {}\n\n{}{}",
        facts.database,
        show_duration(scale.column()),
        axis(&scale),
        writer(&scale, &facts.orders, span),
    );
    for (name, label) in [("held", held(facts)), ("backup", "backup"), ("restore", "restore"), ("verify", "verify")] {
        if let Some(span) = facts.span(name) {
            text.push_str(&lane(label, &scale.bar(&[span]), &show_duration(span.length())));
        }
    }
    text
}

/// The backup by itself, phase by phase.
fn zoomed(facts: &Facts) -> String {
    let Some(span) = facts.span("backup") else { return String::new() };
    let scale = Scale::new(span, COLUMNS);
    let mut text = format!(
        "\nThe backup by itself; a column is {}\n\n{}{}",
        show_duration(scale.column()),
        axis(&scale),
        writer(&scale, &facts.orders, span),
    );
    if let Some(span) = facts.span("held") {
        text.push_str(&lane(held(facts), &scale.bar(&[span]), &show_duration(span.length())));
    }
    for (name, span) in &facts.phases {
        text.push_str(&lane(name, &scale.bar(&[*span]), &show_duration(span.length())));
    }
    text
}

/// How long the writer waited, before, while and after the database was held.
fn waits(latencies: &Latencies) -> String {
    let row = |when: &str, latency: &Latency| {
        let wait = |microseconds| if latency.commits == 0 { "-".to_owned() } else { show_wait(microseconds) };
        vec![
            when.to_owned(),
            latency.commits.to_string(),
            wait(latency.median_microseconds),
            wait(latency.p99_microseconds),
            wait(latency.max_microseconds),
        ]
    };
    let rows = [
        row("before", &latencies.before),
        row("while held", &latencies.during),
        row("after", &latencies.after),
    ];
    format!("\n{}", output::table(&["THE WRITER", "COMMITS", "MEDIAN WAIT", "99 % WITHIN", "LONGEST"], &rows))
}

/// A wait for people: `85 µs`, `1.4 ms`, `35 ms`.
fn show_wait(microseconds: u64) -> String {
    match microseconds {
        below if below < 1_000 => format!("{below} µs"),
        below if below < 10_000 => format!("{}.{} ms", below / 1_000, below % 1_000 / 100),
        more => show_duration(Duration::from_micros(more)),
    }
}

/// What was proven, a line each.
fn findings(facts: &Facts) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    if let Some(capture) = facts.capture {
        lines.push(("capture", how(capture, facts.froze()).to_owned()));
    }
    if let Some(backup) = &facts.backup {
        lines.push(("freeze", freeze(facts)));
        if let Some(consistency) = backup.consistency {
            lines.push(("consistency", format!("{consistency}: the hold was proven to span the cut")));
        }
        let stored: u64 = backup.artifacts.iter().map(|artifact| artifact.stored_bytes).sum();
        let read: u64 = backup.artifacts.iter().map(|artifact| artifact.bytes).sum();
        lines.push(("stored", format!("{} for {} read, encrypted", show_bytes(stored), show_bytes(read))));
    }
    if let Some(rows) = &facts.rows {
        lines.push(("rows", format!(
            "{} acknowledged before the cut, {} of them missing in the restored copy; {} gaps",
            rows.acknowledged_before_cut, rows.missing, rows.gaps
        )));
    }
    if let Some(verify) = &facts.verify {
        let checks = verify.checks.iter().map(|check| match check.outcome {
            CheckOutcome::Passed => format!("{} passed", check.name),
            CheckOutcome::Failed => format!("{} FAILED", check.name),
            CheckOutcome::Skipped => format!("{} skipped", check.name),
        });
        lines.push(("verify", checks.collect::<Vec<_>>().join(", ")));
        if let Some(rto) = verify.rto_milliseconds {
            lines.push(("recovery", format!("{} from nothing to a database that serves (RTO)", milliseconds(rto))));
        }
    }
    lines.iter().fold(String::from("\n"), |text, (name, found)| text + &format!("  {name:<12} {found}\n"))
}

fn milliseconds(milliseconds: u64) -> String {
    show_duration(Duration::from_millis(milliseconds))
}

fn how(capture: CaptureMode, froze: bool) -> &'static str {
    match capture {
        CaptureMode::Atomic => "a snapshot of the file system",
        CaptureMode::Live => "live: the files were read into the repository while writes went on",
        CaptureMode::Copy | CaptureMode::Auto if froze => {
            "a copy, during which writes waited (on btrfs a snapshot takes its place: a shorter freeze)"
        }
        CaptureMode::Copy | CaptureMode::Auto => "a copy",
    }
}

fn freeze(facts: &Facts) -> String {
    match &facts.backup {
        Some(backup) if facts.froze() => format!(
            "{}, of at most {}",
            milliseconds(backup.freeze.milliseconds),
            milliseconds(backup.freeze.maximum_milliseconds)
        ),
        _ => "none: this hold keeps nobody from writing".to_owned(),
    }
}

/// In plain words: what was shown, and what to do next.
fn conclusion(facts: &Facts) -> String {
    let rows = facts.rows.map_or(0, |rows| rows.acknowledged_before_cut);
    let waited = match &facts.backup {
        Some(backup) if facts.froze() => {
            format!("kept the database from writing for {}", milliseconds(backup.freeze.milliseconds))
        }
        _ => "kept nobody from writing".to_owned(),
    };
    let mut text = format!(
        "\nShown: under a writer that never stopped, the backup {waited} and let it go; it was restored elsewhere\n\
         and verified; all of the {rows} rows that were acknowledged before the cut are in the copy.\n",
    );
    if let Some(directory) = &facts.directory {
        let directory = directory.display();
        text.push_str(&format!(
            "Look at it:   standstill list --repository {directory}/repository --password-file {directory}/password\n"
        ));
    }
    text.push_str(&format!(
        "Your own:     echo 'a long password' > password; export STANDSTILL_PASSWORD_FILE=$PWD/password\n\
        \x20             standstill init --repository /srv/backups\n\
        \x20             {}\n\
        \x20             standstill verify --repository /srv/backups",
        facts.next_command
    ));
    text
}
