//! `volume` and `files`: trees into the repository, and out of it.

use std::{
    io::{Cursor, Read},
    path::{Component, Path, PathBuf},
};

use serde_json::{Value, json};

use super::Performed;
use crate::{
    Error, Result,
    language::{FilesStep, Keep, Phase, VolumeStep},
    point::{ArtifactKind, KeptSnapshot, StoredArtifact},
    repository::{PutStream, PutTree, StreamSource, TreeSelection},
    runner::{
        transfer::Remotely,
        world::{Capture, StepContext, locked},
    },
    transfer::{GetTree, TransferReport, TransferSpec, perform},
};

/// Stores a captured volume (`from`), or restores one (`to`).
pub(super) async fn volume(context: &StepContext, step: &VolumeStep) -> Result<Performed> {
    match (&step.from, &step.to) {
        (Some(from), None) => {
            let name = from.strip_prefix("captures.").unwrap_or(from);
            let capture = locked(&context.world.captures).get(name).cloned();
            let capture = capture.ok_or_else(|| Error::failed(format!("`{from}` was not captured")))?;
            if capture.stored {
                return Ok(Performed::default());
            }
            let artifact = match step.keep {
                Some(Keep::Snapshot) => keep(context, step, &capture).await?,
                None => put(context, step, &capture, false).await?,
            };
            Ok(Performed { artifacts: vec![artifact], ..Performed::default() })
        }
        (None, Some(to)) => get(context, step, to).await,
        _ => Err(Error::input(format!("{} has not exactly one of `from` and `to`", context.step.id))),
    }
}

/// Stores the files of a capture.
pub(super) async fn put(
    context: &StepContext,
    step: &VolumeStep,
    capture: &Capture,
    tolerate_changes: bool,
) -> Result<StoredArtifact> {
    let selection = TreeSelection {
        exclude: step.exclude.clone(),
        tolerate_changes,
        last: step.last.iter().map(PathBuf::from).collect(),
    };
    let request = PutTree {
        run: context.world.run.clone(),
        application: context.world.plan.request.application.clone(),
        artifact: context.world.plan.qualified(&step.artifact),
        kind: ArtifactKind::Volume,
        root: capture.captured.path.clone(),
        original: capture.captured.original.clone(),
        selection,
        cut_at: Some(capture.at),
    };
    let spec = TransferSpec::PutTree(request);
    spec.stored(transfer(context, &spec, capture.captured.remote.as_ref()).await?)
}

/// Keeps the snapshot itself: the repository gets what is known of it, so that the recovery point is whole only with it.
async fn keep(context: &StepContext, step: &VolumeStep, capture: &Capture) -> Result<StoredArtifact> {
    let world = &context.world;
    let kept = world.host.runtime.snapshotter().keep(&capture.captured, &context.cancel).await?;
    let kept = KeptSnapshot { exclude: step.exclude.clone(), ..kept };
    let described = serde_json::to_vec_pretty(&kept)
        .map_err(|cause| Error::failed(format!("{} cannot be described", kept.called)).because(cause))?;
    let request = PutStream {
        run: world.run.clone(),
        application: world.plan.request.application.clone(),
        artifact: world.plan.qualified(&step.artifact),
    };
    let progress = world.host.observer.transfer(&request.artifact);
    let stream = Box::new(Described { bytes: described.len() as u64, text: Cursor::new(described) });
    let stored = world.repository()?.put_stream(request, stream, progress, context.cancel.clone()).await?;
    // Nothing of its content was read, so nothing is claimed of it.
    Ok(StoredArtifact {
        kind: ArtifactKind::Snapshot,
        bytes: 0,
        files: 0,
        blake3: None,
        kept: Some(Box::new(kept)),
        ..stored
    })
}

/// A description as a stream.
struct Described {
    bytes: u64,
    text: Cursor<Vec<u8>>,
}

impl Read for Described {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.text.read(buffer)
    }
}

impl StreamSource for Described {
    fn finish(&mut self) -> Result<u64> {
        Ok(self.bytes)
    }
}

/// Performs a transfer: by this process, or, where the files are `remote`, by the runtime.
async fn transfer(
    context: &StepContext,
    spec: &TransferSpec,
    remote: Option<&Value>,
) -> Result<TransferReport> {
    let world = &context.world;
    let (progress, cancel) = (world.host.observer.transfer(spec.artifact()), context.cancel.clone());
    let Some(remote) = remote else {
        return perform(spec, world.repository()?.as_ref(), progress, cancel).await;
    };
    let remotely = Remotely {
        runtime: world.host.runtime.as_ref(),
        ledger: &world.ledger,
        run: &world.run,
        step: &context.step.id,
    };
    remotely.transfer(remote, spec, progress, &cancel).await
}

/// Restores an artifact into a volume.
async fn get(context: &StepContext, step: &VolumeStep, to: &str) -> Result<Performed> {
    let artifact = artifact(context, &step.artifact)?;
    let mut destination = context.volume_path(to)?;
    if let Some(under) = &step.under {
        for part in inside(under)?.components() {
            destination.push(part);
            make_directory(&destination).await?;
        }
    }
    locked(&context.world.meter).recovering();
    let restored = if let Some(kept) = &artifact.kept {
        let runtime = &context.world.host.runtime;
        runtime.restore_kept(&artifact.name, kept, &destination, &context.cancel).await?
    } else {
        let spec = TransferSpec::GetTree(GetTree { artifact, destination });
        spec.restored(transfer(context, &spec, None).await?)?
    };
    locked(&context.world.meter).recovered();
    let outputs =
        [("entries".to_owned(), json!(restored.entries)), ("bytes".to_owned(), json!(restored.bytes))];
    Ok(Performed { outputs: outputs.into(), ..Performed::default() })
}

/// A relative path that stays where it is put.
fn inside(path: &str) -> Result<&Path> {
    let path = Path::new(path);
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        Ok(path)
    } else {
        Err(Error::input(format!("`{}` is not a path inside a volume", path.display())))
    }
}

/// Makes one directory. A link in its place is refused: a restored one may point at the live data.
async fn make_directory(path: &Path) -> Result<()> {
    let failed =
        |cause| Error::failed(format!("cannot make the directory {}", path.display())).because(cause);
    match tokio::fs::symlink_metadata(path).await {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::failed(format!("{} is in the way: it is no directory", path.display()))
            .remedy("Have the blueprint replace links before it restores below them.")),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            tokio::fs::create_dir(path).await.map_err(failed)
        }
        Err(cause) => Err(failed(cause)),
    }
}

/// An artifact of the recovery point.
pub(super) fn artifact(context: &StepContext, name: &str) -> Result<StoredArtifact> {
    let point = context.world.plan.point.as_ref();
    point.and_then(|point| point.artifact(name)).cloned().ok_or_else(|| {
        Error::input(format!("the recovery point has no artifact `{name}`"))
            .remedy("`standstill show POINT` lists its artifacts.")
    })
}

/// Stores files that a hook gathered.
pub(super) async fn files(context: &StepContext, step: &FilesStep) -> Result<Performed> {
    if context.step.phase == Phase::Steps {
        return Err(Error::input("`files` stores; use `volume` to restore"));
    }
    let path: Vec<&str> = step.from.split('.').collect();
    let directory =
        context.scope.at(&path).and_then(|files| files.get("directory")).and_then(|path| path.as_str());
    let directory = directory.ok_or_else(|| {
        Error::failed(format!("`{}` names no files", step.from))
            .remedy("Name an output that its hook declares as files.")
    })?;
    let request = PutTree {
        run: context.world.run.clone(),
        application: context.world.plan.request.application.clone(),
        artifact: context.world.plan.qualified(&step.artifact),
        kind: ArtifactKind::Files,
        root: PathBuf::from(directory),
        // Their own place is private to the run; a fixed one lets the next backup find its parent.
        original: PathBuf::from("/").join(context.world.plan.qualified(&step.artifact)),
        selection: TreeSelection::default(),
        cut_at: None,
    };
    let spec = TransferSpec::PutTree(request);
    let artifact = spec.stored(transfer(context, &spec, None).await?)?;
    Ok(Performed { artifacts: vec![artifact], ..Performed::default() })
}
