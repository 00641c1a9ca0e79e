//! A server that lives until the action ends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use standstill_core::{
    Error, Result,
    runtime::{Exit, Service, ServiceSpec},
};

use super::{
    launcher::{Launcher, Pipe, no_streams, null},
    listener,
    tail::Tail,
};
use crate::guard::{client::Guarded, protocol};

/// A server under a guard.
pub(crate) struct LocalService {
    name: String,
    guarded: Guarded,
    log: Tail,
    port: u16,
    stop: u8,
    stop_timeout: Duration,
    /// Serialises stops, so that two of them do not send two signals.
    stopping: tokio::sync::Mutex<()>,
    asked: Mutex<bool>,
}

impl LocalService {
    /// Starts it.
    pub(crate) async fn start(launcher: &Arc<Launcher>, spec: &ServiceSpec) -> Result<Self> {
        let stop = stop_order(&spec.stop_signal)?;
        let prepared = launcher.prepare(&spec.command)?;
        let program = prepared.program();
        let pipes = || {
            let log = Pipe::from_child()?;
            Ok((null()?, log.theirs.try_clone()?, log))
        };
        let (input, error, log) = pipes().map_err(no_streams(program))?;
        let guarded = launcher.start(&prepared, [input, log.theirs, error], Duration::ZERO).await?;
        Ok(Self {
            name: spec.name.clone(),
            log: Tail::follow(log.ours).map_err(no_streams(program))?,
            guarded,
            port: spec.endpoint.port,
            stop,
            stop_timeout: spec.stop_timeout,
            stopping: tokio::sync::Mutex::new(()),
            asked: Mutex::new(false),
        })
    }

    fn first_time(&self) -> bool {
        !std::mem::replace(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner), true)
    }
}

#[async_trait]
impl Service for LocalService {
    fn ended(&self) -> Option<(Exit, String)> {
        self.guarded.ended().map(|ended| (ended.exit, self.log.text_at_end()))
    }

    fn log(&self) -> String {
        self.log.text()
    }

    fn is_answered_by_another(&self) -> bool {
        listener::is_anothers(self.port, self.guarded.guard())
    }

    async fn stop(&self) -> Result<Exit> {
        let _alone = self.stopping.lock().await;
        if let Some(ended) = self.guarded.ended() {
            return Ok(ended.exit);
        }
        if self.first_time() {
            self.guarded.ask(self.stop);
        }
        if let Some(ended) = self.guarded.wait_at_most(self.stop_timeout).await {
            return Ok(ended.exit);
        }
        tracing::warn!(service = self.name, "a service did not end when asked to, and is killed");
        self.guarded.kill();
        match self.guarded.wait_at_most(Duration::from_secs(15)).await {
            Some(ended) => Ok(ended.exit),
            None => Err(Error::failed(format!("the service {} was killed but is not gone", self.name))
                .remedy(format!("Find out what process {} waits for.", self.guarded.child().pid))),
        }
    }
}

fn stop_order(signal: &str) -> Result<u8> {
    match signal.strip_prefix("SIG").unwrap_or(signal) {
        "HUP" => Ok(protocol::HANGUP),
        "INT" => Ok(protocol::INTERRUPT),
        "QUIT" => Ok(protocol::QUIT),
        "TERM" => Ok(protocol::TERMINATE),
        _ => Err(Error::input(format!("`{signal}` is not a signal that stops a service"))
            .remedy("Use INT, TERM, QUIT or HUP.")),
    }
}
