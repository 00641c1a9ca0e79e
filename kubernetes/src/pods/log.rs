//! The log of a container, followed line by line.

use futures_util::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;

use crate::client::Objects;

/// A log that is followed. Where it broke off it can only be read again from its beginning; no line is given twice.
pub(crate) struct Log<'a> {
    pods: &'a Objects<Pod>,
    pod: &'a str,
    container: &'a str,
    read: usize,
}

impl<'a> Log<'a> {
    pub(crate) fn of(pods: &'a Objects<Pod>, pod: &'a str, container: &'a str) -> Self {
        Self { pods, pod, container, read: 0 }
    }

    /// Gives each new line to `look`, until it finds what it looks for; `None` once the log has ended or broken off.
    pub(crate) async fn find<T>(&mut self, look: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let read = self.attempt(look).await;
        read.unwrap_or_else(|error| {
            tracing::debug!("the log of {} broke off: {error}", self.pod);
            None
        })
    }

    async fn attempt<T>(&mut self, mut look: impl FnMut(&str) -> Option<T>) -> kube::Result<Option<T>> {
        let parameters =
            LogParams { container: Some(self.container.to_owned()), follow: true, ..LogParams::default() };
        let mut lines = self.pods.api().log_stream(self.pod, &parameters).await?.lines().enumerate();
        while let Some((number, line)) = lines.next().await {
            let line = line.map_err(kube::Error::ReadEvents)?;
            if number < self.read {
                continue;
            }
            self.read = number + 1;
            if let Some(found) = look(&line) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
