//! The seams for what a run does in the cluster around the target: workloads that are scaled and objects that are changed
//! for as long as it needs that, and commands in pods of their own.
//!
//! ```text
//!   change ──intend──▶ record (in the journal) ──make──▶ …  ──Runtime::dispose──▶ as it was
//! ```

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::{
    Result,
    language::PodSecurity,
    point::{Outputs, RunId},
    runtime::Output,
};

/// An object in the target's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectName {
    /// The version of its API, with the group where it has one: `v1`, `apps/v1`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// The plural of the kind; by default it is made by the rules of English.
    pub plural: Option<String>,
    /// Its name.
    pub name: String,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A workload is to have so many pods.
    Scale {
        /// `statefulset/NAME` or `deployment/NAME`.
        workload: String,
        /// How many.
        replicas: u32,
    },
    /// An object is to have these fields; it is made where it is not there.
    Apply {
        /// The object.
        object: ObjectName,
        /// The fields.
        fields: Map<String, Value>,
    },
    /// Fields of an object are changed, by a JSON merge patch.
    Patch {
        /// The object.
        object: ObjectName,
        /// The patch.
        fields: Map<String, Value>,
    },
    /// An object is removed.
    Delete {
        /// The object.
        object: ObjectName,
    },
}

/// Changes the cluster around the target.
#[async_trait]
pub trait Surroundings: Send + Sync {
    /// Looks at what a change will change: a record of which [`crate::runtime::Runtime::dispose`] puts it back as it
    /// is now. Touches nothing. The record holds no secret.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] when what is to be changed is not there, or cannot be put back.
    async fn intend(&self, change: &Change, run: &RunId) -> Result<Value>;

    /// Makes the change that was intended, and waits until it is one: pods are gone or ready, objects are gone. It may
    /// be made again. What it puts out is for the step's outputs.
    ///
    /// # Errors
    /// Also when somebody else has changed the same meanwhile, and when `within` is over, with what was waited for.
    async fn make(&self, record: &Value, within: Duration, cancel: &CancellationToken) -> Result<Outputs>;

    /// Waits until what was put back is in use again: as many pods are ready as there were.
    ///
    /// # Errors
    /// When `within` is over, with what was waited for.
    async fn settled(&self, record: &Value, within: Duration) -> Result<()>;

    /// An object as it is now; `None` where it is not there.
    ///
    /// # Errors
    /// When it cannot be seen.
    async fn look(&self, object: &ObjectName) -> Result<Option<Value>>;
}

/// A command that is to run in a pod of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSpec {
    /// The step.
    pub step: String,
    /// The image, or `target` for the target's own.
    pub image: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Environment variables whose values are secret: by their names, the parameters that have them.
    pub secret_env: BTreeMap<String, String>,
    /// The volumes that it reads, by their paths.
    pub volumes: Vec<PathBuf>,
    /// The profile that it stands under.
    pub security: PodSecurity,
    /// What it asks for of processors.
    pub cpu: Option<String>,
    /// What it asks for of memory, and the most that it gets.
    pub memory: Option<String>,
}

/// Runs commands in pods of their own.
#[async_trait]
pub trait Pods: Send + Sync {
    /// Says what [`Pods::run`] is about to make, for [`crate::runtime::Runtime::dispose`]. Touches nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] when there can be no such pod.
    fn intend(&self, spec: &PodSpec, run: &RunId) -> Result<Value>;

    /// Makes what was intended, and waits for the command's end. What was made is left to `dispose`, whatever comes of it.
    ///
    /// # Cancellation
    /// By `cancel`, and by dropping the future; the pod then goes on until it is disposed of, and no longer than `within`.
    ///
    /// # Errors
    /// When the pod does not begin, with what the cluster says is in its way; when how the command ended is not known; and
    /// when it wrote more than [`Output`] takes. A command that fails is no error.
    async fn run(
        &self,
        spec: &PodSpec,
        record: &Value,
        within: Duration,
        cancel: &CancellationToken,
    ) -> Result<Output>;
}
