//! The seams of a run in a cluster, wired: in its pod, and from this machine.

use std::{path::PathBuf, sync::Arc, time::Duration};

use standstill_core::{
    Result,
    repository::Repository,
    runner::{Host, Observer},
    runtime::Runtime,
    secret::SecretSource,
};
use standstill_kubernetes::{
    Cluster, ClusterJournals, ClusterLocks, Credentials, KubernetesRuntime, MOVER_START, MoverSettings,
    Outside, RuntimeSettings, SNAPSHOT_DEADLINE, SnapshotSettings, launch::Orders, machine,
};
use standstill_local::StateDir;

use crate::wiring;

/// How long the end of a run, or of a recovery, waits until what it let go is gone from the cluster.
pub(super) const SETTLE: Duration = Duration::from_secs(8);

/// What a run in a cluster works with.
pub struct Seams {
    /// For the runner.
    pub host: Host,
    runtime: Arc<KubernetesRuntime>,
    journals: ClusterJournals,
    locks: ClusterLocks,
}

/// What a run works with besides the cluster.
pub struct Beside {
    /// The repository; recovering needs none.
    pub repository: Option<Arc<dyn Repository>>,
    /// Where secret values come from.
    pub secrets: Arc<dyn SecretSource>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
}

impl Seams {
    /// Those of a run in its pod. `helpers` is the socket of the container for helpers, where there is one.
    pub fn in_pod(
        cluster: &Cluster,
        orders: &Orders,
        lease: Duration,
        helpers: Option<PathBuf>,
        beside: Beside,
    ) -> Result<Self> {
        let inner = wiring::runtime(&StateDir::of_user()?, lease, helpers)?;
        Self::wired(cluster, inner, settings(orders), beside)
    }

    /// Those of a run from this machine, outside of the cluster.
    pub fn from_here(cluster: &Cluster, orders: &Orders, lease: Duration, beside: Beside) -> Result<Self> {
        let inner = Arc::new(Outside::new(wiring::runtime(&StateDir::of_user()?, lease, None)?));
        let mut settings = RuntimeSettings { pod: None, outside: Some(machine()), ..settings(orders) };
        // Nobody can look from here whether he could.
        settings.snapshots.read_as = None;
        Self::wired(cluster, inner, settings, beside)
    }

    fn wired(
        cluster: &Cluster,
        inner: Arc<dyn Runtime>,
        settings: RuntimeSettings,
        beside: Beside,
    ) -> Result<Self> {
        let (journals, locks) = (ClusterJournals::new(cluster), ClusterLocks::new(cluster));
        let runtime = Arc::new(KubernetesRuntime::new(inner, cluster.clone(), settings));
        let host = Host {
            hooks: wiring::hooks(),
            runtime: runtime.clone(),
            repository: beside.repository,
            journals: wiring::with_failpoints(Arc::new(journals.clone()))?,
            locks: Arc::new(locks.clone()),
            secrets: beside.secrets,
            observer: beside.observer,
        };
        Ok(Self { host, runtime, journals, locks })
    }

    /// Checks that commands can be run and watched in the containers of the members that need it.
    pub async fn check_containers(&self, plan: &standstill_core::plan::RunPlan) -> Result<()> {
        for member in plan.iter().filter(|member| member.enters_target()) {
            self.runtime.check_container(member.request.member.as_deref()).await?;
        }
        Ok(())
    }

    /// Waits until what was let go is gone from the cluster.
    pub async fn settle(&self) {
        tokio::join!(self.journals.settle(SETTLE), self.locks.settle(SETTLE), self.runtime.settle());
    }
}

fn settings(orders: &Orders) -> RuntimeSettings {
    let place = &orders.place;
    let name = orders.owner.as_ref().and_then(|owner| owner.get("name")).and_then(|name| name.as_str());
    let credentials = Credentials {
        secret: name.unwrap_or_default().to_owned(),
        password: "password".to_owned(),
        environment: orders.environment.clone(),
    };
    RuntimeSettings {
        target: Some(place.target.clone()),
        pod: std::env::var("STANDSTILL_POD_UID").ok(),
        outside: None,
        snapshots: SnapshotSettings {
            class: place.snapshot_class.clone(),
            group_class: place.group_snapshot_class.clone(),
            deadline: place.snapshot_deadline.map_or(SNAPSHOT_DEADLINE, Duration::from_millis),
            read_as: Some(place.data_owner),
            security: place.security,
            owner: orders.owner.clone(),
        },
        mover: Some(MoverSettings {
            image: orders.image.clone(),
            pull_policy: None,
            pull_secrets: place.target.pull_secrets.clone(),
            tolerations: place.target.tolerations.clone(),
            repository: orders.repository.clone(),
            credentials,
            data_owner: Some(place.data_owner),
            security: place.security,
            owner: orders.owner.clone(),
            start: orders.start_deadline.map_or(MOVER_START, Duration::from_millis),
        }),
        run: Some(orders.run.clone()),
        secrets: orders.secrets.clone(),
        member: orders.request.member.clone(),
        members: orders.members.clone(),
    }
}
