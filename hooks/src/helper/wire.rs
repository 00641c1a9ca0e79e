//! The lines between a hook and its helper.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standstill_core::{Error, ErrorKind};

/// A line to a helper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Request<O> {
    /// So that a late answer is not taken for another one's.
    pub id: u64,
    pub order: O,
}

/// A line from a helper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Reply {
    pub id: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    Done(Value),
    Failed(Fault),
}

/// An error on its way from a helper to the runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Fault {
    pub kind: ErrorKind,
    pub message: String,
    pub remedy: Option<String>,
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind(), message: error.chain(), remedy: error.remedy_text().map(str::to_owned) }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let error = Self::new(fault.kind, fault.message);
        match fault.remedy {
            Some(remedy) => error.remedy(remedy),
            None => error,
        }
    }
}
