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

/// The requests that runners' service accounts made in a namespace, by account, in the order of their beginnings.
pub fn of_runners(space: &Space) -> Vec<(String, Vec<Request>)> {
    let kubeconfig = PathBuf::from(std::env::var_os("STANDSTILL_KUBECONFIG").unwrap());
    let log = fs::read_to_string(kubeconfig.with_file_name("logs").join("audit.log")).unwrap();
    let prefix = format!("system:serviceaccount:{}:standstill-", space.name);
    let mut runners: Vec<(String, Vec<Request>)> = Vec::new();
    for line in log.lines().filter(|line| line.contains(&prefix)) {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let user = event["user"]["username"].as_str().unwrap_or_default().to_owned();
        if event["stage"] != "ResponseComplete" || !user.starts_with(&prefix) {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let resource = match object["subresource"].as_str() {
            Some(part) => format!("{}/{part}", text(&object["resource"])),
            None => text(&object["resource"]),
        };
        let request = Request { verb: text(&event["verb"]), resource };
        match runners.iter_mut().find(|(known, _)| *known == user) {
            Some((_, requests)) => requests.push(request),
            None => runners.push((user, vec![request])),
        }
    }
    runners
}
