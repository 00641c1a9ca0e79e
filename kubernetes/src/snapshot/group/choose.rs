//! Whether several claims can be cut together: by which class, and by which of their labels.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use standstill_core::{Error, Result};

use super::super::{SnapshotSettings, api, class, class::Class};
use crate::client::Cluster;

/// By what claims are cut together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::snapshot) struct Group {
    /// The version of the API.
    pub(in crate::snapshot) version: &'static str,
    /// The class.
    pub(in crate::snapshot) class: Class,
    /// The labels that these claims have, and no other one.
    pub(in crate::snapshot) labels: BTreeMap<String, String>,
}

/// Several claims of one driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::snapshot) struct Wanted {
    /// Their names.
    pub(in crate::snapshot) claims: BTreeSet<String>,
    /// The class that they would be snapshotted by one by one.
    pub(in crate::snapshot) single: Class,
}

impl Wanted {
    /// None yet, of the driver of a class.
    pub(in crate::snapshot) fn of(single: Class) -> Self {
        Self { claims: BTreeSet::new(), single }
    }

    /// For people.
    pub(in crate::snapshot) fn told(&self) -> String {
        format!("the claims {}", self.claims.iter().map(String::as_str).collect::<Vec<_>>().join(" and "))
    }
}

/// By what these claims are cut together; or why they are snapshotted one by one.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when a class that was named cannot be used.
pub(in crate::snapshot) async fn choose(
    cluster: &Cluster,
    settings: &SnapshotSettings,
    wanted: &Wanted,
) -> Result<Result<Group, String>> {
    if let (Some(named), None) = (&settings.class, &settings.group_class) {
        return Ok(Err(format!("the target names the class {named}, and none for groups")));
    }
    let mut classes = None;
    for version in api::VERSIONS_OF_GROUPS {
        if let Some(found) = api::list_group_classes(cluster, version).await? {
            let found: Vec<Class> = found.iter().filter_map(Class::of).collect();
            classes = Some((version, found));
            break;
        }
    }
    let chosen = match &classes {
        None => Err("the cluster has no group snapshots".to_owned()),
        Some((version, classes)) => {
            fitting(classes, wanted, settings.group_class.as_deref()).map(|class| (*version, class))
        }
    };
    let (version, class) = match (chosen, &settings.group_class) {
        (Ok(chosen), _) => chosen,
        (Err(reason), None) => return Ok(Err(reason)),
        (Err(reason), Some(_)) => {
            return Err(Error::input(format!("the volumes cannot be snapshotted together: {reason}"))
                .remedy("Name another class by `groupSnapshotClass` of the target, or none."));
        }
    };
    let all = cluster.objects::<PersistentVolumeClaim>().list("").await?;
    Ok(shared_labels(&all, &wanted.claims).map(|labels| Group { version, class, labels }))
}

/// The class for a group; or why there is none.
fn fitting(classes: &[Class], wanted: &Wanted, named: Option<&str>) -> Result<Class, String> {
    let class = class::choose_of(class::GROUPS, classes, &wanted.single.driver, named)?;
    if wanted.single.of_filesystem && !class.of_filesystem {
        return Err(format!(
            "the VolumeGroupSnapshotClass {} does not say that it captures file systems, and the class {} does",
            class.name, wanted.single.name
        ));
    }
    Ok(class)
}

/// The labels that all of these claims have; or why they select not just these.
fn shared_labels(
    all: &[PersistentVolumeClaim],
    wanted: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>, String> {
    let is_wanted = |claim: &&PersistentVolumeClaim| wanted.contains(&claim.name_any());
    let mut labels: Option<BTreeMap<String, String>> = None;
    for claim in all.iter().filter(is_wanted) {
        let has = claim.labels();
        let shared = labels.get_or_insert_with(|| has.clone());
        shared.retain(|key, value| has.get(key) == Some(value));
    }
    let names = wanted.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let labels = labels.filter(|labels| !labels.is_empty());
    let labels = labels.ok_or_else(|| format!("the claims {names} have no label in common"))?;
    let selected = |claim: &&PersistentVolumeClaim| {
        labels.iter().all(|(key, value)| claim.labels().get(key) == Some(value))
    };
    let others = all.iter().filter(|claim| selected(claim) && !is_wanted(claim));
    match others.map(ResourceExt::name_any).next() {
        None => Ok(labels),
        Some(other) => Err(format!("the claim {other} has all the labels that {names} have in common")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(name: &str, labels: &[(&str, &str)]) -> PersistentVolumeClaim {
        let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
    }

    fn wanted(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn class(name: &str, of_filesystem: bool) -> Class {
        Class {
            name: name.into(),
            driver: "file.csi".into(),
            is_default: false,
            cut_when_ready: false,
            of_filesystem,
        }
    }

    #[test]
    fn claims_are_selected_by_the_labels_that_they_and_no_others_have() {
        let all = [
            claim("data", &[("app", "db"), ("part", "data")]),
            claim("log", &[("app", "db"), ("part", "log")]),
            claim("web", &[("app", "web")]),
        ];
        let labels = shared_labels(&all, &wanted(&["data", "log"])).unwrap();
        assert_eq!(labels, BTreeMap::from([("app".to_owned(), "db".to_owned())]));
    }

    #[test]
    fn claims_that_no_labels_tell_from_others_are_not_a_group() {
        let all = [claim("data", &[("app", "db")]), claim("log", &[("app", "db")]), claim("bare", &[])];
        insta::assert_snapshot!(shared_labels(&all[..3], &wanted(&["data", "bare"])).unwrap_err(), @"the claims bare, data have no label in common");
        let more = [all.as_slice(), &[claim("data-1", &[("app", "db"), ("replica", "1")])]].concat();
        insta::assert_snapshot!(shared_labels(&more, &wanted(&["data", "log"])).unwrap_err(), @"the claim data-1 has all the labels that data, log have in common");
    }

    #[test]
    fn a_class_for_groups_captures_what_the_class_for_one_does() {
        let of = |single: bool| Wanted { claims: wanted(&["data", "log"]), single: class("one", single) };
        assert_eq!(fitting(&[class("all", false)], &of(false), None).unwrap().name, "all");
        assert_eq!(fitting(&[class("all", true)], &of(true), None).unwrap().name, "all");
        insta::assert_snapshot!(fitting(&[class("all", false)], &of(true), None).unwrap_err(), @"the VolumeGroupSnapshotClass all does not say that it captures file systems, and the class one does");
        insta::assert_snapshot!(fitting(&[], &of(true), None).unwrap_err(), @"no VolumeGroupSnapshotClass is for the volume's driver file.csi");
        insta::assert_snapshot!(fitting(&[class("a", true), class("b", true)], &of(true), None).unwrap_err(), @"several VolumeGroupSnapshotClasses are for the volume's driver file.csi, and not exactly one is the default: a, b; name one by `groupSnapshotClass` of the target");
    }
}
