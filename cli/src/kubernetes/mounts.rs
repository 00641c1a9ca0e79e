//! Which of the target's volumes the runner's pod mounts, and whose files they are.

use std::path::{Path, PathBuf};

use standstill_core::{Error, Result, language::render_text, plan::Plan};
use standstill_kubernetes::{
    Cluster, Owner, PersistentVolumeClaim, Target, TargetValues,
    launch::{Mounts, check_storage_class},
};

/// What belongs to the process that a container was started for: its user is the container's.
const FIRST_PROCESS: &str = "/proc/1";

/// The owner of the database's files: of the first volume that has a path, or else the user of the container.
pub async fn owner(cluster: &Cluster, target: &Target, plan: &Plan) -> Result<Owner> {
    let scope = plan.static_scope();
    let mut paths = plan
        .blueprint
        .spec
        .volumes
        .values()
        .filter_map(|volume| render_text(&volume.path, &scope).ok().filter(|path| path.starts_with('/')));
    let path = paths.next().unwrap_or_else(|| FIRST_PROCESS.to_owned());
    target.owner(cluster, Path::new(&path)).await
}

/// The mounts for an action. `key` is how the values of the target are called, for messages: `target`.
pub async fn mounts(
    cluster: &Cluster,
    target: &Target,
    values: &TargetValues,
    key: &str,
    plan: &Plan,
) -> Result<Mounts> {
    if plan.commits() {
        let writing = plan.steps.iter().any(|step| {
            step.step.hook.as_ref().is_some_and(|hook| hook.volume.is_some() && hook.service.is_none())
        });
        check_volumes(target, plan)?;
        return Ok(Mounts::of_backup(target, writing));
    }
    match destination(plan)? {
        None => Ok(Mounts::default()),
        Some(path) => into_claim(cluster, target, values, key, &path).await,
    }
}

/// The volumes of the blueprint must lie on claims of the target.
fn check_volumes(target: &Target, plan: &Plan) -> Result<()> {
    let scope = plan.static_scope();
    for (name, volume) in &plan.blueprint.spec.volumes {
        let Ok(path) = render_text(&volume.path, &scope) else { continue };
        if !path.is_empty() {
            target
                .volume_path(Path::new(&path))
                .map_err(|error| error.during(&format!("the volume `{name}`")))?;
        }
    }
    Ok(())
}

/// Where a restore writes to; none for an action that only has scratch places.
fn destination(plan: &Plan) -> Result<Option<PathBuf>> {
    let scope = plan.static_scope();
    let mut paths = Vec::new();
    for place in plan.action()?.volumes.values().filter(|place| !place.scratch) {
        if let Some(path) = &place.path {
            paths.push(PathBuf::from(render_text(path, &scope)?));
        }
    }
    match paths.as_slice() {
        [] => Ok(None),
        [path] => Ok(Some(path.clone())),
        _ => Err(Error::input("the action restores several volumes, which is not possible in pods yet")
            .remedy("Restore them one by one with a blueprint of your own, or on one machine.")),
    }
}

async fn into_claim(
    cluster: &Cluster,
    target: &Target,
    values: &TargetValues,
    key: &str,
    path: &Path,
) -> Result<Mounts> {
    let Some(into) = &values.claim else {
        return Err(Error::input("the claim that is restored into is not given").remedy(format!(
            "Add `--set {key}.claim=NAME`: a PersistentVolumeClaim that is empty, or is not there and is then made.",
        )));
    };
    let original = target.volume_path(path)?.claim;
    let claims = cluster.objects::<PersistentVolumeClaim>();
    let original = claims.find(&original).await?.and_then(|claim| claim.spec).unwrap_or_default();
    let requests = original.resources.and_then(|resources| resources.requests).unwrap_or_default();
    let size = values.size.clone().or_else(|| requests.get("storage").map(|size| size.0.clone()));
    let size = size.ok_or_else(|| {
        Error::input("the size of the claim that is restored into is not known")
            .remedy(format!("Add `--set {key}.size=…`, such as 20Gi."))
    })?;
    let class = values.storage_class.clone().or(original.storage_class_name);
    if let Some(class) = &class
        && claims.find(into).await?.is_none()
    {
        check_storage_class(cluster, class).await?;
    }
    Mounts::of_restore(target, path, into, &size, class.as_deref())
}
