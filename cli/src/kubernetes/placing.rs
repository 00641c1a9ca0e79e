//! Where each member of a run is, and what the one pod is made like that works on all of them.

use std::collections::BTreeMap;

use standstill_core::{
    Error, Result,
    plan::{Plan, RunPlan},
    runner::asked_role,
    units::{milliseconds, parse_duration},
};
use standstill_kubernetes::{
    Cluster, Owner, Target, TargetValues,
    launch::{Mounts, Permissions, Placed, check_class},
};

use super::{
    mounts::{mounts, owner},
    target,
};
use crate::wiring;

/// A member of a run, and where it is. A run of one blueprint has one, without a name.
pub struct Placing<'a> {
    plan: &'a Plan,
    /// How the values of its target are called: `target`, or `target.MEMBER`.
    key: String,
    values: TargetValues,
    target: Target,
    /// All that may be meant, where the role of their databases decides; the target is the first of them until then.
    candidates: Vec<Target>,
    owner: Owner,
}

/// What is known of all members, and what their pod is made like.
pub struct Place {
    /// Of a group, that of the member that the pod is made like.
    pub like: Placed,
    /// Those of a group's members, by their names.
    pub members: BTreeMap<String, Placed>,
    /// What the pod mounts.
    pub mounts: Mounts,
    /// Who the pod runs as.
    pub owner: Owner,
    /// What the run may do.
    pub permissions: Permissions,
}

/// Finds the target of each member.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when one is not there, or when they are in different namespaces.
pub async fn find<'a>(
    cluster: &Cluster,
    plan: &'a RunPlan,
    values: &BTreeMap<String, String>,
    namespace: Option<&str>,
    store: &target::Store<'_>,
    quiet: bool,
) -> Result<Vec<Placing<'a>>> {
    let mut placings: Vec<Placing<'a>> = Vec::new();
    for member in plan.iter() {
        let (key, mut values) = values_of(plan, member, values)?;
        if plan.is_group() && values.workload.is_none() && values.labels.is_none() {
            return Err(Error::input(format!("the workload `{key}` is not given")).remedy(format!(
                "Add `--set {key}.workload=statefulset/NAME` (or deployment/NAME, pod/NAME), or `target:` to the values file.",
            )));
        }
        if let Some(namespace) = namespace {
            values.namespace = Some(namespace.to_owned());
        }
        let found = if plan.commits() {
            Box::pin(target::find(cluster, &values, store, quiet)).await
        } else {
            Box::pin(Target::find_all_or_template(cluster, &values)).await
        };
        let found = found.and_then(|found| candidates(member, found));
        let candidates = found.map_err(|error| during(error, member))?;
        let Some(target) = candidates.first().cloned() else { continue };
        if let Some(first) = placings.first()
            && first.target.namespace != target.namespace
        {
            return Err(Error::input(format!(
                "the members are in different namespaces: {} and {}",
                first.target.namespace, target.namespace
            ))
            .remedy(
                "Back those up by a group that are in one namespace: a run's rights and Secrets end with it.",
            ));
        }
        let owner = owner(&cluster.in_namespace(&target.namespace), &target, member).await;
        let owner = owner.map_err(|error| during(error, member))?;
        placings.push(Placing { plan: member, key, values, target, candidates, owner });
    }
    Ok(placings)
}

/// Those of the pods found that may be the target. A backup is of one alone, which a role may decide. For what is restored
/// beside them they are all alike.
fn candidates(plan: &Plan, found: Vec<Target>) -> Result<Vec<Target>> {
    if !plan.commits() || asked_role(plan, wiring::hooks().as_ref()).is_some() {
        return Ok(found);
    }
    Target::only(found).map(|only| vec![only])
}

/// What says where a member is, and how these values are called.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when they are not understood.
pub fn values_of(
    plan: &RunPlan,
    member: &Plan,
    values: &BTreeMap<String, String>,
) -> Result<(String, TargetValues)> {
    let names: Vec<&str> = plan.iter().filter_map(name).collect();
    Ok(match name(member).filter(|_| plan.is_group()) {
        Some(name) => (format!("target.{name}"), TargetValues::of(&of_member(values, name, &names)?)?),
        None => ("target".to_owned(), TargetValues::of(values)?),
    })
}

/// The namespace that all of them are in.
pub fn namespace<'a>(placings: &'a [Placing<'_>]) -> &'a str {
    placings.first().map_or("", |first| first.target.namespace.as_str())
}

fn name(plan: &Plan) -> Option<&str> {
    plan.request.member.as_deref()
}

pub(super) fn during(error: Error, plan: &Plan) -> Error {
    match name(plan) {
        Some(name) => error.during(&format!("the member {name}")),
        None => error,
    }
}

/// What is said of one member: `MEMBER.KEY`, over what is said of all.
fn of_member(
    values: &BTreeMap<String, String>,
    name: &str,
    names: &[&str],
) -> Result<BTreeMap<String, String>> {
    let mut own = BTreeMap::new();
    for (key, value) in values {
        match key.split_once('.') {
            None => {
                own.entry(key.clone()).or_insert_with(|| value.clone());
            }
            Some((member, key)) if member == name => {
                own.insert(key.to_owned(), value.clone());
            }
            Some((member, _)) if names.contains(&member) => {}
            Some((member, key)) => {
                return Err(Error::input(format!("the group has no member `{member}`")).remedy(format!(
                    "Write `--set target.MEMBER.{key}=`; the members are: {}.",
                    names.join(", ")
                )));
            }
        }
    }
    Ok(own)
}

/// What a run may do for a member, by its plan, by what says where it is, and by its pod.
pub type Rights = fn(&Plan, &TargetValues, Option<&str>) -> Permissions;

/// What the pod is made like that works on all members; `needed` is what each takes.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when no pod can be made for all of them.
pub async fn place(
    cluster: &Cluster,
    placings: &[Placing<'_>],
    is_group: bool,
    needed: Rights,
) -> Result<Place> {
    let like = like(placings)?;
    let mut rights = Permissions::default();
    let (mut mounted, mut placed) = (Vec::new(), Vec::new());
    for placing in placings {
        let during = |error| during(error, placing.plan);
        let pod = placing.target.pod.as_ref().map(|pod| pod.name.as_str());
        rights = rights.and(needed(placing.plan, &placing.values, pod));
        mounted.push((placing.name(), placing.mounts(cluster, is_group).await.map_err(during)?));
        placed.push(placing.placed(cluster).await.map_err(during)?);
    }
    let mut mounts = Mounts::of_members(mounted)?;
    let owner = placings[like].owner;
    // Nobody but root can read the files of several owners, or run programs as each of them.
    mounts.as_root |= placings.iter().any(|placing| placing.owner != owner);
    let named = placings.iter().map(|placing| placing.name().to_owned()).zip(placed.iter().cloned());
    let members = if is_group { named.collect() } else { BTreeMap::new() };
    Ok(Place { like: placed.swap_remove(like), members, mounts, owner, permissions: rights })
}

impl<'a> Placing<'a> {
    fn name(&self) -> &str {
        name(self.plan).unwrap_or_default()
    }

    /// What of this member the pod mounts.
    async fn mounts(&self, cluster: &Cluster, is_group: bool) -> Result<Mounts> {
        let scope = self.plan.static_scope();
        let has_volumes = self.plan.blueprint.spec.volumes.values().any(|volume| {
            standstill_core::language::render_text(&volume.path, &scope).is_ok_and(|path| !path.is_empty())
        });
        // What is dumped over the network may be anywhere.
        if is_group && self.plan.commits() && !has_volumes {
            return Ok(Mounts::default());
        }
        mounts(cluster, &self.target, &self.values, &self.key, self.plan).await
    }

    /// Whether copies are made of what it has, to be looked at and thrown away.
    fn has_scratch_copies(&self) -> bool {
        let volumes = self.plan.action().map(|action| &action.volumes);
        volumes.is_ok_and(|volumes| volumes.values().any(|place| place.scratch))
    }

    /// The plan of this member.
    pub(super) const fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// The role that decides which of several is the target; `None` where it is known.
    pub(super) fn open(&self) -> Option<String> {
        let several = self.plan.commits() && self.candidates.len() > 1;
        let asked = several.then(|| asked_role(self.plan, wiring::hooks().as_ref()));
        asked.flatten().map(|asked| asked.role)
    }

    /// Takes the one of that name for the target.
    ///
    /// # Errors
    /// When it was not there a moment ago, or when the owner of its files is not known.
    pub(super) async fn decide(&mut self, cluster: &Cluster, pod: &str) -> Result<()> {
        let is_it = |target: &&Target| target.pod.as_ref().is_some_and(|known| known.name == pod);
        let found = self.candidates.iter().find(is_it).cloned();
        self.target = found.ok_or_else(|| {
            Error::failed(format!("the pod {pod} was not ready a moment ago")).remedy("Run it again.")
        })?;
        self.owner = owner(cluster, &self.target, self.plan).await?;
        Ok(())
    }

    /// What they were found by, for people.
    pub(super) fn found_by(&self) -> String {
        format!("{} in the namespace {}", self.target.found_by, self.target.namespace)
    }

    pub(super) async fn placed(&self, cluster: &Cluster) -> Result<Placed> {
        if let Some(class) = &self.values.snapshot_class {
            check_class(cluster, class).await?;
        }
        let deadline = self.values.snapshot_deadline.as_deref().map(parse_duration).transpose()?;
        Ok(Placed {
            target: self.target.clone(),
            data_owner: self.owner,
            security: self.values.security,
            snapshot_class: self.values.snapshot_class.clone(),
            group_snapshot_class: self.values.group_snapshot_class.clone(),
            snapshot_deadline: deadline.map(milliseconds),
        })
    }
}

/// The longest of the times that pods of the run may take to begin, in milliseconds.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when one is no duration.
pub fn start_deadline(placings: &[Placing<'_>]) -> Result<Option<u64>> {
    let said = placings.iter().filter_map(|placing| placing.values.start_deadline.as_deref());
    let said = said.map(|text| parse_duration(text).map(milliseconds)).collect::<Result<Vec<_>>>()?;
    Ok(said.into_iter().max())
}

/// The size of the claim for scratch copies, and its storage class where it is known; `None` when they are to lie on the
/// node's disk, or when there are none.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when members name different ones: the run has one pod.
pub fn scratch(placings: &[Placing<'_>]) -> Result<Option<(String, Option<String>)>> {
    let mut asked = placings
        .iter()
        .filter(|placing| placing.has_scratch_copies())
        .map(|placing| Some((placing.values.scratch_size.clone()?, placing.values.storage_class.clone())));
    let Some(first) = asked.next() else { return Ok(None) };
    if asked.any(|other| other != first) {
        return Err(Error::input("the members' scratch copies are to lie on different claims, and the run has one")
            .remedy("Give `target.scratchSize` and `target.storageClass` for all of them, or verify each by `--member`."));
    }
    Ok(first)
}

/// The member that the pod is made like: one that runs programs of its own image in it, if any does.
fn like(placings: &[Placing<'_>]) -> Result<usize> {
    let mut running = (0..placings.len()).filter(|index| placings[*index].plan.runs_programs());
    let Some(first) = running.next() else { return Ok(0) };
    let image = |index: usize| placings[index].target.image.as_str();
    let Some(other) = running.find(|other| image(*other) != image(first)) else { return Ok(first) };
    let (one, another) = (placings[first].name(), placings[other].name());
    Err(Error::input(format!(
        "the members {one} and {another} run programs of different images ({} and {}), and the run has one pod",
        image(first),
        image(other)
    ))
    .remedy(if placings[first].plan.commits() {
        format!("Back {another} up by a blueprint that takes a snapshot, or each by itself.")
    } else {
        format!("Do it member by member: `--member {one}`, then `--member {another}`.")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_for_one_member_comes_before_one_for_all() {
        let pairs = [("startDeadline", "1m"), ("index.workload", "pod/b"), ("index.startDeadline", "2m")];
        let values: BTreeMap<String, String> =
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let own = of_member(&values, "index", &["orders", "index"]).unwrap();
        assert_eq!((own["workload"].as_str(), own["startDeadline"].as_str()), ("pod/b", "2m"));
        let own = of_member(&values, "orders", &["orders", "index"]).unwrap();
        assert_eq!(own.into_iter().collect::<Vec<_>>(), [("startDeadline".to_owned(), "1m".to_owned())]);
        let error = of_member(&values, "orders", &["orders"]).unwrap_err();
        assert_eq!(error.to_string(), "the group has no member `index`");
        assert!(error.remedy_text().unwrap().contains("orders"));
    }
}
