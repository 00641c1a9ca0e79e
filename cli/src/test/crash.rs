//! Killing and stopping runs at lines of their journal.
//!
//! The shipped program has nothing in it that dies on demand. The runs are children of the test with a state directory
//! of its own, so the test sees every line as it is written, and sends the signal then.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use standstill_core::{Result, units::show_duration};

use super::{place::Started, report::TestReport, story::Story};
use crate::arguments::Crashes;

/// How often a journal is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// Room for a busy machine, on top of what is promised.
const ROOM: Duration = Duration::from_secs(3);

/// One line of a clean run's journal, and what is done to another run when it has written as many.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Point {
    /// How many lines are there then.
    lines: usize,
    /// What the last of them says.
    event: String,
    stop: bool,
}

/// The points of a journal: every line, or those around the holds and the commit.
fn points(journal: &[Value], crashes: Crashes) -> Vec<Point> {
    let said: Vec<String> = journal.iter().map(|entry| name(&entry["event"])).collect();
    let matters = |event: &str, name: &str| {
        ["cut", "committing"].contains(&name)
            || ["released", "confirmed"].contains(&name)
            || event.contains("quiesce")
    };
    let mut points = Vec::new();
    // The last line is the end of the run: nobody is left to be killed.
    for (index, event) in said.iter().enumerate().take(said.len().saturating_sub(1)) {
        let name = event.split(' ').next().unwrap_or_default();
        if crashes == Crashes::All || (crashes == Crashes::Some && matters(event, name)) {
            let point = |stop| Point { lines: index + 1, event: event.clone(), stop };
            points.push(point(false));
            if crashes == Crashes::All || name == "cut" || name == "done" {
                points.push(point(true));
            }
        }
    }
    points
}

/// An event as a word and the step that it is of.
fn name(event: &Value) -> String {
    match event {
        Value::String(name) => name.clone(),
        Value::Object(event) => event.iter().next().map_or_else(String::new, |(name, held)| {
            let step = held["step"].as_str().unwrap_or_default();
            format!("{name} {step}").trim_end().to_owned()
        }),
        _ => String::new(),
    }
}

/// The lines of a journal.
pub fn lines(journal: &Path) -> Vec<Value> {
    let text = fs::read_to_string(journal).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Kills and stops runs at the chosen points of the clean run's journal.
pub async fn crash(story: &Story<'_>, clean: &[Value], report: &mut TestReport) -> Result<()> {
    for point in points(clean, story.crashes) {
        story.go_on()?;
        let what = if point.stop { "stopped" } else { "killed" };
        let name = format!("{what} after line {} ({})", point.lines, point.event);
        match once(story, &point).await? {
            Fate::LetGo(detail) => report.passed(name, detail),
            Fate::TooFast => report.skipped(name, "the run had ended before the signal came"),
            Fate::Wrong(detail) => report.failed(name, detail),
            Fate::Held(detail) => {
                report.failed(name, detail);
                report.still_held = true;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What became of the application.
enum Fate {
    LetGo(String),
    TooFast,
    Wrong(String),
    Held(String),
}

async fn once(story: &Story<'_>, point: &Point) -> Result<Fate> {
    let known = story.place.journals();
    let mut run = story.start_backup()?;
    if !reaches(&mut run, &known, story, point.lines).await {
        run.wait().await?;
        return Ok(Fate::TooFast);
    }
    run.signal(if point.stop { Signal::STOP } else { Signal::KILL });
    let promised = story.lease + Duration::from_secs(1);
    let since = Instant::now();
    let went_on = story.writer.goes_on(promised + ROOM).await?;
    if point.stop {
        // Stopped for longer than its lease, whether anything was held or not.
        tokio::time::sleep((promised + ROOM).saturating_sub(since.elapsed())).await;
        run.signal(Signal::CONT);
    }
    let ended = run.wait().await?;
    let Some(waited) = went_on else {
        let promised = show_duration(promised);
        return Ok(Fate::Held(format!("nothing was written within the lease and a second ({promised})")));
    };
    if point.stop && !matches!(ended.status, Some(0 | 1)) {
        return Ok(Fate::Wrong(ended.why()));
    }
    let recovered = story.place.run(&["recover", "--output=json"]).await?;
    if recovered.status != Some(0) {
        return Ok(Fate::Held(format!("`standstill recover`: {}", recovered.why())));
    }
    if let Some(left) = story.left_behind().await? {
        return Ok(Fate::Wrong(left));
    }
    Ok(Fate::LetGo(format!("writes went on after {}", show_duration(waited))))
}

/// Waits until the journal of a new run has that many lines; `false` if the run ends before.
async fn reaches(run: &mut Started, known: &[PathBuf], story: &Story<'_>, lines_wanted: usize) -> bool {
    let mut journal = None;
    loop {
        if journal.is_none() {
            journal = story.place.journals().into_iter().find(|path| !known.contains(path));
        }
        let written = journal.as_ref().and_then(|path| fs::read(path).ok());
        let count = written.map_or(0, |bytes| bytes.split(|byte| *byte == b'\n').count() - 1);
        if count >= lines_wanted {
            return true;
        }
        if run.has_ended() {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sample_is_of_the_lines_around_the_holds_and_the_commit() {
        let step = |event: &str, step: &str| json!({"event": {event: {"step": step}}});
        let journal = [
            json!({"event": {"started": {}}}),
            step("done", "preflight.ready"),
            step("intent", "quiesce.pause"),
            step("done", "quiesce.pause"),
            json!({"event": "cut"}),
            step("released", "quiesce.pause"),
            json!({"event": "committing"}),
            json!({"event": {"finished": {"success": true}}}),
        ];
        let shown = |crashes| {
            let points = points(&journal, crashes);
            points.iter().map(|point| format!("{} {}", point.lines, point.stop)).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(Crashes::Some),
            ["3 false", "4 false", "4 true", "5 false", "5 true", "6 false", "7 false"]
        );
        assert_eq!(shown(Crashes::All).len(), 14);
        assert!(shown(Crashes::None).is_empty());
    }
}
