//! Where the target is, as a user writes it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use standstill_core::{Error, Result};

/// The part `target` of the values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TargetValues {
    /// The namespace; by default that of the command line or of the kubeconfig's context.
    pub namespace: Option<String>,
    /// The workload: `statefulset/NAME`, `deployment/NAME`, `service/NAME` or `pod/NAME`.
    pub workload: Option<String>,
    /// The labels of the pod, instead of a workload: `app=db,tier=1`.
    pub labels: Option<String>,
    /// The container; the pod's only one by default.
    pub container: Option<String>,
    /// For a restore: the claim that is restored into. It must not exist, or be empty.
    pub claim: Option<String>,
    /// For a restore of several volumes: the claim of each, by the volume's name (`claim.NAME`).
    pub claims: BTreeMap<String, String>,
    /// For a restore: the size of a claim that is made; by default that of the claim that was backed up.
    pub size: Option<String>,
    /// The storage class of a claim that is made; likewise.
    pub storage_class: Option<String>,
    /// For a verification: the size of a claim that is made for its scratch copies, and removed with its run; by default
    /// they lie on the disk of the run's node.
    pub scratch_size: Option<String>,
    /// The volume snapshot class; by default the one for the volume's driver.
    pub snapshot_class: Option<String>,
    /// The volume group snapshot class, where several volumes are captured; by default the one for their driver, unless
    /// `snapshotClass` is given.
    pub group_snapshot_class: Option<String>,
    /// The pod security profile that movers stand under; restricted by default.
    pub security: Security,
    /// How long the storage may take for the cut of a snapshot (`25s`), while the database is held.
    pub snapshot_deadline: Option<String>,
    /// How long a pod of the run may take to begin (`5m`): a node is found, volumes are made, images are pulled.
    pub start_deadline: Option<String>,
}

/// A pod security profile, as Kubernetes' Pod Security Standards have them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Security {
    /// As the owner of the files, without any capability.
    #[default]
    Restricted,
    /// As root, with the one capability that reads what belongs to others: where the files have several owners.
    Baseline,
}

impl TargetValues {
    /// The values of `target.NAME` keys.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] for a key that is not known.
    pub fn of(pairs: &BTreeMap<String, String>) -> Result<Self> {
        let (mut object, mut claims) = (Map::new(), Map::new());
        for (key, value) in pairs {
            let (keys, key) =
                key.strip_prefix("claim.").map_or((&mut object, key.as_str()), |it| (&mut claims, it));
            keys.insert(key.to_owned(), value.clone().into());
        }
        if !claims.is_empty() {
            object.insert("claims".to_owned(), claims.into());
        }
        serde_json::from_value(Value::Object(object)).map_err(|cause| {
            Error::input("the values of `target` are not understood")
                .remedy("Its keys are: namespace, workload, labels, container, claim, claim.VOLUME, size, storageClass, scratchSize, snapshotClass, groupSnapshotClass, security, snapshotDeadline, startDeadline.")
                .because(cause)
        })
    }
}

/// A workload by its kind and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    /// A StatefulSet.
    StatefulSet(String),
    /// A Deployment.
    Deployment(String),
    /// The pods behind a Service.
    Service(String),
    /// One pod.
    Pod(String),
}

impl FromStr for Workload {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::input(format!("`{text}` is no workload"))
                .remedy("Write statefulset/NAME, deployment/NAME, service/NAME or pod/NAME.")
        };
        let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
        if name.is_empty() || name.contains('/') {
            return Err(wrong());
        }
        match kind.to_ascii_lowercase().as_str() {
            "statefulset" | "statefulsets" | "sts" => Ok(Self::StatefulSet(name.to_owned())),
            "deployment" | "deployments" | "deploy" => Ok(Self::Deployment(name.to_owned())),
            "service" | "services" | "svc" => Ok(Self::Service(name.to_owned())),
            "pod" | "pods" | "po" => Ok(Self::Pod(name.to_owned())),
            _ => Err(wrong()),
        }
    }
}

impl Workload {
    /// Its kind and its name.
    pub(super) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::StatefulSet(name) => ("statefulset", name),
            Self::Deployment(name) => ("deployment", name),
            Self::Service(name) => ("service", name),
            Self::Pod(name) => ("pod", name),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.parts();
        write!(formatter, "{kind}/{name}")
    }
}
