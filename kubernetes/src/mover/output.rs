//! What a mover prints: its progress while it runs, and its report as its last line.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use standstill_core::{
    Error, Result,
    repository::Progress,
    transfer::{TransferLine, TransferReport},
};

use super::manifests::CONTAINER;
use crate::{
    client::{Objects, explain},
    pods::{End, Log},
};

/// The pause before a log that broke off is read again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the last lines may take.
const LAST: Duration = Duration::from_secs(30);
/// How many of them are read: messages of the program may follow the report.
const LINES: i64 = 20;

/// Tells the progress that a mover prints, until its report, after which it does nothing any more: that its container has
/// ended the node notes up to a second later. Without a report this goes on; how the pod ends says why there is none.
pub(super) async fn follow(pods: &Objects<Pod>, name: &str, progress: &Arc<dyn Progress>) -> TransferReport {
    let mut log = Log::of(pods, name, CONTAINER);
    loop {
        if let Some(report) = log.find(|line| tell(line, progress.as_ref())).await {
            return report;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Tells one line of progress; the report, if the line is that. Other lines are neither.
fn tell(line: &str, progress: &dyn Progress) -> Option<TransferReport> {
    match serde_json::from_str(line).ok()? {
        TransferLine::Advance(bytes) => progress.advance(bytes),
        TransferLine::Expect(bytes) => progress.expect(bytes),
        TransferLine::Report(report) => return Some(report),
        _ => {}
    }
    None
}

/// The report of a mover that has ended.
///
/// # Errors
/// What it reported, or that it ended without a report.
pub(super) async fn report(pods: &Objects<Pod>, name: &str, end: &End) -> Result<TransferReport> {
    let parameters =
        LogParams { container: Some(CONTAINER.into()), tail_lines: Some(LINES), ..LogParams::default() };
    let attempt = pods.attempt("get", Some(name)).of("pods/log");
    let text = match tokio::time::timeout(LAST, pods.api().logs(name, &parameters)).await {
        Ok(Ok(text)) => text,
        Ok(Err(cause)) => return Err(without_report(name, end, "").because(explain(attempt, cause))),
        Err(_) => return Err(without_report(name, end, "").because(attempt.timed_out(LAST))),
    };
    judge(name, end, &text)
}

/// What a pod's end and its last lines mean together: only a report and exit status 0 are success.
fn judge(name: &str, end: &End, text: &str) -> Result<TransferReport> {
    let lines = text.lines().rev();
    let mut said = lines.filter_map(|line| serde_json::from_str::<TransferLine>(line).ok());
    match (said.next(), end.status) {
        (Some(TransferLine::Report(report)), Some(0)) => Ok(report),
        (Some(TransferLine::Error(failure)), _) => Err(Error::from(&failure)),
        _ => Err(without_report(name, end, text.lines().last().unwrap_or_default())),
    }
}

fn without_report(name: &str, end: &End, last: &str) -> Error {
    let status = end.status.map_or_else(String::new, |status| format!(" with exit status {status}"));
    let why = if end.why.is_empty() { String::new() } else { format!(" ({})", end.why) };
    let last = if last.is_empty() { String::new() } else { format!("; its last line was: {last}") };
    let remedy = if end.why.contains("OOMKilled") {
        "It had too little memory: the repository's index may have grown; give the node or the namespace more."
    } else {
        "Run it again; if it ends in the same way, look at the pod's events and at its node."
    };
    Error::failed(format!("the pod {name} ended{status}{why} without a report{last}")).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use standstill_core::{ErrorKind, journal::Failure, repository::Restored};

    use super::*;

    fn line(line: &TransferLine) -> String {
        serde_json::to_string(line).unwrap()
    }

    fn ended(status: i32, why: &str) -> End {
        End { status: Some(status), why: why.into() }
    }

    fn done() -> String {
        line(&TransferLine::Report(TransferReport::Restored(Restored { entries: 1, bytes: 2 })))
    }

    #[test]
    fn only_a_report_together_with_exit_status_0_is_success() {
        let text = format!("{}\n{}\n", line(&TransferLine::Advance(2)), done());
        assert!(judge("mover", &ended(0, "Completed"), &text).is_ok());
        let error = judge("mover", &ended(1, "Error"), &text).unwrap_err();
        assert!(error.to_string().contains("exit status 1 (Error) without a report"), "{error}");
        assert!(judge("mover", &ended(0, "Completed"), "").is_err());
        assert!(judge("mover", &End { status: None, why: "Evicted".into() }, &text).is_err());
    }

    #[test]
    fn an_error_of_the_mover_is_told_as_its_own() {
        let failure = Failure {
            kind: ErrorKind::Input,
            message: "wrong password".into(),
            remedy: Some("Check it.".into()),
        };
        let error = judge("mover", &ended(2, "Error"), &line(&TransferLine::Error(failure))).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Input, "wrong password"));
    }

    #[test]
    fn a_mover_that_was_killed_says_by_what_and_what_it_said_last() {
        let error = judge("mover", &ended(137, "OOMKilled"), "panicked\n").unwrap_err();
        insta::assert_snapshot!(error, @"the pod mover ended with exit status 137 (OOMKilled) without a report; its last line was: panicked");
        assert!(error.remedy_text().unwrap().contains("memory"));
    }

    #[test]
    fn progress_is_told_and_other_lines_are_not() {
        struct Sum(Mutex<u64>);
        impl Progress for Sum {
            fn advance(&self, bytes: u64) {
                *self.0.lock().unwrap() += bytes;
            }
        }
        let sum = Sum(Mutex::new(0));
        for text in [line(&TransferLine::Advance(5)), "hello".into(), line(&TransferLine::Advance(7))] {
            assert!(tell(&text, &sum).is_none());
        }
        assert_eq!(*sum.0.lock().unwrap(), 12);
        assert!(tell(&done(), &sum).is_some());
    }
}
