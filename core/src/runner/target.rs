//! Finding the target: where it is, what it is, and that no other run works on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    SCRATCH, STRAYS,
    locks::{lock, unprobed},
    members::Members,
    scope::scope_of,
    steps::cluster::check as check_cluster,
    world::{World, locked},
};
use crate::{
    Error, Result,
    hook::{Connection, Probe},
    journal::{Event, Undo},
    language::{Blueprint, Scope, is_name, references, render_text, render_value},
    lock::LockGuard,
    plan::{Capturing, Plan, PlannedStep, choose, is_left_out},
    runtime::{CaptureMode, SnapshotIntent, Volume},
    secret::{Secret, SecretSource},
};

/// The target, as far as it was found.
#[derive(Default, Clone)]
pub(super) struct Target {
    /// The run's own directory.
    pub(super) scratch: Option<PathBuf>,
    /// Rendered connections, by name.
    pub(super) connections: BTreeMap<String, Connection>,
    /// Where commands reach them, by name: the host as dialled from here, and the port where one is said.
    pub(super) addresses: BTreeMap<String, (String, Option<u16>)>,
    /// The hook of each connection.
    hooks: BTreeMap<String, String>,
    /// Volumes, by name.
    pub(super) volumes: BTreeMap<String, Volume>,
    /// Programs, by name.
    pub(super) programs: BTreeMap<String, PathBuf>,
    /// Secret parameters that have a value, by name.
    pub(super) secrets: BTreeMap<String, Secret>,
    /// How each snapshot step captures, by the step's id.
    pub(super) capturing: BTreeMap<String, Capturing>,
    /// The snapshots that will be taken, by the step's id. Their undo is in the journal before anything is held, so
    /// that no write waits for the disk that the journal is on.
    pub(super) snapshots: BTreeMap<String, SnapshotIntent>,
    /// What was found out about the database.
    pub(super) probe: Option<Probe>,
    /// Locks on it, for as long as the run lasts.
    pub(super) locks: Arc<Vec<Box<dyn LockGuard>>>,
}

impl Target {
    /// A connection of the blueprint.
    pub(super) fn connection(&self, name: &str) -> Result<&Connection> {
        self.connections
            .get(name)
            .ok_or_else(|| Error::input(format!("the blueprint declares no connection `{name}`")))
    }

    /// The blueprint's connection for a hook without address and secrets: what a service of this run is reached with.
    pub(super) fn without_address(&self, hook: &str) -> Option<Connection> {
        let name = self.hooks.iter().find(|(_, of)| *of == hook).map(|(name, _)| name)?;
        let mut connection = self.connections.get(name)?.clone();
        connection.secrets.clear();
        connection.settings.remove("host");
        connection.settings.remove("port");
        Some(connection)
    }

    /// A connection of a plan, for whoever asks before there is a run.
    pub(super) fn connection_of(plan: &Plan, name: &str, source: &dyn SecretSource) -> Result<Connection> {
        let mut target = Self { secrets: used_secrets(plan, source)?, ..Self::default() };
        target.render_connections(plan, &plan.static_scope())?;
        target.connection(name).cloned()
    }

    /// What is needed to let go of what a dead run left: connections and volumes, as far as they can be had. A secret
    /// that cannot be read any more, because it was a file of the dead run's pod, is that of `heir`, whose plan is for the
    /// same database, if it is by the same blueprint.
    pub(super) fn for_recovery(world: &World, heir: Option<&Plan>) -> Self {
        let plan = &world.plan;
        let scope = plan.static_scope();
        let source = world.host.secrets.as_ref();
        let heir = heir.filter(|heir| heir.blueprint.metadata.name == plan.blueprint.metadata.name);
        let inherited = |name: &String| source.read(heir?.request.secrets.get(name)?).ok();
        let read = |(name, reference): (&String, _)| {
            Some((name.clone(), source.read(reference).ok().or_else(|| inherited(name))?))
        };
        let secrets = plan.request.secrets.iter().filter_map(read).collect();
        let mut target = Self { secrets, ..Self::default() };
        if let Err(error) = target.render_connections(plan, &scope) {
            tracing::warn!("the connections of run {} cannot be rendered: {}", world.run, error.chain());
        }
        for (name, spec) in &plan.blueprint.spec.volumes {
            if let Ok(path) = render_text(&spec.path, &scope) {
                let volume = Volume { name: name.clone(), path: path.into() };
                target.volumes.insert(name.clone(), volume);
            }
        }
        target
    }

    fn render_connections(&mut self, plan: &Plan, scope: &Scope) -> Result<()> {
        let blueprint = &plan.blueprint;
        for (name, spec) in &blueprint.spec.connections {
            let mut connection = Connection { name: name.clone(), ..Connection::default() };
            for (key, value) in spec.0.iter().filter(|(key, _)| *key != "hook") {
                if let Some(parameter) = value.as_object().and_then(|map| map.get("parameter")) {
                    let parameter = parameter.as_str().unwrap_or_default();
                    if let Some(secret) = self.secrets.get(parameter) {
                        connection.secrets.insert(key.clone(), secret.clone());
                    }
                } else if !is_left_out(value, blueprint, scope) {
                    connection.settings.insert(key.clone(), render_value(value, scope)?);
                }
            }
            self.hooks.insert(name.clone(), spec.hook().to_owned());
            self.connections.insert(name.clone(), connection);
        }
        Ok(())
    }
}

/// Where commands of this run reach the connections. One that cannot be reached is left out: whoever uses it is told
/// why, and an action that uses none does not care.
async fn addresses(world: &World, target: &Target) -> BTreeMap<String, (String, Option<u16>)> {
    let mut addresses = BTreeMap::new();
    for (name, connection) in &target.connections {
        let host = connection.settings.get("host").and_then(Value::as_str);
        let port = connection.settings.get("port").and_then(Value::as_u64);
        let (Some(host), Ok(port)) = (host, port.map(u16::try_from).transpose()) else { continue };
        // Without a port it is the one that only the hook knows, on the same host.
        match world.host.runtime.address(host, port.unwrap_or_default()).await {
            Ok((host, reached)) => {
                addresses.insert(name.clone(), (host, port.map(|_| reached)));
            }
            Err(error) => tracing::debug!("the connection {name} has no address here: {}", error.chain()),
        }
    }
    addresses
}

/// Renders arguments, without those whose value is an optional parameter that has none.
pub(super) fn render_arguments(
    with: &Map<String, Value>,
    blueprint: &Blueprint,
    scope: &Scope,
) -> Result<Value> {
    with.iter()
        .filter(|(_, value)| !is_left_out(value, blueprint, scope))
        .map(|(key, value)| Ok((key.clone(), render_value(value, scope)?)))
        .collect::<Result<Map<_, _>>>()
        .map(Value::Object)
}

/// Finds the target of each member, locks it, recovers what dead runs left on it, and chooses how to capture.
pub(super) async fn find(members: &Members) -> Result<()> {
    for world in members.iter() {
        check_cluster(&world.plan, world.host.runtime.as_ref())?;
    }
    let (scratch, commits) = (make_scratch(members.first()).await?, members.plan.commits());
    let mut found = Found::default();
    for world in members.iter() {
        let of_member = async {
            let scratch = directory_of(world, &scratch).await?;
            find_one(world, scratch, &mut found).await
        };
        of_member.await.map_err(|error| match &world.plan.request.member {
            Some(member) => error.during(&format!("the member {member}")),
            None => error,
        })?;
    }
    let ledger = &members.first().ledger;
    if commits {
        ledger.intend(STRAYS, Undo::Strays, true).await?;
    }
    found.targets.into_iter().for_each(|target| ledger.note(target));
    Ok(())
}

/// What was found of all members so far.
#[derive(Default)]
pub(super) struct Found {
    targets: Vec<Event>,
    /// The member that has each identity.
    pub(super) identities: BTreeMap<String, Option<String>>,
}

/// Makes the run's own directory.
async fn make_scratch(world: &World) -> Result<PathBuf> {
    let runtime = &world.host.runtime;
    let intent = runtime.scratch_intent(&world.run).await?;
    let undo = Undo::Runtime { record: intent.record.clone(), secrets: BTreeMap::new() };
    world.ledger.intend(SCRATCH, undo, false).await?;
    runtime.make_scratch(&intent, None).await?;
    Ok(intent.path)
}

/// The part of the run's own directory that is a member's, so that what two of them call the same is kept apart.
async fn directory_of(world: &World, scratch: &Path) -> Result<PathBuf> {
    let Some(member) = &world.plan.request.member else { return Ok(scratch.to_owned()) };
    if !is_name(member) {
        return Err(Error::input(format!("`{member}` is not a name for a member")));
    }
    let path = scratch.join(member);
    tokio::fs::create_dir(&path).await.map_err(|cause| {
        Error::failed(format!("the directory {} cannot be made", path.display()))
            .remedy("Check that there is room and that this user may write there, or set TMPDIR to another place.")
            .because(cause)
    })?;
    Ok(path)
}

async fn find_one(world: &Arc<World>, scratch: PathBuf, found: &mut Found) -> Result<()> {
    let plan = &world.plan;
    let static_scope = plan.static_scope();
    let mut target = Target {
        scratch: Some(scratch),
        secrets: used_secrets(plan, world.host.secrets.as_ref())?,
        ..Target::default()
    };
    target.render_connections(plan, &static_scope)?;
    target.addresses = addresses(world, &target).await;
    find_volumes(world, &mut target, &static_scope).await?;
    set(world, &target);

    let mut identity = None;
    if plan.commits() {
        let (probe, locks) = lock(world, found).await?;
        identity = Some(probe.as_ref().map_or_else(|| unprobed(world), |probe| probe.identity.clone()));
        target.probe = probe;
        target.locks = Arc::new(locks);
        set(world, &target);
        super::recover::predecessors(world, identity.as_deref()).await?;
    }
    let (version, role) =
        target.probe.clone().map_or((None, None), |probe| (Some(probe.version), probe.role));
    let event = Event::Target { member: plan.request.member.clone(), identity, version, role };

    let mut scope = scope_of(world);
    super::scope::take(&mut scope, plan, &event);
    target.programs = find_programs(world, &scope).await?;
    target.capturing = capturing(world, &target).await?;
    target.snapshots = intend_snapshots(world, &target).await?;
    set(world, &target);
    make_places(world, &mut target, &static_scope).await?;
    set(world, &target);
    found.targets.push(event);
    Ok(())
}

fn set(world: &World, target: &Target) {
    *locked(&world.target) = Arc::new(target.clone());
}

/// The secrets that the steps of this plan use; one that is not used need not be readable.
fn used_secrets(plan: &Plan, source: &dyn SecretSource) -> Result<BTreeMap<String, Secret>> {
    let mut used = BTreeSet::new();
    for step in &plan.steps {
        let written = serde_json::to_value(&step.step).unwrap_or_default();
        parameters(&written, &mut used);
        let streamed = step.step.stream.as_ref().and_then(|stream| stream.hook.as_ref());
        let connection = [
            step.step.hook.as_ref().and_then(|hook| hook.connection.as_ref()),
            streamed.and_then(|hook| hook.connection.as_ref()),
            step.step.query.as_ref().and_then(|query| query.connection.as_ref()),
        ];
        for name in connection.into_iter().flatten() {
            if let Some(spec) = plan.blueprint.spec.connections.get(name) {
                parameters(&Value::Object(spec.0.clone()), &mut used);
            }
        }
    }
    let known = plan.request.secrets.iter().filter(|(name, _)| used.contains(*name));
    known.map(|(name, reference)| Ok((name.clone(), source.read(reference)?))).collect()
}

/// Collects every `{parameter: NAME}`.
fn parameters(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let (1, Some(Value::String(name))) = (map.len(), map.get("parameter")) {
                into.insert(name.clone());
            }
            map.values().for_each(|value| parameters(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| parameters(value, into)),
        _ => {}
    }
}

/// The blueprint's volumes. Only a backup needs them to be there, and only those that its steps name: others are
/// what places of other actions are like.
async fn find_volumes(world: &World, target: &mut Target, scope: &Scope) -> Result<()> {
    let needed =
        |name: &str| world.plan.commits() && world.plan.steps.iter().any(|step| names_volume(step, name));
    for (name, spec) in &world.plan.blueprint.spec.volumes {
        let found = match render_text(&spec.path, scope) {
            // The default of a parameter that few need to set: such a volume is not there.
            Ok(path) if path.is_empty() => continue,
            Ok(path) => world.host.runtime.volume(&name_of(world, name), Path::new(&path)).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(volume) => {
                target.volumes.insert(name.clone(), volume);
            }
            Err(error) if needed(name) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(())
}

/// What the runtime calls a volume: the names of its temporary things are made of it, so it is unique in the run.
fn name_of(world: &World, volume: &str) -> String {
    world
        .plan
        .request
        .member
        .as_ref()
        .map_or_else(|| volume.to_owned(), |member| format!("{member}-{volume}"))
}

/// Whether a step names a volume: as its own, as one that its verb is told of, or in a template.
fn names_volume(step: &PlannedStep, name: &str) -> bool {
    let written = serde_json::to_value(&step.step).unwrap_or_default();
    let by_template = |path: &Vec<String>| matches!(path.as_slice(), [place, volume, ..] if place == "volumes" && volume == name);
    is_or_holds(&written, name) || references(&written).iter().any(by_template)
}

/// Whether a value is this text, or has it as a value somewhere below.
fn is_or_holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(items) => items.iter().any(|item| is_or_holds(item, text)),
        Value::Object(map) => map.values().any(|value| is_or_holds(value, text)),
        _ => false,
    }
}

/// The places that this action restores into: made here, and undone if the run does not finish.
async fn make_places(world: &World, target: &mut Target, scope: &Scope) -> Result<()> {
    let runtime = &world.host.runtime;
    for (name, place) in &world.plan.action()?.volumes {
        let like =
            place.like.as_ref().and_then(|like| target.volumes.get(like)).map(|volume| volume.path.clone());
        let (intent, keep) = match &place.path {
            Some(path) if !place.scratch => {
                let path = PathBuf::from(render_text(path, scope)?);
                (runtime.destination_intent(&path, &world.run).await?, true)
            }
            _ => {
                let name = name_of(world, name);
                (runtime.scratch_volume_intent(&name, like.as_deref(), &world.run).await?, false)
            }
        };
        let undo = Undo::Runtime { record: intent.record.clone(), secrets: BTreeMap::new() };
        world.ledger.intend(&world.plan.qualified(&format!("volumes.{name}")), undo, keep).await?;
        runtime.make_scratch(&intent, like.as_deref()).await?;
        let volume = Volume { name: name.clone(), path: intent.path };
        target.volumes.insert(name.clone(), volume);
    }
    Ok(())
}

/// Programs that the steps refer to.
async fn find_programs(world: &World, scope: &Scope) -> Result<BTreeMap<String, PathBuf>> {
    let plan = &world.plan;
    let mut found = BTreeMap::new();
    for name in plan.programs() {
        let Some(spec) = plan.blueprint.spec.programs.get(&name) else {
            return Err(Error::input(format!("the blueprint declares no program `{name}`")));
        };
        let search = spec.search.iter().map(|place| render_text(place, scope)).collect::<Result<Vec<_>>>()?;
        let search: Vec<PathBuf> =
            search.into_iter().filter(|place| !place.is_empty()).map(Into::into).collect();
        let file = spec.name.as_deref().unwrap_or(&name);
        let path = world.host.runtime.program(file, &search).await?;
        found.insert(name, path);
    }
    Ok(found)
}

/// How each snapshot step will capture its volume.
async fn capturing(world: &World, target: &Target) -> Result<BTreeMap<String, Capturing>> {
    let holds: Vec<_> = world.plan.steps.iter().filter_map(|step| step.hold).collect();
    let mut chosen = BTreeMap::new();
    for step in &world.plan.steps {
        let Some(snapshot) = &step.step.snapshot else { continue };
        let Some(volume) = target.volumes.get(&snapshot.volume) else {
            return Err(Error::input(format!("the blueprint declares no volume `{}`", snapshot.volume)));
        };
        let (snapshotter, kept) = (world.host.runtime.snapshotter(), world.plan.keeps(step));
        if kept && !snapshotter.keeps() {
            return Err(Error::input(format!(
                "the snapshot of `{}` is to be kept as an artifact, and snapshots of this machine are not kept",
                snapshot.volume
            ))
            .remedy("Leave `keep` out, so that its files are stored; or run it with `--on kubernetes`."));
        }
        let abilities = snapshotter.abilities(volume).await?;
        let wanted = if kept { CaptureMode::Atomic } else { snapshot.mode.unwrap_or(CaptureMode::Auto) };
        chosen.insert(
            step.id.clone(),
            choose(&volume.name, wanted, &abilities, &holds, world.plan.others_wait)?,
        );
    }
    Ok(chosen)
}

/// Notes where each snapshot will be.
async fn intend_snapshots(world: &World, target: &Target) -> Result<BTreeMap<String, SnapshotIntent>> {
    let snapshotter = world.host.runtime.snapshotter();
    let (mut intents, mut steps, mut volumes) = (BTreeMap::new(), Vec::new(), Vec::new());
    for step in &world.plan.steps {
        let capturing =
            target.capturing.get(&step.id).filter(|capturing| capturing.mode != CaptureMode::Live);
        let volume = step.step.snapshot.as_ref().and_then(|snapshot| target.volumes.get(&snapshot.volume));
        let (Some(capturing), Some(volume)) = (capturing, volume) else { continue };
        // What is kept outlives the run alone, and not with others.
        if capturing.mode == CaptureMode::Atomic && !world.plan.keeps(step) {
            steps.push(step);
            volumes.push(volume.clone());
        } else {
            let intent = snapshotter.intend(volume, capturing.mode, &world.run).await?;
            note_snapshot(world, step, intent, &mut intents).await?;
        }
    }
    let together = snapshotter.intend_together(&volumes, &world.run).await?;
    for (step, intent) in steps.into_iter().zip(together) {
        note_snapshot(world, step, intent, &mut intents).await?;
    }
    Ok(intents)
}

async fn note_snapshot(
    world: &World,
    step: &PlannedStep,
    intent: SnapshotIntent,
    intents: &mut BTreeMap<String, SnapshotIntent>,
) -> Result<()> {
    let undo = Undo::Runtime { record: intent.record.clone(), secrets: BTreeMap::new() };
    world.ledger.intend(&step.id, undo, world.plan.keeps(step)).await?;
    intents.insert(step.id.clone(), intent);
    Ok(())
}
