//! The story: a database, a writer, a backup, a restore, a verification.

use std::{sync::Arc, time::Duration};

use standstill_core::{
    Error, Result,
    point::{CheckOutcome, RunId},
    runner::{NoObserver, RunReport},
    runtime::Runtime,
    units::show_duration,
};
use standstill_local::StateDir;
use standstill_repository::{Location, Repository};
use tokio_util::sync::CancellationToken;

use super::{
    application::{Application, INITIAL},
    chart::Span,
    clock::Clock,
    facts::Facts,
    narrator::{Narrator, Watcher},
    place::Place,
    postgresql::Postgresql,
    sqlite::Sqlite,
    writer::Running,
};
use crate::{
    arguments::DemoDatabase,
    blueprint,
    commands::{Asked, Wanted, back_up, plan_backup, run_on_point},
    repository::point,
    wiring,
};

/// The name of the application in the repository.
const NAME: &str = "orders";
/// How long the writer is watched by itself, before the backup and after it.
const UNDISTURBED: Duration = Duration::from_millis(1200);
/// How long the demo's own processes may outlive it.
const LEASE: Duration = Duration::from_secs(10);

/// What the story is told with.
pub struct Story<'a> {
    pub database: DemoDatabase,
    pub place: &'a Place,
    pub clock: Clock,
    pub narrator: &'a Narrator,
    pub cancel: &'a CancellationToken,
}

impl Story<'_> {
    /// Tells it. Whatever it started is ended when it returns; the facts are complete as far as it came.
    pub async fn tell(&self, facts: &mut Facts) -> Result<()> {
        let state = StateDir::at(&self.place.state())?;
        let runtime = wiring::host(&state, None, Arc::new(NoObserver), LEASE)?.runtime;
        let application = self.application(Arc::clone(&runtime)).await?;
        facts.database = application.title();
        facts.next_command = application.next_command();
        self.narrator.say(&format!("{} with {INITIAL} orders is there", application.title()));
        let told = self.with_writer(facts, &state, runtime.as_ref(), application.as_ref()).await;
        let stopped = application.stop().await;
        told.and(stopped)?;
        facts.judge()
    }

    async fn application(&self, runtime: Arc<dyn Runtime>) -> Result<Box<dyn Application>> {
        Ok(match self.database {
            DemoDatabase::Sqlite => Box::new(Sqlite::make(self.place.make("data")?)?),
            DemoDatabase::Postgresql => Box::new(Postgresql::make(self.place, runtime, self.cancel).await?),
        })
    }

    async fn with_writer(
        &self,
        facts: &mut Facts,
        state: &StateDir,
        runtime: &dyn Runtime,
        application: &dyn Application,
    ) -> Result<()> {
        let mut writer = Running::start(runtime, self.place.record(), &application.writer()).await?;
        self.narrator.say("a writer inserts orders as fast as it can");
        let saved = self.save_and_prove(facts, state, application).await;
        let orders = writer.stop(&self.clock).await;
        let cut = saved?;
        facts.orders = orders?;
        self.narrator.say(&format!("the writer is stopped after {} orders", facts.orders.len()));
        self.narrator
            .say("the restored copy is opened, and its rows are compared with what was acknowledged");
        let found = application.orders_in(&self.place.restored()).await?;
        facts.measure(INITIAL, cut, &found, &self.clock);
        Ok(())
    }

    /// Backs up, restores and verifies beside the writer. Returns when the cut was.
    async fn save_and_prove(
        &self,
        facts: &mut Facts,
        state: &StateDir,
        application: &dyn Application,
    ) -> Result<Duration> {
        self.pause().await?;
        let location = Location::Directory(self.place.repository());
        let repository = Repository::init(&location, &self.place.password()?).await?;
        self.narrator.say("a new repository, encrypted");
        self.backup(facts, state, application, &repository, &location).await?;
        self.pause().await?;
        let listed = point(&repository, "latest", Some(NAME)).await?;
        let cut = self.clock.since_start(listed.point.cut_at);

        let wanted =
            |action, given| Wanted { action, listed: listed.clone(), given, blueprint: None, member: None };
        self.narrator.say("restore, into another directory");
        let elsewhere = application.elsewhere(&self.place.restored());
        let (restored, span) = self.run(state, wanted("restore", elsewhere), &repository).await?;
        facts.stretch("restore", span);
        succeeded(&restored, "restore")?;
        facts.restore_milliseconds = Some(standstill_core::units::milliseconds(span.length()));

        self.narrator.say("verify, in a scratch place");
        let (verified, span) =
            self.run(state, wanted("verify", super::application::Parameters::new()), &repository).await?;
        facts.stretch("verify", span);
        facts.verify.clone_from(&verified.verify);
        succeeded(&verified, "verify")?;
        Ok(cut)
    }

    async fn backup(
        &self,
        facts: &mut Facts,
        state: &StateDir,
        application: &dyn Application,
        repository: &Repository,
        location: &Location,
    ) -> Result<()> {
        let text = blueprint::find(application.blueprint())?;
        let asked = Asked { text, given: application.parameters(), name: Some(NAME.to_owned()) };
        let plan = plan_backup(&asked, location)?;
        let watcher = Arc::new(Watcher::of(self.narrator, Some(&plan)));
        self.narrator.say(&format!("backup, by the blueprint `{}`", application.blueprint()));
        let from = self.clock.elapsed();
        let observer = Arc::clone(&watcher);
        let run = back_up(state, plan, repository.clone(), RunId::generate(), self.cancel.clone(), observer);
        let report = run.await?;
        facts.stretch("backup", Span::new(from, self.clock.elapsed()));
        facts.capture = watcher.capture();
        let phases = report.backup.phases.iter().map(|phase| {
            let from = self.clock.since_start(phase.started_at);
            (phase.name.clone(), Span::lasting(from, Duration::from_millis(phase.milliseconds)))
        });
        facts.phases = phases.collect();
        facts.backup = Some(report.backup.clone());
        succeeded(&report, "backup")
    }

    async fn run(
        &self,
        state: &StateDir,
        wanted: Wanted,
        repository: &Repository,
    ) -> Result<(RunReport, Span)> {
        let watcher = Arc::new(Watcher::of(self.narrator, None));
        let from = self.clock.elapsed();
        let run =
            run_on_point(state, wanted, repository.clone(), RunId::generate(), self.cancel.clone(), watcher);
        let report = run.await?;
        Ok((report, Span::new(from, self.clock.elapsed())))
    }

    /// Leaves the writer alone for a while, so that there is something to compare with.
    async fn pause(&self) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(UNDISTURBED) => Ok(()),
            () = self.cancel.cancelled() => {
                Err(Error::cancelled(format!("the demo was ended after {}", show_duration(self.clock.elapsed()))))
            }
        }
    }
}

/// The failure of a run as an error of its kind.
fn succeeded(report: &RunReport, action: &str) -> Result<()> {
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    let Some(kind) = report.failure else { return Ok(()) };
    if let Some(error) = &report.backup.error {
        let failure = Error::new(kind, format!("{action} failed at {}: {}", error.step, error.message));
        return Err(match &error.remedy {
            Some(remedy) => failure.remedy(remedy.clone()),
            None => failure,
        });
    }
    let checks = report.verify.iter().flat_map(|verify| &verify.checks);
    let failed = checks.filter(|check| check.outcome == CheckOutcome::Failed);
    let failed: Vec<String> = failed.map(|check| format!("{}: {}", check.name, check.detail)).collect();
    Err(Error::new(kind, format!("{action} failed: {}", failed.join("; "))))
}
