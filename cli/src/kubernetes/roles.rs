//! Which of several pods is the target: the one whose database has the role that the backup asks for.

use std::collections::BTreeMap;

use standstill_core::{
    Error, Result,
    point::RunId,
    runner::{choose, described},
    secret::Secret,
};
use standstill_kubernetes::{
    Cluster,
    launch::{self, Follow, Image, Launch, Mounts, Orders, Permissions, Purpose},
};

use super::{
    launch::{Asked, Printer, Secrets, in_pod, secrets},
    placing::{self, Placing, during},
};

/// Decides it for each member of which several pods match.
///
/// # Errors
/// When not exactly one of them has the role; it names each and what it is.
pub(super) async fn decide(cluster: &Cluster, asked: &Asked<'_>, placings: &mut [Placing<'_>]) -> Result<()> {
    for placing in placings {
        let Some(role) = placing.open() else { continue };
        let asking = asking(cluster, asked, placing).await?;
        let pod = ask(cluster, asked, asking, placing, &role).await;
        let pod = pod.map_err(|error| during(error, placing.plan()))?;
        placing.decide(cluster, &pod).await?;
    }
    Ok(())
}

/// Asks the pods; the name of the one that has the role.
async fn ask(
    cluster: &Cluster,
    asked: &Asked<'_>,
    asking: Launch,
    placing: &Placing<'_>,
    role: &str,
) -> Result<String> {
    let (mut printer, run) = (Printer::new(asked.global.quiet), asking.orders.run.clone());
    let found = tokio::select! {
        found = launch::ask_roles(cluster, asking, &mut printer) => found?,
        () = asked.cancel.cancelled() => {
            launch::remove(cluster, &run).await?;
            return Err(Error::cancelled("the run was ended before its target was found"));
        }
    };
    let chosen = choose(role, &found).map_err(|error| error.during(&placing.found_by()))?;
    printer.said(&format!("{}: {}", placing.found_by(), described(&found)));
    Ok(chosen.place.clone())
}

/// What the pod is told that asks: the member's plan and secrets, and nothing of the repository.
async fn asking(cluster: &Cluster, asked: &Asked<'_>, placing: &Placing<'_>) -> Result<Launch> {
    let Secrets { parameters, references } = secrets(cluster, std::iter::once(placing.plan())).await?;
    let place = placing.placed(cluster).await?;
    let owner = place.data_owner;
    Ok(Launch {
        purpose: Purpose::Roles,
        orders: Orders {
            run: RunId::generate(),
            request: in_pod(&placing.plan().request),
            repository: asked.location.to_string(),
            place,
            members: BTreeMap::new(),
            permissions: Permissions::default(),
            start_deadline: placing::start_deadline(std::slice::from_ref(placing))?,
            image: asked.launch.image.clone(),
            environment: Vec::new(),
            secrets: BTreeMap::new(),
            owner: None,
        },
        permissions: Permissions::default(),
        mounts: Mounts::default(),
        owner,
        // Nothing is recovered and nothing run there: databases are only dialled.
        image: if placing.plan().names_files() { Image::Target } else { Image::Own },
        helpers: false,
        password: Secret::new(String::new()),
        environment: BTreeMap::new(),
        parameters,
        references,
    })
}
