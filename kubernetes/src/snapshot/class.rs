//! Which class a snapshot is taken by: the driver's own, and of those the one that is named or the default.

use kube::{ResourceExt, api::DynamicObject};

/// Marks the class that is taken when none is named: of snapshots, and of groups of them.
const DEFAULT: [&str; 2] = [
    "snapshot.storage.kubernetes.io/is-default-class",
    "groupsnapshot.storage.kubernetes.io/is-default-class",
];
/// On a class whose driver cuts late: `ready` says that the cut is certain only when the snapshot can be used.
const CUT: &str = "standstill.dev/cut";
/// On a class whose snapshots are of a mounted file system, so that they have what is still in the page cache:
/// `filesystem`. Otherwise they count as those of a block device, which have not.
const CAPTURE: &str = "standstill.dev/capture";

/// A class, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    /// Its name.
    pub(crate) name: String,
    /// The driver that it is for.
    pub(crate) driver: String,
    /// Whether it is the default one.
    pub(crate) is_default: bool,
    /// Whether its driver cuts no earlier than when the snapshot is ready to be used.
    pub(crate) cut_when_ready: bool,
    /// Whether a snapshot is of the file system, with what is in the page cache.
    pub(crate) of_filesystem: bool,
}

impl Class {
    /// A class as the cluster has it; `None` for one without a driver.
    pub(crate) fn of(class: &DynamicObject) -> Option<Self> {
        let says = |annotation: &str, value: &str| {
            class.annotations().get(annotation).is_some_and(|written| written == value)
        };
        Some(Self {
            name: class.name_any(),
            driver: class.data.get("driver")?.as_str()?.to_owned(),
            is_default: DEFAULT.iter().any(|mark| says(mark, "true")),
            cut_when_ready: says(CUT, "ready"),
            of_filesystem: says(CAPTURE, "filesystem"),
        })
    }
}

/// What classes are called, for people: in the singular, in the plural, and the key that names one.
pub(crate) type Words = [&'static str; 3];
/// The classes of snapshots of one volume.
const SNAPSHOTS: Words = ["VolumeSnapshotClass", "VolumeSnapshotClasses", "snapshotClass"];
/// The classes of snapshots of several volumes.
pub(crate) const GROUPS: Words =
    ["VolumeGroupSnapshotClass", "VolumeGroupSnapshotClasses", "groupSnapshotClass"];

/// Chooses the class for a volume of this driver; or says why there is none.
pub(crate) fn choose(classes: &[Class], driver: &str, named: Option<&str>) -> Result<Class, String> {
    choose_of(SNAPSHOTS, classes, driver, named)
}

/// As [`choose`], of classes that are called so.
pub(crate) fn choose_of(
    [one, several, key]: Words,
    classes: &[Class],
    driver: &str,
    named: Option<&str>,
) -> Result<Class, String> {
    if let Some(named) = named {
        let Some(class) = classes.iter().find(|class| class.name == named) else {
            return Err(format!("there is no {one} {named}; there are: {}", names(classes)));
        };
        if class.driver != driver {
            return Err(format!(
                "the {one} {named} is for the driver {}, and the volume is of {driver}",
                class.driver
            ));
        }
        return Ok(class.clone());
    }
    let fitting: Vec<Class> = classes.iter().filter(|class| class.driver == driver).cloned().collect();
    let default: Vec<&Class> = fitting.iter().filter(|class| class.is_default).collect();
    match (default.as_slice(), fitting.as_slice()) {
        ([class], _) => Ok((*class).clone()),
        ([], [class]) => Ok(class.clone()),
        ([], []) => Err(format!("no {one} is for the volume's driver {driver}")),
        _ => Err(format!(
            "several {several} are for the volume's driver {driver}, and not exactly one is the default: {}; name one \
             by `{key}` of the target",
            names(&fitting)
        )),
    }
}

fn names(classes: &[Class]) -> String {
    if classes.is_empty() {
        return "none".to_owned();
    }
    classes.iter().map(|class| class.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(name: &str, driver: &str, is_default: bool) -> Class {
        Class {
            name: name.into(),
            driver: driver.into(),
            is_default,
            cut_when_ready: false,
            of_filesystem: false,
        }
    }

    #[test]
    fn the_default_class_of_the_volumes_driver_is_taken() {
        let classes = [
            class("disk", "disk.csi", true),
            class("slow", "file.csi", false),
            class("file", "file.csi", true),
        ];
        assert_eq!(choose(&classes, "file.csi", None).unwrap().name, "file");
        assert_eq!(choose(&classes, "file.csi", Some("slow")).unwrap().name, "slow");
    }

    #[test]
    fn the_only_class_of_a_driver_needs_no_mark() {
        assert_eq!(choose(&[class("file", "file.csi", false)], "file.csi", None).unwrap().name, "file");
    }

    #[test]
    fn what_cannot_be_chosen_says_why() {
        let classes = [class("a", "file.csi", false), class("b", "file.csi", false)];
        insta::assert_snapshot!(choose(&classes, "file.csi", None).unwrap_err(), @"several VolumeSnapshotClasses are for the volume's driver file.csi, and not exactly one is the default: a, b; name one by `snapshotClass` of the target");
        insta::assert_snapshot!(choose(&classes, "disk.csi", None).unwrap_err(), @"no VolumeSnapshotClass is for the volume's driver disk.csi");
        insta::assert_snapshot!(choose(&classes, "disk.csi", Some("a")).unwrap_err(), @"the VolumeSnapshotClass a is for the driver file.csi, and the volume is of disk.csi");
        insta::assert_snapshot!(choose(&[], "disk.csi", Some("c")).unwrap_err(), @"there is no VolumeSnapshotClass c; there are: none");
    }

    #[test]
    fn annotations_say_what_a_driver_does_differently() {
        let read = |annotations| {
            let class: DynamicObject = serde_json::from_value(json!({
                "metadata": {"name": "file", "annotations": annotations}, "driver": "file.csi", "deletionPolicy": "Delete",
            }))
            .unwrap();
            Class::of(&class).unwrap()
        };
        assert_eq!(read(json!({})), class("file", "file.csi", false));
        let all = read(json!({DEFAULT[0]: "true", CUT: "ready", CAPTURE: "filesystem"}));
        assert!(all.is_default && all.cut_when_ready && all.of_filesystem);
        assert!(read(json!({DEFAULT[1]: "true"})).is_default);
    }
}
