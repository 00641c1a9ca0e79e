//! What a run works with: the seams, the plan, and what is alive.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    holds::{HoldThread, LiveHold},
    ledger::Ledger,
    meter::Meter,
    target::Target,
};
use crate::{
    Error, Result,
    hook::{Endpoint, Hook, HookContext, Hooks},
    journal::{Event, JournalStore},
    language::Scope,
    lock::TargetLock,
    plan::{Plan, PlannedStep},
    point::RunId,
    repository::{NoProgress, Progress, Repository},
    runtime::{Captured, RunAs, Runtime, Service},
    secret::SecretSource,
};

/// Told what happens, for progress and logs. It must return at once.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, _event: &Event) {}
    /// A transfer of an artifact begins.
    fn transfer(&self, _artifact: &str) -> Arc<dyn Progress> {
        Arc::new(NoProgress)
    }
}

/// Nobody looks.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// The seams, wired.
#[derive(Clone)]
pub struct Host {
    /// The databases that are known.
    pub hooks: Arc<dyn Hooks>,
    /// Where steps run.
    pub runtime: Arc<dyn Runtime>,
    /// Where recovery points live; an action that stores or restores nothing needs none.
    pub repository: Option<Arc<dyn Repository>>,
    /// Where journals are kept.
    pub journals: Arc<dyn JournalStore>,
    /// Locks on targets.
    pub locks: Arc<dyn TargetLock>,
    /// Where secret values come from.
    pub secrets: Arc<dyn SecretSource>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
}

/// A service that runs, and who its process runs as.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) service: Arc<dyn Service>,
    pub(super) endpoint: Endpoint,
    pub(super) run_as: RunAs,
}

/// A captured volume, and whether it is in the repository already.
#[derive(Clone)]
pub(super) struct Capture {
    pub(super) captured: Captured,
    pub(super) stored: bool,
    pub(super) at: jiff::Timestamp,
}

/// Everything of one member of a run: its own plan and target, and what it shares with the other members.
pub(super) struct World {
    pub(super) host: Host,
    pub(super) plan: Arc<Plan>,
    pub(super) run: RunId,
    pub(super) ledger: Arc<Ledger>,
    pub(super) thread: Arc<HoldThread>,
    pub(super) meter: Arc<Mutex<Meter>>,
    pub(super) holds: Arc<Mutex<BTreeMap<String, Arc<LiveHold>>>>,
    pub(super) target: Mutex<Arc<Target>>,
    pub(super) services: Mutex<BTreeMap<String, Running>>,
    pub(super) captures: Mutex<BTreeMap<String, Capture>>,
    /// Whether a dead run before this one is being recovered, which is not broken off.
    pub(super) recovering: Arc<watch::Sender<bool>>,
}

/// A poisoned lock is still the best that is known: a panic elsewhere must not keep a hold on.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// The target, as far as it was found.
    pub(super) fn target(&self) -> Arc<Target> {
        Arc::clone(&locked(&self.target))
    }

    /// The repository.
    pub(super) fn repository(&self) -> Result<Arc<dyn Repository>> {
        self.host.repository.clone().ok_or_else(|| {
            Error::input("the action stores or restores artifacts, and no repository is given")
                .remedy("Add `--repository PATH`.")
        })
    }

    /// The run's own directory.
    pub(super) fn scratch(&self) -> Result<PathBuf> {
        self.target().scratch.clone().ok_or_else(|| Error::failed("the run has no scratch directory yet"))
    }

    /// The hook of that name.
    pub(super) fn hook(&self, name: &str) -> Result<Arc<dyn Hook>> {
        self.host.hooks.get(name).ok_or_else(|| {
            Error::input(format!("there is no hook `{name}`"))
                .remedy(format!("The hooks are: {}.", self.host.hooks.names().join(", ")))
        })
    }
}

/// One step, with what it needs: owned, so that it can go on by itself while holds are let go.
#[derive(Clone)]
pub(super) struct StepContext {
    pub(super) world: Arc<World>,
    pub(super) step: Arc<PlannedStep>,
    pub(super) scope: Arc<Scope>,
    pub(super) cancel: CancellationToken,
}

impl StepContext {
    /// The volume of this plan that a name in the step stands for.
    pub(super) fn volume_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.step.volumes.get(name).map_or(name, String::as_str)
    }

    /// The path of a volume that the step names.
    pub(super) fn volume_path(&self, name: &str) -> Result<PathBuf> {
        let target = self.world.target();
        let name = self.volume_name(name);
        target.volumes.get(name).map(|volume| volume.path.clone()).ok_or_else(|| {
            Error::input(format!("the volume `{name}` is not there"))
                .remedy("Check its path; `standstill lint` finds volumes that nobody declared.")
        })
    }

    /// A service that the step names (`services.NAME` or `NAME`).
    pub(super) fn service(&self, name: &str) -> Result<Running> {
        let name = name.strip_prefix("services.").unwrap_or(name);
        locked(&self.world.services)
            .get(name)
            .cloned()
            .ok_or_else(|| Error::failed(format!("the service `{name}` is not running")))
    }

    /// How long a hold may outlive the runner.
    pub(super) fn lease(&self) -> Duration {
        self.world.plan.limits.lease
    }

    /// What a hook works with, for the connection, volume and service that a step names.
    pub(super) fn hook_context(
        &self,
        hook: &str,
        connection: Option<&str>,
        volume: Option<&str>,
        service: Option<&str>,
    ) -> Result<HookContext> {
        let target = self.world.target();
        let service = service.map(|name| self.service(name)).transpose()?;
        let connection = match connection {
            Some(name) => Some(target.connection(name)?.clone()),
            None if service.is_some() => target.without_address(hook),
            None => None,
        };
        Ok(HookContext {
            run: self.world.run.clone(),
            connection,
            service: service.map(|running| running.endpoint),
            volume: volume.map(|name| self.volume_path(name)).transpose()?,
            volumes: target
                .volumes
                .iter()
                .map(|(name, volume)| (name.clone(), volume.path.clone()))
                .collect(),
            runtime: Arc::clone(&self.world.host.runtime),
            lease: self.lease(),
            scratch: self.world.scratch()?,
            point: self.world.plan.point.clone(),
            cancel: self.cancel.clone(),
        })
    }
}
