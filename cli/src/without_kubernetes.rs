//! In builds without the feature `kubernetes`: says so.

use std::{process::ExitCode, sync::Arc};

use standstill_core::{
    Error, Result,
    journal::JournalStore,
    plan::{RunPlan, ShownPlan},
    point::{KeptSnapshot, RunId},
    runner::{Host, Means, Recovered, RunReport},
    secret::Secret,
};
use standstill_repository::Location;
use tokio_util::sync::CancellationToken;

use crate::arguments::{Global, Launch, Place, Values};

/// A run that is asked for.
#[expect(dead_code, reason = "the same as where it is read")]
pub struct Asked<'a> {
    pub global: &'a Global,
    pub launch: &'a Launch,
    pub values: &'a Values,
    pub plan: RunPlan,
    pub location: Location,
    pub password: Secret,
    pub id: RunId,
    pub cancel: CancellationToken,
}

fn absent() -> Error {
    Error::input("this program was built without Kubernetes")
        .remedy("Build it with `--features kubernetes,cloud`, or use a released one.")
}

#[expect(clippy::unused_async, reason = "the same as where it waits")]
pub async fn run(_: Asked<'_>) -> Result<Option<RunReport>> {
    Err(absent())
}

#[expect(clippy::unused_async, reason = "the same as where it waits")]
pub async fn run_from_here(_: Asked<'_>) -> Result<RunReport> {
    Err(absent())
}

#[expect(clippy::unused_async, reason = "the same as where it waits")]
pub async fn journals(_: &Place) -> Result<Arc<dyn JournalStore>> {
    Err(absent())
}

#[expect(clippy::unused_async, reason = "the same as where it waits")]
pub async fn recover(_: &Global, _: Host, _: &Place, _: Option<&RunId>, _: Means) -> Result<Vec<Recovered>> {
    Err(absent())
}

#[expect(clippy::unused_async, reason = "the same as where it waits")]
pub async fn find_kept(_: &Place, _: &[KeptSnapshot]) -> Result<()> {
    Err(absent())
}

#[expect(clippy::unused_async, reason = "the same as where it waits")]
pub async fn remove_kept(_: &Place, _: &[KeptSnapshot]) -> Result<()> {
    Err(absent())
}

pub fn plan(_: &Global, _: &RunPlan, _: Option<&Values>, _: fn(&ShownPlan) -> String) -> Result<u8> {
    Err(absent())
}

pub fn runner_main(_: &[String]) -> ExitCode {
    ExitCode::from(crate::output::error(&absent()))
}

pub fn install_main(_: &[String]) -> ExitCode {
    ExitCode::from(crate::output::error(&absent()))
}
