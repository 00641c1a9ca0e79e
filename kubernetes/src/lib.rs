//! Runs in pods: the same steps as on one machine, beside the database that they work on.
//!
//! ```text
//!   cli ──▶ launch ──▶ Job: the runner's pod, on the target's node, with the target's image and volumes
//!                        │
//!                        ├─ journal (ConfigMap) · lock (Lease)
//!                        └─ client ──▶ the API server
//!       └──▶ the run itself, on a machine outside: by ports that are forwarded, and commands in the target's container
//! ```
//!
//! It implements the seams of `standstill-core` and knows no database and no repository. What is local inside a pod
//! is done by the runtime that it is given.

mod apart;
mod client;
mod container;
mod forward;
mod journal;
pub mod launch;
mod lease;
mod lock;
mod mover;
mod names;
mod outside;
mod pods;
mod record;
mod runtime;
mod snapshot;
mod surroundings;
mod target;

pub use client::{Cluster, Executed, Objects};
pub use journal::ClusterJournals;
pub use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret as ClusterSecret};
pub use lock::ClusterLocks;
pub use mover::{Credentials, MOVER_START, MoverSettings};
pub use outside::{Outside, machine};
pub use runtime::{KubernetesRuntime, RuntimeSettings};
pub use snapshot::{SNAPSHOT_DEADLINE, SnapshotSettings, has_kept, remove_kept};
pub use target::{
    Mount, Owner, Peers, Security, Source, Target, TargetPod, TargetValues, VolumePath, Workload,
};
