//! The claim that scratch copies lie on, for a run that is told of one: otherwise they are on the disk of its node.

use serde_json::{Value, json};
use standstill_core::point::RunId;

use crate::names;

/// The claim of a run, of a `size` in the API's words (`20Gi`) and of a storage class; of the cluster's own by default.
pub fn scratch_claim(run: &RunId, size: &str, class: Option<&str>) -> Value {
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": names::of_run("scratch", run), "labels": names::labels(run, "scratch")},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    });
    // One that is empty would mean none at all.
    if let Some(class) = class {
        claim["spec"]["storageClassName"] = json!(class);
    }
    claim
}
