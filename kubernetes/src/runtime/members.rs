//! The members of a group: each has a target of its own, and all are worked on from one pod.

use std::{sync::Arc, time::Duration};

use standstill_core::{Result, point::RunId};

use super::KubernetesRuntime;
use crate::{
    apart::Apart,
    launch::{self, Placed},
    record::TargetAt,
    snapshot::SNAPSHOT_DEADLINE,
};

impl KubernetesRuntime {
    /// The same runtime for another target; for none, where what is said to be on the target's own host cannot be
    /// reached.
    fn at(&self, member: &str, placed: Option<Placed>) -> Self {
        let mut settings = self.settings.clone();
        settings.member = Some(member.to_owned());
        settings.target = None;
        settings.snapshots.read_as = None;
        if let Some(mover) = &mut settings.mover {
            mover.data_owner = None;
        }
        if let Some(placed) = placed {
            settings.snapshots.class = placed.snapshot_class;
            settings.snapshots.group_class = placed.group_snapshot_class;
            settings.snapshots.deadline =
                placed.snapshot_deadline.map_or(SNAPSHOT_DEADLINE, Duration::from_millis);
            // From outside nobody can look whether he could.
            settings.snapshots.read_as = self.settings.outside.is_none().then_some(placed.data_owner);
            settings.snapshots.security = placed.security;
            if let Some(mover) = &mut settings.mover {
                mover.data_owner = Some(placed.data_owner);
                mover.security = placed.security;
                mover.tolerations.clone_from(&placed.target.tolerations);
            }
            settings.target = Some(placed.target);
        }
        let reached = self.reached.another();
        Self { reached, ..Self::new(Arc::clone(&self.inner), self.cluster.clone(), settings) }
    }

    /// What runs commands in pods of their own; `None` where there is no run that these would be made for.
    pub(super) fn commands_apart(&self) -> Option<Apart> {
        let settings = self.settings.mover.clone()?;
        // The file of a member's parameter has the member's name before it.
        let prefix = self.settings.member.as_ref().map(|member| format!("{member}."));
        let of_this = |file: &String| match &prefix {
            Some(prefix) => file.strip_prefix(prefix.as_str()).map(str::to_owned),
            None => Some(file.clone()),
        };
        let secrets = self.settings.secrets.iter();
        let secrets = secrets.filter_map(|(file, place)| Some((of_this(file)?, place.clone()))).collect();
        let run = self.settings.run.clone();
        Some(Apart { cluster: self.cluster.clone(), target: self.target.clone(), settings, secrets, run })
    }

    /// The runtime for a member of a run, as [`standstill_core::runtime::Runtime::of_member`]. Where a member of a dead
    /// run is, its own orders say, which stay until it is recovered: a member of the same name of this run may be another
    /// database.
    pub(super) async fn member(&self, run: &RunId, member: &str) -> Result<Option<Self>> {
        if self.settings.run.as_ref() == Some(run) {
            // A run of one member alone is where this is.
            return Ok(self
                .settings
                .members
                .get(member)
                .cloned()
                .map(|placed| self.at(member, Some(placed))));
        }
        if self.pod.is_none() && self.settings.outside.is_none() {
            // Without a place no database can be reached, whoever's it is.
            return Ok(None);
        }
        let placed = launch::placed(&self.cluster, run, member).await?;
        Ok(Some(self.at(member, placed.map(|placed| self.found_since(placed)))))
    }

    /// Where a member of a dead run was, with the pod that its target has now where this run has the same one.
    fn found_since(&self, mut placed: Placed) -> Placed {
        let then = TargetAt::of(&placed.target, String::new());
        if let Some(pod) = then.and_then(|then| self.pod_that_is(&then).cloned()) {
            placed.target.pod = Some(pod);
        }
        placed
    }

    /// Checks that commands can be run in the target's own container, and watched there: in that of a member, where the
    /// run has several.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when it has no pod, or no shell.
    pub async fn check_container(&self, member: Option<&str>) -> Result<()> {
        let members = &self.settings.members;
        match member.and_then(|member| Some((member, members.get(member)?))) {
            Some((member, placed)) => self.at(member, Some(placed.clone())).container()?.check().await,
            None => self.container()?.check().await,
        }
    }
}
