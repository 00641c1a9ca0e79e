//! What the runner's pod is told, and what it tells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standstill_core::{
    journal::{Failure, RunRequest},
    point::RunId,
    runner::{PlaceRole, Recovered, RunReport},
};

use super::Permissions;
use crate::target::{Owner, Security, Target};

/// Where the runner's own things are mounted, out of the way of any database's path.
pub(super) const OWN: &str = "/.standstill";
/// The file with the orders.
pub const ORDERS_FILE: &str = "/.standstill/orders/orders.json";
/// The environment variable of the runner that names the socket of the container for helpers, where there is one.
pub const HELPERS: &str = "STANDSTILL_HELPERS";
/// The file with the repository's password.
pub const PASSWORD_FILE: &str = "/.standstill/credentials/password";
/// The directory with the values of secret parameters: a file for each, of its name.
pub const PARAMETERS: &str = "/.standstill/parameters";

/// Where one database of a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placed {
    /// The target.
    pub target: Target,
    /// The owner of the database's files, for movers.
    pub data_owner: Owner,
    /// The profile that movers stand under.
    #[serde(default)]
    pub security: Security,
    /// The volume snapshot class, where one is named.
    pub snapshot_class: Option<String>,
    /// The volume group snapshot class, where one is named.
    #[serde(default)]
    pub group_snapshot_class: Option<String>,
    /// How long the storage may take for the cut of a snapshot, in milliseconds, where that is said.
    pub snapshot_deadline: Option<u64>,
}

/// What a run is told: everything but secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Orders {
    /// The run.
    pub run: RunId,
    /// What it is asked to do. Secret parameters come from files below [`PARAMETERS`].
    pub request: RunRequest,
    /// Where the repository is.
    pub repository: String,
    /// Where its database is; of a group, where the member is that its pod is made like.
    pub place: Placed,
    /// Where the databases of a group's members are, by their names.
    #[serde(default)]
    pub members: BTreeMap<String, Placed>,
    /// What it may do; it checks that first.
    pub permissions: Permissions,
    /// How long a pod may take to begin, in milliseconds, where that is said.
    pub start_deadline: Option<u64>,
    /// The project's own image.
    pub image: String,
    /// The environment variables with the object store's credentials: keys of the run's Secret.
    pub environment: Vec<String>,
    /// Where the values of secret parameters are, for pods of steps: by the names of their files, the names of Secrets and
    /// the keys; filled in by the launch.
    #[serde(default)]
    pub secrets: BTreeMap<String, (String, String)>,
    /// What owns what the run makes (an `ownerReference`); filled in by the launch.
    pub owner: Option<Value>,
}

/// One line that the runner prints on its standard output; other lines are its log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RunnerLine {
    /// Progress, in words.
    Said(String),
    /// The run has ended, and this is its report.
    Report(Box<RunReport>),
    /// The databases have been asked what they are.
    Roles(Vec<PlaceRole>),
    /// Dead runs have been recovered.
    Recovered(Vec<Recovered>),
    /// The run could not begin.
    Error(Failure),
}
