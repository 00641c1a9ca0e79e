//! One-shot commands in a running container: for small questions only, never for data.

use std::time::Duration;

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::api::AttachParams;
use standstill_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Cluster, explain};

/// Large enough that a full pipe is no bottleneck.
const PIPE: usize = 64 * 1024;
/// How much of each stream is kept.
const KEPT: u64 = 64 * 1024;

/// How a command in a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit status.
    pub status: i32,
    /// The first 64 KiB of its standard output.
    pub stdout: String,
    /// The first 64 KiB of its standard error.
    pub stderr: String,
}

impl Cluster {
    /// Runs a command in a container of a pod to its end.
    ///
    /// # Errors
    /// Also when the connection ended without the server saying how the command ended: whatever was read until then
    /// may not be all of it.
    pub async fn exec(
        &self,
        pod: &str,
        container: &str,
        command: &[&str],
        within: Duration,
    ) -> Result<Executed> {
        let pods = self.objects::<Pod>();
        let parameters = AttachParams::default()
            .container(container)
            .stdin(false)
            .stdout(true)
            .stderr(true)
            .max_stdout_buf_size(PIPE)
            .max_stderr_buf_size(PIPE);
        let run = async {
            let mut attached = pods
                .api()
                .exec(pod, command.iter().copied(), &parameters)
                .await
                .map_err(|cause| explain(pods.attempt("create", Some(pod)).of("pods/exec"), cause))?;
            let status = attached.take_status();
            let (stdout, stderr) = (attached.stdout(), attached.stderr());
            let status = async { if let Some(status) = status { status.await } else { None } };
            let (stdout, stderr, status) = tokio::join!(text(stdout), text(stderr), status);
            let status = status.ok_or_else(|| lost(pod))?;
            Ok(Executed {
                status: exit_status(&status).ok_or_else(|| not_run(pod, &status))?,
                stdout,
                stderr,
            })
        };
        // A connection that broke may leave the reading side waiting for ever.
        tokio::time::timeout(within, run).await.unwrap_or_else(|_| {
            Err(Error::temporary(format!("the command in the pod {pod} took longer than {within:?}"))
                .remedy("Look at the pod; its container may be overloaded."))
        })
    }
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What cannot be read any more shows in the missing status.
        let _ = (&mut stream).take(KEPT).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The exit status in the words of the API: success, or a cause `ExitCode`.
pub(crate) fn exit_status(status: &Status) -> Option<i32> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let cause = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    cause.message.as_ref()?.parse().ok()
}

fn lost(pod: &str) -> Error {
    Error::temporary(format!("the connection to the command in the pod {pod} was lost before it ended"))
        .remedy("Check the API server and the node's kubelet.")
}

fn not_run(pod: &str, status: &Status) -> Error {
    let said = status.message.as_deref().unwrap_or("no reason was given");
    Error::failed(format!("the command in the pod {pod} could not be run: {said}"))
        .remedy("Check that the image has the program.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_in_the_causes() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with non-zero exit code",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
        }))
        .unwrap();
        assert_eq!(exit_status(&status), Some(7));
        let status = |text: &str| Status { status: Some(text.into()), ..Status::default() };
        assert_eq!(exit_status(&status("Success")), Some(0));
        assert_eq!(exit_status(&status("Failure")), None);
    }
}
