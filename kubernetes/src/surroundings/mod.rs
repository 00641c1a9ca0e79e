//! Changes of the cluster around the target: steps `scale` and `kube`.
//!
//! ```text
//!   change ──intend──▶ record: what was before ──make──▶ changed ──dispose──▶ as before, where nobody else changed it
//! ```
//!
//! - [`scale`]: how many pods a workload has; [`object`]: everything else; [`fields`]: what is put back of it
//!
//! # Rights
//! Those that the plan's steps need, on the objects that they name; see [`crate::launch::permissions`].

mod fields;
pub(crate) mod object;
pub(crate) mod scale;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use standstill_core::{
    Error, Result,
    cluster::{Change, ObjectName, Surroundings},
    point::{Outputs, RunId},
};
use tokio_util::sync::CancellationToken;

use self::object::Made;
use crate::{client::Cluster, record::Record};

/// The objects of the target's namespace.
pub(crate) struct Around {
    pub(crate) cluster: Cluster,
}

#[async_trait]
impl Surroundings for Around {
    async fn intend(&self, change: &Change, run: &RunId) -> Result<Value> {
        let cluster = &self.cluster;
        let changed =
            async |object, what| object::intend(cluster, object, what, run).await.map(Record::Changed);
        let record = match change {
            Change::Scale { workload, replicas } => {
                Record::Scaled(scale::intend(cluster, workload, *replicas).await?)
            }
            Change::Apply { object, fields } => changed(object, Made::Applied(fields.clone())).await?,
            Change::Patch { object, fields } => changed(object, Made::Patched(fields.clone())).await?,
            Change::Delete { object } => changed(object, Made::Deleted).await?,
        };
        record.to_value()
    }

    async fn make(&self, record: &Value, within: Duration, cancel: &CancellationToken) -> Result<Outputs> {
        let made = async {
            match Record::from_value(record)? {
                Some(Record::Scaled(record)) => {
                    scale::make(&self.cluster, &record, within).await?;
                    Ok(Outputs::from([("replicas".to_owned(), json!(record.from))]))
                }
                Some(Record::Changed(record)) => {
                    object::make(&self.cluster, &record, within).await?;
                    Ok(Outputs::new())
                }
                _ => Err(Error::failed("the record is of no change of the cluster")),
            }
        };
        tokio::select! {
            made = made => made,
            () = cancel.cancelled() => Err(Error::cancelled("the change of the cluster was cancelled")),
        }
    }

    async fn settled(&self, record: &Value, within: Duration) -> Result<()> {
        match Record::from_value(record)? {
            Some(Record::Scaled(record)) => scale::settled(&self.cluster, &record, within).await,
            _ => Ok(()),
        }
    }

    async fn look(&self, object: &ObjectName) -> Result<Option<Value>> {
        object::look(&self.cluster, object).await
    }
}
