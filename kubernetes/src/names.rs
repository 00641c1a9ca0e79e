//! Names and labels of the objects that a run makes.

use std::collections::BTreeMap;

use standstill_core::point::RunId;

/// Who made an object; the same label as other tools use.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub(crate) const STANDSTILL: &str = "standstill";
/// The run that made an object.
pub(crate) const RUN: &str = "standstill.dev/run";
/// Which of several recoveries of a run a pod is of.
pub(crate) const ATTEMPT: &str = "standstill.dev/attempt";
/// What an object is for: `journal`, `lock`, `runner`, `mover`.
pub(crate) const ROLE: &str = "standstill.dev/role";

/// The [`ROLE`] of a journal, and of the Lease that says that its writer lives.
pub(crate) const JOURNAL: &str = "journal";
/// The [`ROLE`] of a run's pod, and of what it is made by.
pub(crate) const RUNNER: &str = "runner";
/// The [`ROLE`] of a lock on a target.
pub(crate) const LOCK: &str = "lock";
/// An annotation: the identity that a lock is on.
pub(crate) const IDENTITY: &str = "standstill.dev/identity";
/// A label of a journal: `running`, `succeeded` or `failed`.
pub(crate) const STATE: &str = "standstill.dev/state";

/// The labels of an object that a run makes.
pub(crate) fn labels(run: &RunId, role: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.to_owned(), STANDSTILL.to_owned()),
        (ROLE.to_owned(), role.to_owned()),
        (RUN.to_owned(), run.to_string()),
    ])
}

/// The name of an object of a run: `standstill-PART-RUN`. A valid DNS label of at most 63 characters.
pub(crate) fn of_run(part: &str, run: &RunId) -> String {
    // The prefix, two dashes and the run's 32 digits leave 19.
    let part: String = part.chars().take(19).collect();
    format!("standstill-{part}-{run}")
}

/// The selector for the objects that have all of these labels.
pub(crate) fn of_labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

/// The selector for all objects of a role.
pub(crate) fn of_role(role: &str) -> String {
    format!("{MANAGED_BY}={STANDSTILL},{ROLE}={role}")
}

/// The selector for all objects of these roles.
pub(crate) fn of_roles(roles: &[&str]) -> String {
    format!("{MANAGED_BY}={STANDSTILL},{ROLE} in ({})", roles.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_run_are_dns_labels() {
        let run = RunId::generate();
        let name = of_run("a-part-that-is-longer-than-others", &run);
        assert!(name.len() <= 63, "{name}");
        assert!(of_run("journal", &run).starts_with("standstill-journal-"));
    }
}
