//! The members of a group: each has a target of its own, and all are worked on from one pod.

use std::{sync::Arc, time::Duration};

use standstill_core::{Result, point::RunId};

use super::KubernetesRuntime;
use crate::{
    launch::{self, Placed},
    snapshot::SNAPSHOT_DEADLINE,
};

impl KubernetesRuntime {
    /// The same runtime for another target; for none, where what is said to be on the target's own host cannot be
    /// reached.
    fn at(&self, placed: Option<Placed>) -> Self {
        let mut settings = self.settings.clone();
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
        Self::new(Arc::clone(&self.inner), self.cluster.clone(), settings)
    }

    /// The runtime for a member of a run, as [`standstill_core::runtime::Runtime::of_member`]. Where a member of a dead
    /// run is, its own orders say, which stay until it is recovered: a member of the same name of this run may be another
    /// database.
    pub(super) async fn member(&self, run: &RunId, member: &str) -> Result<Option<Self>> {
        if self.settings.run.as_ref() == Some(run) {
            // A run of one member alone is where this is.
            return Ok(self.settings.members.get(member).cloned().map(|placed| self.at(Some(placed))));
        }
        if self.pod.is_none() && self.settings.outside.is_none() {
            // Without a place no database can be reached, whoever's it is.
            return Ok(None);
        }
        Ok(Some(self.at(launch::placed(&self.cluster, run, member).await?)))
    }

    /// Checks that commands can be run in the target's own container, and watched there: in that of a member, where the
    /// run has several.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when it has no pod, or no shell.
    pub async fn check_container(&self, member: Option<&str>) -> Result<()> {
        let members = &self.settings.members;
        match member.and_then(|member| members.get(member)) {
            Some(placed) => self.at(Some(placed.clone())).container()?.check().await,
            None => self.container()?.check().await,
        }
    }
}
