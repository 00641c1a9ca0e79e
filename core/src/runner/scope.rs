//! What templates may refer to, made of the plan, the target and the events so far.

use serde_json::{Map, Value, json};

use super::{target::Target, world::World};
use crate::{journal::Event, language::Scope, plan::Plan, point::Outputs};

/// The scope of the next step. Made of events alone, so that a run that was taken over has it too.
pub(super) fn scope_of(world: &World) -> Scope {
    let target = world.target();
    let mut scope = world.plan.static_scope();
    place(&mut scope, world, &target);
    for event in world.ledger.events() {
        take(&mut scope, &world.plan, &event);
    }
    scope
}

fn place(scope: &mut Scope, world: &World, target: &Target) {
    let scratch = target.scratch.as_ref().map(|path| path.display().to_string());
    scope.insert("run", json!({"id": world.run, "scratchDir": scratch}));
    let volumes: Map<String, Value> = target
        .volumes
        .iter()
        .map(|(name, volume)| (name.clone(), json!({"path": volume.path.display().to_string()})))
        .collect();
    scope.insert("volumes", Value::Object(volumes));
    let programs: Map<String, Value> = target
        .programs
        .iter()
        .map(|(name, path)| (name.clone(), Value::from(path.display().to_string())))
        .collect();
    scope.insert("programs", Value::Object(programs));
    let connections: Map<String, Value> = target
        .connections
        .iter()
        .map(|(name, connection)| {
            let mut settings = connection.settings.clone();
            if let Some((host, port)) = target.addresses.get(name) {
                settings.insert("host".to_owned(), json!(host));
                settings.extend(port.map(|port| ("port".to_owned(), json!(port))));
            }
            (name.clone(), Value::Object(settings))
        })
        .collect();
    scope.insert("connections", Value::Object(connections));
    for empty in ["steps", "captures", "services"] {
        scope.insert(empty, json!({}));
    }
}

pub(super) fn take(scope: &mut Scope, plan: &Plan, event: &Event) {
    match event {
        Event::Target { member, identity, version, role } if *member == plan.request.member => {
            scope.insert("target", json!({"identity": identity, "version": version, "role": role}));
        }
        Event::Done { step, outputs, .. } => {
            let Some(step) = plan.step(step) else { return };
            if let Some(snapshot) = &step.step.snapshot {
                let name = step.step.name.as_deref().unwrap_or(&snapshot.volume);
                scope.set_path(&["captures", name], json!(outputs));
            } else if let Some(name) = &step.step.name {
                let place = if step.step.service.is_some() { "services" } else { "steps" };
                add(scope, place, name, outputs);
            }
        }
        Event::Released { step, outputs, .. } => {
            if let Some(name) = plan.step(step).and_then(|step| step.step.name.as_ref()) {
                add(scope, "steps", name, outputs);
            }
        }
        _ => {}
    }
}

fn add(scope: &mut Scope, place: &str, name: &str, outputs: &Outputs) {
    if scope.at(&[place, name]).is_none() {
        scope.set_path(&[place, name], json!({}));
    }
    for (key, value) in outputs {
        scope.set_path(&[place, name, key], value.clone());
    }
}

/// The scope as one step sees it: the volumes of an inlined action stand for this action's.
pub(super) fn as_seen_by(scope: &Scope, volumes: &std::collections::BTreeMap<String, String>) -> Scope {
    let mut seen = scope.clone();
    for (inside, outside) in volumes {
        if let Some(volume) = scope.at(&["volumes", outside]) {
            let volume = volume.clone();
            seen.set_path(&["volumes", inside], volume);
        }
    }
    seen
}
