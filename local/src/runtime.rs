//! The runtime of this machine.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Error, Result,
    filter::Filter,
    hook::{Acquired, Endpoint, Undone},
    point::RunId,
    repository::Restored,
    runtime::{
        Command, Consumer, KeeperSpec, Output, Producer, RunAs, Runtime, ScratchIntent, Service, ServiceSpec,
        Session, Snapshotter, Volume,
    },
    secret::Secret,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Expectation, destination,
    helpers::RemoteSession,
    keeper::{self, record::KeeperRecord},
    process::{
        exec,
        launcher::{Launcher, blocking, find_program},
        service::LocalService,
        session::LocalSession,
        stream::{LocalConsumer, LocalProducer},
    },
    record::{Record, file_name},
    scratch,
    snapshot::{self, LocalSnapshotter, copy::copy_into},
    state::StateDir,
};

/// Processes, files and snapshots of this machine.
pub struct LocalRuntime {
    launcher: Arc<Launcher>,
    state: StateDir,
    expectation: Expectation,
    helpers: Option<PathBuf>,
}

impl LocalRuntime {
    /// A runtime whose children outlive this process, or its last renewal, by at most `lease`.
    ///
    /// `agent` is the `standstill` program itself, and `agent_prefix` the arguments that lead to the subcommands of
    /// its `agent` command (`["agent"]` by default). `expectation` evaluates the expressions of `confirm`.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when there is no such program.
    pub fn new(
        agent: &Path,
        agent_prefix: Option<Vec<String>>,
        state: &StateDir,
        lease: Duration,
        expectation: Expectation,
    ) -> Result<Self> {
        let program = fs::canonicalize(agent).map_err(|cause| {
            Error::input(format!("the program {} cannot be found", agent.display()))
                .remedy("Give the path of the standstill program.")
                .because(cause)
        })?;
        let mut agent = vec![text(program)?];
        agent.extend(agent_prefix.unwrap_or_else(|| vec!["agent".to_owned()]));
        let launcher = Launcher::new(agent, lease);
        Ok(Self { launcher, state: state.clone(), expectation, helpers: None })
    }

    /// With helpers that must outlive the runner in another container, whose server listens at a socket.
    #[must_use]
    pub fn with_helpers(mut self, socket: PathBuf) -> Self {
        self.helpers = Some(socket);
        self
    }
}

#[async_trait]
impl Runtime for LocalRuntime {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn volume(&self, name: &str, path: &Path) -> Result<Volume> {
        let found = fs::canonicalize(path).and_then(|path| Ok((fs::metadata(&path)?.file_type(), path)));
        match found {
            Ok((kind, path)) if kind.is_dir() || kind.is_file() => Ok(Volume { name: name.to_owned(), path }),
            Ok((_, path)) => Err(Error::input(format!(
                "the volume {name} at {} is no directory and no file",
                path.display()
            ))
            .remedy("Give the path of the directory that holds the data.")),
            Err(cause) => Err(Error::input(format!(
                "the volume {name} at {} cannot be found",
                path.display()
            ))
            .remedy(
                "Give the path of the directory that holds the data, and check that this user may reach it.",
            )
            .because(cause)),
        }
    }

    async fn dial(&self, host: &str, port: u16) -> Result<(String, u16)> {
        Ok((host.to_owned(), port))
    }

    async fn program(&self, name: &str, search: &[PathBuf]) -> Result<PathBuf> {
        find_program(name, search)
    }

    async fn exec(&self, command: &Command, timeout: Duration, cancel: &CancellationToken) -> Result<Output> {
        exec::exec(&self.launcher, &self.launcher.prepare(command)?, timeout, cancel).await
    }

    fn places(&self) -> Vec<PathBuf> {
        let program = self.launcher.agent().first().map(PathBuf::from);
        [self.state.path().to_owned(), std::env::temp_dir()].into_iter().chain(program).collect()
    }

    async fn session(&self, command: &Command) -> Result<Box<dyn Session>> {
        let agent = self.launcher.agent();
        if let (Some(socket), Some(arguments)) = (&self.helpers, command.argv.strip_prefix(agent))
            && !command.may_outlive.is_zero()
        {
            let (socket, arguments) = (socket.clone(), arguments.to_vec());
            return Ok(Box::new(blocking(move || RemoteSession::start(&socket, &arguments)).await?));
        }
        Ok(Box::new(LocalSession::start(&self.launcher, &self.launcher.prepare(command)?).await?))
    }

    fn agent(&self, arguments: &[&str]) -> Command {
        Command::new(self.launcher.agent().iter().map(String::as_str).chain(arguments.iter().copied()))
    }

    async fn producer(&self, command: &Command, cancel: &CancellationToken) -> Result<Box<dyn Producer>> {
        Ok(Box::new(LocalProducer::start(&self.launcher, &self.launcher.prepare(command)?, cancel).await?))
    }

    async fn consumer(&self, command: &Command, cancel: &CancellationToken) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(LocalConsumer::start(&self.launcher, &self.launcher.prepare(command)?, cancel).await?))
    }

    async fn endpoint(
        &self,
        name: &str,
        scratch: &Path,
        run_as: &RunAs,
        port: Option<u16>,
    ) -> Result<Endpoint> {
        scratch::endpoint(name, scratch, run_as, port)
    }

    async fn service(&self, spec: &ServiceSpec) -> Result<Arc<dyn Service>> {
        Ok(Arc::new(LocalService::start(&self.launcher, spec).await?))
    }

    fn keeper_record(&self, spec: &KeeperSpec, run: &RunId) -> Result<Value> {
        let directory = self.state.run(run).join("keepers").join(file_name(&spec.name));
        Record::Keeper(KeeperRecord::new(spec, run, directory)?).to_value()
    }

    async fn keep(&self, spec: &KeeperSpec, record: &Value) -> Result<Acquired> {
        let Record::Keeper(record) = Record::from_value(record)? else {
            return Err(Error::failed(format!("{} was not intended as a hold of a keeper", spec.name)));
        };
        keeper::hold::keep(&self.launcher, self.helpers.as_deref(), spec, record, &self.expectation).await
    }

    fn snapshotter(&self) -> Arc<dyn Snapshotter> {
        Arc::new(LocalSnapshotter)
    }

    async fn copy_tree(
        &self,
        from: &Path,
        to: &Path,
        exclude: &[String],
        cancel: &CancellationToken,
    ) -> Result<Restored> {
        let (from, to, left_out, cancel) =
            (from.to_owned(), to.to_owned(), Filter::new(exclude)?, cancel.clone());
        blocking(move || copy_into(&from, &to, &left_out, &cancel)).await
    }

    async fn scratch_intent(&self, run: &RunId) -> Result<ScratchIntent> {
        scratch::run_intent(run)
    }

    async fn scratch_volume_intent(
        &self,
        name: &str,
        like: Option<&Path>,
        run: &RunId,
    ) -> Result<ScratchIntent> {
        let (name, like, run) = (name.to_owned(), like.map(Path::to_owned), run.clone());
        blocking(move || scratch::volume_intent(&name, like.as_deref(), &run)).await
    }

    async fn destination_intent(&self, path: &Path, run: &RunId) -> Result<ScratchIntent> {
        destination::intent(&self.state, path, run)
    }

    async fn make_scratch(&self, intent: &ScratchIntent, like: Option<&Path>) -> Result<()> {
        scratch::make(intent, like)?;
        if like.is_none() && scratch::is_of_run(&intent.path) {
            self.launcher.set_directory(&intent.path);
        }
        Ok(())
    }

    async fn dispose(&self, record: &Value, secrets: &BTreeMap<String, Secret>) -> Result<Undone> {
        match Record::from_value(record)? {
            Record::Nothing => Ok(Undone::AlreadyGone),
            Record::BtrfsSnapshot { run, path, .. } => snapshot::dispose_snapshot(&run, &path).await,
            Record::Copy { run, path } | Record::Scratch { run, path } => {
                blocking(move || scratch::remove(&run, &path)).await
            }
            Record::Destination(destination) => blocking(move || destination.dispose()).await,
            Record::Keeper(record) => keeper::dispose::dispose(&self.launcher, &record, secrets).await,
        }
    }

    async fn release_kept(&self, record: &Value, secrets: &BTreeMap<String, Secret>) -> Result<Undone> {
        match Record::from_value(record)? {
            Record::Keeper(record) => keeper::dispose::release_of(&self.launcher, &record, secrets).await,
            _ => self.dispose(record, secrets).await,
        }
    }
}

fn text(path: PathBuf) -> Result<String> {
    path.into_os_string().into_string().map_err(|path| {
        Error::input(format!("the path {} is not UTF-8", path.display()))
            .remedy("Install standstill in a directory whose name is.")
    })
}
