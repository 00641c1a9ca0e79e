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
const COLUMNS: usize = 50;

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
    let waits: Vec<(Span, Duration)> = orders
        .iter()
        .map(|order| (order.span, order.span.length()))
        .filter(|(span, _)| span.overlaps(within))
        .collect();
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
    for (name, label) in
        [("held", held(facts)), ("backup", "backup"), ("restore", "restore"), ("verify", "verify")]
    {
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
    let rows =
        [row("before", &latencies.before), row("during", &latencies.during), row("after", &latencies.after)];
    format!("\n{}", output::table(&["THE HOLD", "COMMITS", "MEDIAN WAIT", "99 % WITHIN", "LONGEST"], &rows))
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
        let counted = format!(
            "{} acknowledged before the cut, {} found after the restore: {} missing, {} gaps",
            rows.acknowledged_before_cut, rows.found, rows.missing, rows.gaps
        );
        lines.push(("rows", counted));
    }
    if let Some(verify) = &facts.verify {
        let checks = verify.checks.iter().map(|check| match check.outcome {
            CheckOutcome::Passed => format!("{} passed", check.name),
            CheckOutcome::Failed => format!("{} FAILED", check.name),
            CheckOutcome::Skipped => format!("{} skipped", check.name),
        });
        lines.push(("verify", checks.collect::<Vec<_>>().join(", ")));
        if let Some(rto) = verify.rto_milliseconds {
            lines.push((
                "recovery",
                format!("{} from nothing to a database that serves (RTO)", milliseconds(rto)),
            ));
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
            "a copy, while writes waited; on btrfs it is a snapshot, and the freeze is shorter"
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
    let held = match &facts.backup {
        Some(backup) if facts.froze() => {
            format!(
                "the backup held the database for {} and let it go",
                milliseconds(backup.freeze.milliseconds)
            )
        }
        _ => "the backup kept nobody from writing".to_owned(),
    };
    let mut lines = vec![
        format!("Shown: while a writer went on inserting, {held}."),
        format!("Restored elsewhere and verified, it has all {rows} rows acknowledged before the cut."),
        String::new(),
    ];
    if let Some(directory) = &facts.directory {
        let directory = directory.display();
        lines.push("Look at what is left in the repository:".to_owned());
        lines.push(format!(
            "  standstill list -r {directory}/repository --password-file {directory}/password"
        ));
    }
    lines.push("Next, for a database of your own:".to_owned());
    lines.push(
        "  export STANDSTILL_REPOSITORY=/srv/backups STANDSTILL_PASSWORD_FILE=/root/backup-password"
            .to_owned(),
    );
    lines.push("  standstill init".to_owned());
    lines.push(format!("  standstill backup {}", facts.next_command));
    lines.push("  standstill verify".to_owned());
    format!("\n{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use standstill_core::{
        hook::HoldKind,
        point::{Consistency, Freeze, HoldReport, RunId},
        runner::BackupReport,
    };

    use super::*;
    use crate::demo::{clock::Clock, measure::Rows};

    fn span(from: u64, to: u64) -> Span {
        Span::new(Duration::from_millis(from), Duration::from_millis(to))
    }

    /// A demo of four seconds whose freeze was 40 ms.
    fn facts(blocks_writes: bool) -> Facts {
        let clock = Clock::start();
        let held = HoldReport {
            step: "lock".into(),
            hook: "sqlite/write-lock".into(),
            kind: HoldKind::Session,
            blocks_writes,
            acquired_at: clock.at(Duration::from_millis(1500)),
            released_at: Some(clock.at(Duration::from_millis(1560))),
            evidence: None,
        };
        let refused = standstill_core::Error::failed("none");
        let backup = BackupReport {
            consistency: Some(Consistency::Application),
            freeze: Freeze { milliseconds: 40, maximum_milliseconds: 1000 },
            holds: vec![held],
            error: None,
            ..BackupReport::refused(RunId::generate(), "sqlite", "orders", &refused)
        };
        let order = |id: u64| {
            let from = id * 10;
            Acknowledged { id, span: if id == 150 { span(from, from + 42) } else { span(from, from + 2) } }
        };
        let mut facts = Facts {
            database: "SQLite 3".into(),
            capture: Some(CaptureMode::Copy),
            backup: Some(backup),
            phases: vec![("capture".into(), span(1510, 1535))],
            orders: (1..=400).filter(|id| !(151..155).contains(id)).map(order).collect(),
            ..Facts::default()
        };
        facts.stretch("backup", span(1400, 1700));
        facts.stretch("restore", span(2000, 3000));
        facts.stretch("verify", span(3000, 4000));
        facts.measure(0, Duration::from_millis(1540), &(1..=153).collect::<Vec<_>>(), &clock);
        facts
    }

    #[test]
    fn every_line_fits_into_a_usual_window() {
        let text = render(&facts(true));
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        for drawn in text.lines().filter(|line| line.contains(['█', '▁'])) {
            assert!(drawn.chars().count() <= 80, "{drawn}");
        }
    }

    #[test]
    fn a_freeze_is_drawn_where_it_was_and_named_as_long_as_it_was() {
        let text = render(&facts(true));
        assert!(text.contains("FROZEN"), "{text}");
        assert!(text.contains("held the database for 40 ms and let it go"), "{text}");
        let row = text.lines().find(|line| line.starts_with("during")).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>()[1..4], ["1", "42", "ms"]);
    }

    #[test]
    fn a_hold_that_blocks_no_writes_is_not_called_a_freeze() {
        let facts = facts(false);
        assert_eq!(facts.span("held").unwrap().length(), Duration::from_millis(60));
        let text = render(&facts);
        assert!(!text.contains("FROZEN"), "{text}");
        assert!(text.contains("the backup kept nobody from writing"), "{text}");
    }

    #[test]
    fn lost_rows_are_never_reported_as_proof() {
        let mut facts = facts(true);
        facts.rows = Some(Rows { missing: 1, ..facts.rows.unwrap() });
        assert_eq!(facts.judge().unwrap_err().kind(), standstill_core::ErrorKind::Damaged);
        assert!(!facts.proven);
    }

    #[test]
    fn waits_are_shown_as_finely_as_they_were_measured() {
        assert_eq!(["85 µs", "1.4 ms", "35 ms", "1.2 s"], [85, 1_449, 35_900, 1_240_000].map(show_wait));
    }
}
