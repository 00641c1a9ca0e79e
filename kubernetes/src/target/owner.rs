//! Who the files of the database belong to.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use standstill_core::{Error, Result};

use super::Target;
use crate::client::Cluster;

/// How long a question to the container may take.
const QUESTION: Duration = Duration::from_secs(20);

/// A numeric user and, where it is known, group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owner {
    /// The user.
    pub user: i64,
    /// The group; by default the user's own in the image.
    pub group: Option<i64>,
}

impl Target {
    /// The numeric owner of the files at a path: the user that the container runs as, where its pod says so;
    /// otherwise the container is asked.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when neither says it.
    pub async fn owner(&self, cluster: &Cluster, path: &Path) -> Result<Owner> {
        if let Some(user) = self.run_as_user {
            return Ok(Owner { user, group: self.run_as_group });
        }
        let unknown = || {
            Error::input(format!("the owner of {} in {} is not known", path.display(), self.found_by)).remedy(
                "Set `runAsUser` in the pod's security context to the user that the database runs as.",
            )
        };
        let Some(pod) = &self.pod else { return Err(unknown()) };
        let shown = path.display().to_string();
        let cluster = cluster.in_namespace(&self.namespace);
        let command = ["stat", "-c", "%u:%g", &shown];
        let asked = cluster.exec(&pod.name, &self.container, &command, QUESTION).await;
        let asked = asked.map_err(|cause| unknown().because(cause))?;
        parse(&asked.stdout).ok_or_else(|| unknown().because(Error::failed(asked.stderr.trim().to_owned())))
    }
}

/// `26:26`.
pub(super) fn parse(text: &str) -> Option<Owner> {
    let (user, group) = text.trim().split_once(':')?;
    Some(Owner { user: user.parse().ok()?, group: Some(group.parse().ok()?) })
}
