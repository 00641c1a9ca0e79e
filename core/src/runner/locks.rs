//! Locks on the databases that a member works on: one run for each of them at a time.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    scope::scope_of,
    target::{Found, render_arguments},
    world::World,
};
use crate::{
    Error, Result,
    hook::{HookContext, Probe},
    language::Phase,
    lock::LockGuard,
};

impl Found {
    /// Notes that a member works on a database, which no other member may.
    fn alone(&mut self, world: &World, identity: &str) -> Result<()> {
        let member = world.plan.request.member.clone();
        let Some(other) = self.identities.insert(identity.to_owned(), member) else { return Ok(()) };
        Err(Error::input(format!(
            "the member {} works on the same database ({identity})",
            other.as_deref().unwrap_or("before it")
        ))
        .remedy("Leave one of the two out: one backup of a database is of all of it."))
    }
}

/// What the lock is on where no hook knows the database: the volumes, or the application's name.
pub(super) fn unprobed(world: &World) -> String {
    let target = world.target();
    let paths: Vec<String> =
        target.volumes.values().map(|volume| volume.path.display().to_string()).collect();
    if paths.is_empty() {
        format!("application:{}", world.plan.qualified(&world.plan.request.application))
    } else {
        format!("volumes:{}", paths.join(":"))
    }
}

/// Probes every database that the steps reach, and locks each by its identity. The first one is the target.
pub(super) async fn lock(
    world: &Arc<World>,
    found: &mut Found,
) -> Result<(Option<Probe>, Vec<Box<dyn LockGuard>>)> {
    let mut first = None;
    let mut locks = Vec::new();
    let mut seen = BTreeSet::new();
    let scope = Arc::new(scope_of(world));
    for step in world.plan.steps.iter().filter(|step| step.phase != Phase::Recover) {
        let Some(hook_step) = step.step.hook.as_ref().filter(|hook| hook.service.is_none()) else { continue };
        let Some((name, _)) = hook_step.verb.split_once('/') else { continue };
        if !seen.insert((name.to_owned(), hook_step.connection.clone(), hook_step.volume.clone())) {
            continue;
        }
        let hook = world.hook(name)?;
        let context = super::world::StepContext {
            world: Arc::clone(world),
            step: Arc::new(step.clone()),
            scope: Arc::clone(&scope),
            cancel: tokio_util::sync::CancellationToken::new(),
        };
        let context: HookContext =
            context.hook_context(name, hook_step.connection.as_deref(), hook_step.volume.as_deref(), None)?;
        // What cannot be rendered yet does not decide which database it is.
        let arguments = render_arguments(&hook_step.with, &world.plan.blueprint, &scope).unwrap_or_default();
        let probe = hook.probe_for(&context, &arguments).await?;
        if seen.insert((probe.identity.clone(), None, None)) {
            found.alone(world, &probe.identity)?;
            locks.push(world.host.locks.acquire(&probe.identity, &world.run).await?);
            locks.extend(hook.server_lock(&context).await?);
        }
        first.get_or_insert(probe);
    }
    if first.is_none() {
        let identity = unprobed(world);
        found.alone(world, &identity)?;
        locks.push(world.host.locks.acquire(&identity, &world.run).await?);
    }
    Ok((first, locks))
}
