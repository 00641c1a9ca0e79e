//! What the API server was asked: its audit log.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::Space;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// `get`, `watch`, …
    pub verb: String,
    /// `pods`, `pods/log`, …
    pub resource: String,
}

/// The requests that runners' service accounts made in a namespace, by account, in the order of their ends.
pub fn of_runners(space: &Space) -> Vec<(String, Vec<Request>)> {
    let prefix = format!("system:serviceaccount:{}:standstill-", space.name);
    let mut runners: Vec<(String, Vec<Request>)> = Vec::new();
    for (event, request) in requests(&prefix) {
        let user = event["user"]["username"].as_str().unwrap_or_default().to_owned();
        if !user.starts_with(&prefix) {
            continue;
        }
        match runners.iter_mut().find(|(known, _)| *known == user) {
            Some((_, requests)) => requests.push(request),
            None => runners.push((user, vec![request])),
        }
    }
    runners
}

/// The requests in a namespace of the binary that was run from outside.
pub fn of_launches(space: &Space) -> Vec<Request> {
    let of_binary = |event: &Value| {
        let agent = event["userAgent"].as_str().unwrap_or_default();
        event["user"]["username"] == "admin"
            && event["objectRef"]["namespace"] == space.name.as_str()
            && !agent.starts_with("kubectl")
    };
    requests(&space.name)
        .into_iter()
        .filter(|(event, _)| of_binary(event))
        .map(|(_, request)| request)
        .collect()
}

/// Every answered request in whose line of the audit log a text is.
fn requests(text: &str) -> Vec<(Value, Request)> {
    let kubeconfig = PathBuf::from(std::env::var_os("STANDSTILL_KUBECONFIG").unwrap());
    let files = fs::read_dir(kubeconfig.with_file_name("logs")).unwrap().map(|file| file.unwrap().path());
    let is_audit = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with("audit");
    let mut files: Vec<PathBuf> = files.filter(is_audit).collect();
    // `audit-DATE.log` were full, `audit.log` is the last; a test is shorter than one of them.
    files.sort();
    let newest = files.iter().rev().take(2).rev();
    let log: String = newest.map(|file| fs::read_to_string(file).unwrap()).collect();
    let events = log.lines().filter(|line| line.contains(text));
    let answered = events
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["stage"] == "ResponseComplete");
    answered.map(|event| (event.clone(), request(&event))).collect()
}

fn request(event: &Value) -> Request {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let resource = match object["subresource"].as_str() {
        Some(part) => format!("{}/{part}", text(&object["resource"])),
        None => text(&object["resource"]),
    };
    Request { verb: text(&event["verb"]), resource }
}
