use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use standstill_core::{
    Error, Result,
    hook::{Acquired, Endpoint, Undone},
    point::RunId,
    runtime::{
        Command, Consumer, KeeperSpec, Output, Producer, RunAs, Runtime, ScratchIntent, Service, ServiceSpec,
        Session, Snapshotter, Volume,
    },
    secret::Secret,
};
use tokio_util::sync::CancellationToken;

/// A runtime that dials addresses as they are: all that this hook asks of one.
pub struct DialOnly;

fn none<T>() -> Result<T> {
    Err(Error::failed("this runtime only dials"))
}

#[async_trait]
impl Runtime for DialOnly {
    fn name(&self) -> &'static str {
        "dial-only"
    }
    async fn volume(&self, name: &str, path: &Path) -> Result<Volume> {
        Ok(Volume { name: name.into(), path: path.into() })
    }
    async fn dial(&self, host: &str, port: u16) -> Result<(String, u16)> {
        Ok((host.into(), port))
    }
    async fn program(&self, _: &str, _: &[PathBuf]) -> Result<PathBuf> {
        none()
    }
    async fn exec(&self, _: &Command, _: Duration, _: &CancellationToken) -> Result<Output> {
        none()
    }
    async fn session(&self, _: &Command) -> Result<Box<dyn Session>> {
        none()
    }
    fn agent(&self, arguments: &[&str]) -> Command {
        Command::new(arguments.iter().copied())
    }
    async fn producer(&self, _: &Command, _: &CancellationToken) -> Result<Box<dyn Producer>> {
        none()
    }
    async fn consumer(&self, _: &Command, _: &CancellationToken) -> Result<Box<dyn Consumer>> {
        none()
    }
    async fn endpoint(&self, _: &str, _: &Path, _: &RunAs, _: Option<u16>) -> Result<Endpoint> {
        none()
    }
    async fn service(&self, _: &ServiceSpec) -> Result<Arc<dyn Service>> {
        none()
    }
    fn keeper_record(&self, _: &KeeperSpec, _: &RunId) -> Result<Value> {
        none()
    }
    async fn keep(&self, _: &KeeperSpec, _: &Value) -> Result<Acquired> {
        none()
    }
    fn snapshotter(&self) -> Arc<dyn Snapshotter> {
        unreachable!("this runtime only dials")
    }
    async fn scratch_intent(&self, _: &RunId) -> Result<ScratchIntent> {
        none()
    }
    async fn scratch_volume_intent(&self, _: &str, _: Option<&Path>, _: &RunId) -> Result<ScratchIntent> {
        none()
    }
    async fn destination_intent(&self, _: &Path, _: &RunId) -> Result<ScratchIntent> {
        none()
    }
    async fn make_scratch(&self, _: &ScratchIntent, _: Option<&Path>) -> Result<()> {
        none()
    }
    async fn dispose(&self, _: &Value, _: &BTreeMap<String, Secret>) -> Result<Undone> {
        none()
    }
}
