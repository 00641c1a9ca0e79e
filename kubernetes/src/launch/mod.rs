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
//! The objects of a run that died stay until it is recovered: they are what a recovery from outside is made of.
//!
//! The journal is not owned: it outlives the Job, and whatever became of the run can be read from it.

mod around;
mod cluster_role;
mod follow;
mod granted;
mod kept;
mod manifests;
mod mounts;
mod orders;
pub mod outside;
mod own_rights;
mod permissions;
mod recovery;
mod roles;
mod scratch;
mod tidy;

use std::collections::BTreeMap;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret as ClusterSecret, ServiceAccount},
    rbac::v1::{ClusterRoleBinding, Role, RoleBinding},
    storage::v1::StorageClass,
};
use kube::ResourceExt;
use serde_json::{Value, json};
use standstill_core::{Error, Result, point::RunId, secret::Secret};

pub use follow::{Follow, follow};
pub use granted::{Grantee, check_granted};
pub use kept::kept;
pub(crate) use manifests::{beside, restricted};
pub use mounts::{Mounted, Mounts};
pub use orders::{HELPERS, ORDERS_FILE, Orders, PARAMETERS, PASSWORD_FILE, Placed, RunnerLine};
pub use own_rights::{dials_elsewhere, own_permissions, to_find_the_owner};
pub use permissions::{Permissions, Rule, permissions};
pub(crate) use recovery::placed;
pub use recovery::recover;
pub use roles::ask_roles;
pub use scratch::scratch_claim;
pub use tidy::tidy;

use crate::{
    client::Cluster,
    journal::ClusterJournals,
    names,
    snapshot::api::{VERSIONS, list_classes},
    target::Owner,
};

/// What a pod is launched for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// The run.
    #[default]
    Run,
    /// Before it: to ask what the databases are among which one is its target.
    Roles,
}

/// The image that the run's container is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// The target's, into which the program is brought before it begins: programs of the target's are run beside it.
    Target,
    /// The project's own, which begins a second sooner. A dead run may have to be recovered by programs of the target's,
    /// so it is the target's where any run of the namespace has not ended.
    Own,
}

/// What a launch needs besides the orders.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What it is for.
    pub purpose: Purpose,
    /// What the runner is told.
    pub orders: Orders,
    /// What it may do.
    pub permissions: Permissions,
    /// What its pod mounts.
    pub mounts: Mounts,
    /// Who its pod runs as.
    pub owner: Owner,
    /// What its container is made of.
    pub image: Image,
    /// Whether it has a second container, for helpers that let go when the runner is gone.
    pub helpers: bool,
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
    of_launch(&orders.run)
}

fn of_launch(run: &RunId) -> String {
    names::of_run("run", run)
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

/// Checks that the storage class of a claim that is to be made is there: without it the claim would wait for ever.
/// Whoever may not look is not told.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when there is no such class.
pub async fn check_storage_class(cluster: &Cluster, name: &str) -> Result<()> {
    let classes = cluster.global::<StorageClass>();
    if !matches!(classes.find(name).await, Ok(None)) {
        return Ok(());
    }
    let names = classes.list("").await.unwrap_or_default();
    let names: Vec<String> = names.iter().map(ResourceExt::name_any).collect();
    Err(Error::input(format!("the cluster has no storage class {name}")).remedy(format!(
        "Name another one by `--set target.storageClass=`; its classes are: {}.",
        names.join(", ")
    )))
}

/// Makes everything, and starts the run.
///
/// # Errors
/// What the API server refuses. What was made until then is removed again.
pub async fn launch(cluster: &Cluster, launch: Launch) -> Result<()> {
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
    launch.orders.secrets = manifests::secret_keys(&launch);
    for claim in &launch.mounts.claims {
        cluster.objects::<PersistentVolumeClaim>().create_new(claim).await?;
    }
    for claim in launch.mounts.kept.iter().chain(&launch.mounts.scratch) {
        let mut claim = claim.clone();
        claim["metadata"]["ownerReferences"] = json!([owner]);
        cluster.objects::<PersistentVolumeClaim>().create(&claim).await?;
    }
    let (roles, bindings) = (cluster.objects::<Role>(), cluster.objects::<RoleBinding>());
    let (secrets, maps) = (cluster.objects::<ClusterSecret>(), cluster.objects::<ConfigMap>());
    let orders = manifests::orders(&launch, Some(&owner))?;
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
    let recovers = launch.purpose == Purpose::Run;
    let others = async { Ok(recovers && launch.image == Image::Own && has_unfinished(cluster).await) };
    let (_, _, _, (), others) = tokio::try_join!(
        rights,
        secrets.create(&secret),
        maps.create(&orders),
        of_cluster(cluster, &launch),
        others
    )?;
    if others {
        launch.image = Image::Target;
    }
    let job = cluster.objects::<Job>().create(&manifests::job(&launch)).await?;
    let owners = json!({"metadata": {"ownerReferences": [manifests::owner("batch/v1", "Job", &job)]}});
    cluster.objects::<ServiceAccount>().merge(&name, &owners).await?;
    Ok(())
}

/// Whether a run of the namespace has not ended, or may not have.
async fn has_unfinished(cluster: &Cluster) -> bool {
    ClusterJournals::new(cluster).has_unfinished().await.unwrap_or(true)
}

/// What a run needs of objects that belong to no namespace.
async fn of_cluster(cluster: &Cluster, launch: &Launch) -> Result<()> {
    if launch.permissions.cluster.is_empty() {
        return Ok(());
    }
    cluster_role::ensure(cluster, &launch.permissions).await?;
    let binding = manifests::cluster_binding(launch, cluster.namespace());
    cluster.global::<ClusterRoleBinding>().create(&binding).await?;
    Ok(())
}

/// Removes a run's objects; what it stored, its journal and restored volumes stay.
///
/// # Errors
/// What the API server refuses.
pub async fn remove(cluster: &Cluster, run: &RunId) -> Result<()> {
    let name = of_launch(run);
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
