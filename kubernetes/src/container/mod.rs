//! Commands in the target's own container, by the API server's `exec`.
//!
//! ```text
//!   runner ──orders, renewals──▶ API server ──▶ kubelet ──▶ sh: relay ──▶ the author's commands or client
//!          ◀──what they say─────                                └──▶ watch: lets go when renewals stop
//! ```
//!
//! The connection may break at any moment and by itself proves nothing; so whoever acquires something in the container
//! is watched from inside it, by the shell that its image has. The scripts are POSIX, and were tried with dash, bash
//! and busybox.
//!
//! - [`script`]: the scripts; [`connection`]: one command's streams, with deadlines; [`frames`] and
//!   [`seen`]: what it says
//! - [`exec`]: a command that is run to its end
//! - [`keeper`]: a hold of commands or of a client; [`dispose`]: letting go without it; [`record`]: what that needs
//!
//! # Rights
//! In the namespace: `create` and `get` on `pods/exec` (the verb for a websocket differs between versions), `get` on
//! `pods`.

mod check;
mod connection;
pub(crate) mod dispose;
mod exec;
mod frames;
pub(crate) mod keeper;
pub(crate) mod record;
mod script;
mod seen;

use standstill_core::{Error, Result};

use crate::{client::Cluster, target::Target};

/// A container of a pod.
#[derive(Clone)]
pub(crate) struct Container {
    pub(crate) cluster: Cluster,
    pub(crate) pod: String,
    pub(crate) name: String,
}

impl Container {
    /// The target's own.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it has no pod.
    pub(crate) fn of_target(cluster: &Cluster, target: Option<&Target>) -> Result<Self> {
        let found = target.and_then(|target| Some((target, target.pod.as_ref()?)));
        let Some((target, pod)) = found else {
            return Err(Error::input(
                "a command is to run in the target's own container, and no pod of it runs",
            )
            .remedy(
                "Scale the workload up, or have the blueprint run it beside the target by `in: runner`.",
            ));
        };
        let cluster = cluster.in_namespace(&target.namespace);
        Ok(Self { cluster, pod: pod.name.clone(), name: target.container.clone() })
    }

    /// For people: `the container app of the pod app-0`.
    fn show(&self) -> String {
        format!("the container {} of the pod {}", self.name, self.pod)
    }
}
