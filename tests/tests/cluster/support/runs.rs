//! What the journals of a namespace say.

use serde_json::Value;

use super::Space;

/// Each run and its state, oldest first.
#[track_caller]
pub fn states(space: &Space) -> Vec<(String, String)> {
    let runs = space.run_plain(&["runs"]).json();
    let text = |run: &Value, key: &str| run[key].as_str().unwrap().to_owned();
    runs.as_array().unwrap().iter().map(|run| (text(run, "run"), text(run, "state"))).collect()
}

/// The events of a run.
#[track_caller]
pub fn journal(space: &Space, run: &str) -> Vec<Value> {
    let entries = space.run_plain(&["logs", run]).json();
    entries.as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect()
}
