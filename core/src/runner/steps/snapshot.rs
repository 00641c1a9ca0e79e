//! `snapshot`: captures a volume, by a snapshot, by a copy, or by reading it live into the repository.

use serde_json::json;

use super::{Performed, store};
use crate::{
    Error, Result,
    language::{SnapshotStep, VolumeStep},
    runner::world::{Capture, StepContext, locked},
    runtime::{CaptureMode, Captured},
};

/// Captures the volume as it was decided before anything was held.
pub(super) async fn capture(context: &StepContext, step: &SnapshotStep) -> Result<Performed> {
    let target = context.world.target();
    let capturing = *target
        .capturing
        .get(&context.step.id)
        .ok_or_else(|| Error::failed(format!("{} was not planned", context.step.id)))?;
    let volume = target
        .volumes
        .get(context.volume_name(&step.volume))
        .ok_or_else(|| Error::input(format!("the blueprint declares no volume `{}`", step.volume)))?;
    let name = context.step.step.name.clone().unwrap_or_else(|| step.volume.clone());
    let mut performed = Performed::default();
    let captured = if capturing.mode == CaptureMode::Live {
        Captured {
            volume: volume.name.clone(),
            mode: CaptureMode::Live,
            path: volume.path.clone(),
            original: volume.path.clone(),
            remote: None,
        }
    } else {
        let intent = target
            .snapshots
            .get(&context.step.id)
            .ok_or_else(|| Error::failed(format!("{} was not intended", context.step.id)))?;
        let snapshotter = context.world.host.runtime.snapshotter();
        snapshotter.capture(intent, capturing.tolerate_changes, &context.cancel).await?
    };
    let mut capture =
        Capture { captured, stored: capturing.mode == CaptureMode::Live, at: jiff::Timestamp::now() };
    if capturing.mode == CaptureMode::Live {
        let store = store_of(context, &name)?;
        let tolerate = capturing.tolerate_changes;
        performed.artifacts.push(store::put(context, &store, &capture, tolerate).await?);
        capture.at = jiff::Timestamp::now();
    }
    let path = capture.captured.path.display().to_string();
    performed.outputs.insert("path".into(), json!(path));
    performed.outputs.insert("mode".into(), json!(capture.captured.mode));
    locked(&context.world.captures).insert(name, capture);
    Ok(performed)
}

/// The `volume` step that stores a capture: a live capture has to know what is left out.
fn store_of(context: &StepContext, name: &str) -> Result<VolumeStep> {
    let from = format!("captures.{name}");
    let mut volumes = context.world.plan.steps.iter().filter_map(|step| step.step.volume.as_ref());
    volumes.find(|volume| volume.from.as_deref() == Some(&from)).cloned().ok_or_else(|| {
        Error::input(format!("the capture `{name}` is read live, and no step stores it"))
            .remedy(format!("Add `volume: {{from: {from}, artifact: {name}}}` to `store`."))
    })
}
