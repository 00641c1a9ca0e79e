//! Snapshots that recovery points kept, for a run that restores or verifies them: claims that are made of them, and go
//! with the run.

use serde_json::Value;
use standstill_core::{Result, plan::Plan, point::RunId};

use super::Mounted;
use crate::{client::Cluster, names, record::name_part, snapshot::KeptRecord};

/// What a run needs in order to read the kept snapshots that its steps restore: where they are mounted, and the claims.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when one is gone, or in another namespace.
pub async fn kept(cluster: &Cluster, plan: &Plan, run: &RunId) -> Result<Vec<(Mounted, Value)>> {
    let mut needed = Vec::new();
    let Some(point) = &plan.point else { return Ok(needed) };
    for artifact in &point.artifacts {
        let volumes = plan.steps.iter().filter_map(|step| step.step.volume.as_ref());
        let used = volumes.into_iter().any(|volume| volume.artifact == artifact.name);
        let Some(kept) = artifact.kept.as_deref().filter(|_| used) else { continue };
        let record = KeptRecord::of(kept)?;
        let name = names::of_run(&format!("get-{}", name_part(&record.snapshot.name)), run);
        let claim = record.claim(cluster, kept, &name, run).await?;
        let mounted = Mounted {
            claim: name,
            path: record.mount(),
            sub_path: record.place.sub_path.clone(),
            read_only: true,
        };
        needed.push((mounted, claim));
    }
    Ok(needed)
}
