//! A run as a Job: from outside, its objects are made, its log is followed, and its report is fetched.
//!
//! ```text
//!   plan ──▶ permissions ──▶ Role, ClusterRole
//!     └────▶ orders (ConfigMap), credentials (Secret) ──▶ Job ──▶ the runner's pod ──log──▶ report
//! ```
//!
//! The Job owns the service account, and that owns all other objects, so deleting the Job removes them all. Only the
//! cluster's own ClusterRoleBinding cannot be owned by something of a namespace; it is removed when the run has ended,
//! or by the next launch.
//!
//! The journal is not owned: it outlives the Job, and whatever became of the run can be read from it.

mod follow;
mod manifests;
mod mounts;
mod orders;
mod permissions;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret as ClusterSecret, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::ResourceExt;
use serde_json::{Value, json};
use standstill_core::{Error, Result, secret::Secret};

pub use follow::{Follow, follow};
pub use mounts::{Mounted, Mounts};
pub use orders::{ORDERS_FILE, Orders, PARAMETERS, PASSWORD_FILE, RunnerLine};
pub use permissions::{Permissions, Rule, permissions};

use crate::{
    client::Cluster,
    names,
    snapshot::api::{VERSIONS, list_classes},
    target::Owner,
};

/// What a launch needs besides the orders.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What the runner is told.
    pub orders: Orders,
    /// What it may do.
    pub permissions: Permissions,
    /// What its pod mounts.
    pub mounts: Mounts,
    /// Who its pod runs as.
    pub owner: Owner,
    /// The repository's password.
    pub password: Secret,
    /// The object store's credentials: environment variables.
    pub environment: BTreeMap<String, Secret>,
    /// Values of secret parameters that come from outside.
    pub parameters: BTreeMap<String, Secret>,
    /// Secret parameters whose values are in Secrets of the namespace: the Secret's name and the key.
    pub references: BTreeMap<String, (String, String)>,
}

/// The name that all objects of a launch have.
pub(crate) fn name(orders: &Orders) -> String {
    names::of_run("run", &orders.run)
}

/// Checks that a volume snapshot class that a user names is there. Whoever may not look is not told.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when there is no such class: a run that chooses by itself would do without.
pub async fn check_class(cluster: &Cluster, name: &str) -> Result<()> {
    for version in VERSIONS {
        let Ok(Some(classes)) = list_classes(cluster, version).await else { continue };
        let names: Vec<String> = classes.iter().map(ResourceExt::name_any).collect();
        if names.iter().any(|known| known == name) {
            return Ok(());
        }
        return Err(Error::input(format!("the cluster has no volume snapshot class {name}"))
            .remedy(format!("Its classes are: {}.", names.join(", "))));
    }
    Ok(())
}

/// Makes everything, and starts the run.
///
/// # Errors
/// What the API server refuses. What was made until then is removed again.
pub async fn launch(cluster: &Cluster, launch: Launch) -> Result<()> {
    tidy(cluster).await;
    let name = name(&launch.orders);
    let account = cluster.objects::<ServiceAccount>().create(&manifests::account(&launch)).await?;
    let owner = manifests::owner("v1", "ServiceAccount", &account);
    let made = Box::pin(make(cluster, launch, owner)).await;
    if made.is_err() {
        // Everything else is owned by it.
        let _ = cluster.objects::<ServiceAccount>().delete(&name).await;
        let _ = cluster.global::<ClusterRoleBinding>().delete(&name).await;
    }
    made
}

async fn make(cluster: &Cluster, mut launch: Launch, owner: Value) -> Result<()> {
    let name = name(&launch.orders);
    launch.orders.owner = Some(owner.clone());
    if let Some(claim) = &launch.mounts.claim {
        cluster.objects::<PersistentVolumeClaim>().create_new(claim).await?;
    }
    let (roles, bindings) = (cluster.objects::<Role>(), cluster.objects::<RoleBinding>());
    let (secrets, maps) = (cluster.objects::<ClusterSecret>(), cluster.objects::<ConfigMap>());
    let orders = manifests::orders(&launch, &owner)?;
    let (role, binding, secret) = (
        manifests::role(&launch, &owner),
        manifests::binding(&launch, &owner),
        manifests::secret(&launch, &owner),
    );
    // Whether a user may bind a role is decided by what is in it, so it must be there before.
    let rights = async {
        roles.create(&role).await?;
        bindings.create(&binding).await
    };
    tokio::try_join!(
        rights,
        secrets.create(&secret),
        maps.create(&orders),
        of_cluster(cluster, &launch),
    )?;
    let job = cluster.objects::<Job>().create(&manifests::job(&launch)).await?;
    let owners = json!({"metadata": {"ownerReferences": [manifests::owner("batch/v1", "Job", &job)]}});
    cluster.objects::<ServiceAccount>().merge(&name, &owners).await?;
    Ok(())
}

/// What a run needs of objects that belong to no namespace.
async fn of_cluster(cluster: &Cluster, launch: &Launch) -> Result<()> {
    if launch.permissions.cluster.is_empty() {
        return Ok(());
    }
    let role = manifests::cluster_role(&launch.permissions);
    cluster.global::<ClusterRole>().create_new(&role).await?;
    let binding = manifests::cluster_binding(launch, cluster.namespace());
    cluster.global::<ClusterRoleBinding>().create(&binding).await?;
    Ok(())
}

/// Removes a run's objects; what it stored, its journal and restored volumes stay.
///
/// # Errors
/// What the API server refuses.
pub async fn remove(cluster: &Cluster, orders: &Orders) -> Result<()> {
    let name = name(orders);
    cluster.objects::<Job>().delete(&name).await?;
    cluster.global::<ClusterRoleBinding>().delete(&name).await?;
    Ok(())
}

/// Asks a run to end in good order: its pod is told, lets go, and says how it ended.
///
/// # Errors
/// When the API server cannot be asked.
pub async fn stop(cluster: &Cluster, orders: &Orders) -> Result<()> {
    let patch = json!({"spec": {"parallelism": 0}});
    cluster.objects::<Job>().merge(&name(orders), &patch).await?;
    Ok(())
}

/// Removes bindings of the cluster whose runs are gone. Whoever may not do that leaves it to others.
async fn tidy(cluster: &Cluster) {
    let bindings = cluster.global::<ClusterRoleBinding>();
    let selector = format!("{},{}={}", names::of_role("runner"), manifests::NAMESPACE, cluster.namespace());
    let work = async {
        for binding in bindings.list(&selector).await? {
            let name = binding.name_any();
            if cluster.objects::<ServiceAccount>().find(&name).await?.is_none() {
                bindings.delete(&name).await?;
            }
        }
        Ok::<(), Error>(())
    };
    if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(10), work).await {
        tracing::debug!("bindings of earlier runs are left: {}", error.chain());
    }
}
