//! Asking what several databases are of which one is the target, before there is a run: by a pod like the run's own, which
//! reaches what that will reach.

use standstill_core::{Error, Result, runner::PlaceRole};

use super::{
    Follow, Launch, Permissions, Purpose, Rule, RunnerLine,
    follow::{BEGUN, Followed},
    launch,
    manifests::RUNNER,
    name, remove,
};
use crate::{client::Cluster, names};

/// Launches a pod that asks every ready pod of the target what its database is, waits for the answers, and removes all
/// that was made for it.
///
/// # Cancellation
/// What was made is then left, as that of a run that nobody follows: [`super::remove`] removes it, or the cluster does
/// some time after its end.
///
/// # Errors
/// What the pod could not begin for, or could not ask for. A database that does not answer is no error.
pub async fn ask_roles(
    cluster: &Cluster,
    mut asking: Launch,
    told: &mut dyn Follow,
) -> Result<Vec<PlaceRole>> {
    asking.purpose = Purpose::Roles;
    asking.permissions = permissions();
    asking.orders.permissions = permissions();
    let orders = asking.orders.clone();
    launch(cluster, asking).await?;
    let begun = orders.start_deadline.map_or(BEGUN, std::time::Duration::from_millis);
    let labels = names::labels(&orders.run, RUNNER);
    let followed = Followed { run: &orders.run, labels: &labels, job: &name(&orders), begun };
    let outcome = followed.to_end(cluster, told).await;
    if let Err(error) = remove(cluster, &orders.run).await {
        tracing::warn!("the Job {} is left: {}", name(&orders), error.chain());
    }
    match outcome? {
        RunnerLine::Roles(found) => Ok(found),
        _ => Err(Error::failed(
            "the pod that was to ask the databases what they are ended with something else",
        )),
    }
}

/// What it may do: find the pods, and nothing else.
fn permissions() -> Permissions {
    let rule = Rule::new("", &["pods"], &["get", "list"], "the pods among which the target is");
    Permissions { namespaced: vec![rule], cluster: Vec::new() }
}
