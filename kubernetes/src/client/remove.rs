//! Removing what a run made, in as few requests as that takes.

use std::{fmt::Debug, time::Duration};

use kube::{Resource, api::DeleteParams};
use serde::de::DeserializeOwned;
use standstill_core::{Error, Result, point::RunId};

use super::Objects;

/// What came of a deletion.
enum Deleted {
    /// It was not there.
    Absent,
    /// It is gone.
    Gone,
    /// It is going: it ends in good order first, or has finalizers.
    Going,
}

impl<K> Objects<K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    /// Removes an object of a run and waits until it is gone. `false`: it was not there.
    ///
    /// # Errors
    /// When its name is not that of one of the run's objects, and [`standstill_core::ErrorKind::Temporary`] when
    /// it does not go within the time: somebody's finalizer, or a node that does not answer, holds it.
    pub(crate) async fn remove(&self, name: &str, run: &RunId, within: Duration) -> Result<bool> {
        // The run's id is in the name, and nobody else's is ever the same.
        if !name.ends_with(run.as_str()) {
            return Err(Error::failed(format!("{name} is not the name of something that run {run} made")));
        }
        match self.request("delete", Some(name), self.delete_once(name)).await? {
            Deleted::Absent => return Ok(false),
            Deleted::Gone => return Ok(true),
            Deleted::Going => {}
        }
        let gone = self.wait(name, within, |found| Ok(found.is_none().then_some(()))).await?;
        gone.map(|()| true).ok_or_else(|| {
            Error::temporary(format!("{name} was deleted and does not go"))
                .remedy("Look at its finalizers and events, and at its node.")
        })
    }

    async fn delete_once(&self, name: &str) -> kube::Result<Deleted> {
        match self.api().delete(name, &DeleteParams::background()).await {
            Ok(answer) if answer.is_left() => Ok(Deleted::Going),
            Ok(_) => Ok(Deleted::Gone),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Deleted::Absent),
            Err(error) => Err(error),
        }
    }
}
