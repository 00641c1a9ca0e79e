//! Which of the target's volumes the runner's pod mounts, and whose files they are.

use std::path::{Path, PathBuf};

use standstill_core::{Error, Result, language::render_text, plan::Plan};
use standstill_kubernetes::{
    Cluster, Owner, PersistentVolumeClaim, Target, TargetValues, VolumePath,
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
    let destinations = destinations(plan, target)?;
    let claims = claims_for(&destinations, values, key)?;
    let mut mounts = Mounts::default();
    for (destination, claim) in destinations.iter().zip(&claims) {
        // Another one of the same mount brings it, too.
        if !mounts.mounted.iter().any(|mounted| mounted.path == destination.mount) {
            mounts = mounts.and(into_claim(cluster, target, values, key, destination, claim).await?);
        }
    }
    Ok(mounts)
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

/// A volume that a restore writes to.
#[derive(Debug)]
struct Destination {
    /// What the action calls it.
    name: String,
    /// Where it is, as the target's container sees it.
    path: PathBuf,
    /// Where what it lies on is mounted there.
    mount: PathBuf,
    /// The claim that the target has there.
    original: String,
}

/// What a restore writes to; nothing for an action that only has scratch places.
fn destinations(plan: &Plan, target: &Target) -> Result<Vec<Destination>> {
    let scope = plan.static_scope();
    let places = plan.action()?.volumes.iter().filter(|(_, place)| !place.scratch);
    let written = places.filter_map(|(name, place)| Some((name, place.path.as_ref()?)));
    written
        .map(|(name, path)| {
            let path = PathBuf::from(render_text(path, &scope)?);
            let VolumePath { claim, mount, .. } = target.volume_path(&path)?;
            Ok(Destination { name: name.clone(), path, mount, original: claim })
        })
        .collect()
}

/// The claim that each is restored into. What lies on one claim of the target is restored into one, and what does not is
/// restored into different ones.
fn claims_for(destinations: &[Destination], values: &TargetValues, key: &str) -> Result<Vec<String>> {
    // Values that are for a restore may be given to a verification, too.
    if destinations.is_empty() {
        return Ok(Vec::new());
    }
    let unknown = |name: &&String| destinations.iter().all(|it| it.name != **name);
    if let Some(unknown) = values.claims.keys().find(unknown) {
        let names: Vec<&str> = destinations.iter().map(|it| it.name.as_str()).collect();
        return Err(Error::input(format!("the action restores no volume `{unknown}`"))
            .remedy(format!("Its volumes are: {}.", names.join(", "))));
    }
    let on_one = destinations.windows(2).all(|pair| pair[0].original == pair[1].original);
    let of_all = values.claim.as_ref().filter(|_| on_one);
    let given: Option<Vec<String>> =
        destinations.iter().map(|it| values.claims.get(&it.name).or(of_all).cloned()).collect();
    let given = given.ok_or_else(|| missing(destinations, on_one, key))?;
    for (at, one) in destinations.iter().zip(&given).enumerate() {
        for other in destinations.iter().zip(&given).take(at) {
            check_pair(other, one, key)?;
        }
    }
    Ok(given)
}

/// Two volumes, and what each is restored into.
fn check_pair(one: (&Destination, &String), other: (&Destination, &String), key: &str) -> Result<()> {
    let ((one, into), (other, into_other)) = (one, other);
    if (one.original == other.original) == (into == into_other) {
        return Ok(());
    }
    let (on, wanted) = if into == into_other {
        ("different claims", "one for each")
    } else {
        ("one claim", "the same one for both")
    };
    let (one, other) = (&one.name, &other.name);
    Err(Error::input(format!(
        "the volumes `{one}` and `{other}` lie on {on} of the target, and are to be restored into {into} and {into_other}"
    ))
    .remedy(format!("Name {wanted}: `--set {key}.claim.{one}=NAME` and `--set {key}.claim.{other}=NAME`.")))
}

fn missing(destinations: &[Destination], on_one: bool, key: &str) -> Error {
    if on_one {
        return Error::input("the claim that is restored into is not given").remedy(format!(
            "Add `--set {key}.claim=NAME`: a PersistentVolumeClaim that is empty, or is not there and is then made.",
        ));
    }
    let keys: Vec<String> =
        destinations.iter().map(|it| format!("`--set {key}.claim.{}=NAME`", it.name)).collect();
    Error::input("the claims that are restored into are not all given").remedy(format!(
        "Add {}: PersistentVolumeClaims that are empty, or are not there and are then made.",
        keys.join(" and ")
    ))
}

async fn into_claim(
    cluster: &Cluster,
    target: &Target,
    values: &TargetValues,
    key: &str,
    destination: &Destination,
    into: &str,
) -> Result<Mounts> {
    let claims = cluster.objects::<PersistentVolumeClaim>();
    let original = claims.find(&destination.original).await?.and_then(|claim| claim.spec).unwrap_or_default();
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
    Mounts::of_restore(target, &destination.path, into, &size, class.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Volumes by their names and the target's claims.
    fn destinations(of: &[(&str, &str)]) -> Vec<Destination> {
        let one = |(name, original): &(&str, &str)| Destination {
            name: (*name).to_owned(),
            path: format!("/{name}").into(),
            mount: format!("/{name}").into(),
            original: (*original).to_owned(),
        };
        of.iter().map(one).collect()
    }

    fn claims(of: &[(&str, &str)], values: &[(&str, &str)]) -> Result<Vec<String>> {
        let pairs = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        claims_for(&destinations(of), &TargetValues::of(&pairs)?, "target")
    }

    #[test]
    fn each_volume_is_restored_into_a_claim_as_the_target_has_them() {
        let one = [("data", "pg-0")];
        assert_eq!(claims(&one, &[("claim", "new")]).unwrap(), ["new"]);
        assert_eq!(claims(&one, &[("claim.data", "new")]).unwrap(), ["new"]);
        let on_one = [("data", "pg-0"), ("wal", "pg-0")];
        assert_eq!(claims(&on_one, &[("claim", "new")]).unwrap(), ["new", "new"]);
        let two = [("data", "pg-0"), ("wal", "wal-0")];
        assert_eq!(claims(&two, &[("claim.data", "new"), ("claim.wal", "log")]).unwrap(), ["new", "log"]);
        assert!(claims(&[], &[("claim.data", "new")]).unwrap().is_empty());
    }

    #[test]
    fn claims_that_are_missing_or_do_not_fit_the_targets_are_named() {
        let two = [("data", "pg-0"), ("wal", "wal-0")];
        let told = |of: &[(&str, &str)], values: &[(&str, &str)]| {
            let error = claims(of, values).unwrap_err();
            format!("{error}. {}", error.remedy_text().unwrap())
        };
        let cases = [
            (
                told(&[("data", "pg-0")], &[]),
                "the claim that is restored into is not given. Add `--set target.claim=NAME`: a \
                 PersistentVolumeClaim that is empty, or is not there and is then made.",
            ),
            (
                told(&two, &[("claim", "new")]),
                "the claims that are restored into are not all given. Add `--set target.claim.data=NAME` and \
                 `--set target.claim.wal=NAME`: PersistentVolumeClaims that are empty, or are not there and are then \
                 made.",
            ),
            (
                told(&two, &[("claim.data", "new"), ("claim.log", "log")]),
                "the action restores no volume `log`. Its volumes are: data, wal.",
            ),
            (
                told(&two, &[("claim.data", "new"), ("claim.wal", "new")]),
                "the volumes `data` and `wal` lie on different claims of the target, and are to be restored into new \
                 and new. Name one for each: `--set target.claim.data=NAME` and `--set target.claim.wal=NAME`.",
            ),
            (
                told(&[("data", "pg-0"), ("wal", "pg-0")], &[("claim.data", "new"), ("claim.wal", "log")]),
                "the volumes `data` and `wal` lie on one claim of the target, and are to be restored into new and \
                 log. Name the same one for both: `--set target.claim.data=NAME` and `--set target.claim.wal=NAME`.",
            ),
        ];
        for (told, expected) in cases {
            assert_eq!(told, expected);
        }
    }
}
