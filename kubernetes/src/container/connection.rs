//! The connection to one command in a container.
//!
//! Traps of `kube` 5.0, read in its source: its pipes hold 1,024 bytes unless told otherwise, and one full pipe stops
//! all of them; a connection that breaks leaves its readers waiting for ever; only the status tells how the command
//! ended, and a connection that ends without one has failed, whatever was read.

use std::time::Duration;

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::api::{AttachParams, AttachedProcess};
use standstill_core::{Error, Result, units::show_duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, SimplexStream, WriteHalf},
    sync::mpsc,
    task::JoinHandle,
};

use super::{Container, script::Script};
use crate::client::{exit_status, explain};

/// Large enough that a full pipe is no bottleneck.
const PIPE: usize = 64 * 1024;
/// How long the rest of the output may take after the command has ended.
const REST: Duration = Duration::from_secs(2);
/// How much is underway between the connection and whoever reads it.
const UNDER_WAY: usize = 64;

/// What comes from a command.
#[derive(Debug)]
pub(super) enum Heard {
    /// Bytes of its standard output.
    Output(Vec<u8>),
    /// Bytes of its standard error.
    Error(Vec<u8>),
    /// It has ended with this exit status. Always the last.
    Ended(i32),
    /// The connection ended and nobody said how the command did. Always the last.
    Lost(String),
}

/// A command, and the connection to it. Dropping it closes the connection, which the command sees as end of file.
pub(super) struct Connection {
    input: WriteHalf<SimplexStream>,
    heard: mpsc::Receiver<Heard>,
    pump: JoinHandle<()>,
    about: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Connection {
    /// Starts a script in a container.
    pub(super) async fn open(container: &Container, script: &Script, within: Duration) -> Result<Self> {
        let pods = container.cluster.objects::<Pod>();
        let parameters = AttachParams::default()
            .container(&container.name)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(PIPE)
            .max_stdout_buf_size(PIPE)
            .max_stderr_buf_size(PIPE);
        let opening = pods.api().exec(&container.pod, &script.argv, &parameters);
        let attempt = pods.attempt("create", Some(&container.pod)).of("pods/exec");
        let process = match tokio::time::timeout(within, opening).await {
            Ok(opened) => opened.map_err(|cause| explain(attempt, cause))?,
            Err(_) => return Err(attempt.timed_out(within)),
        };
        let mut connection = Self::of(process, container.show())?;
        connection.write(&script.input, within).await?;
        Ok(connection)
    }

    fn of(mut process: AttachedProcess, about: String) -> Result<Self> {
        let input = process.stdin().ok_or_else(|| Error::failed(format!("{about} takes no input")))?;
        let (sender, heard) = mpsc::channel(UNDER_WAY);
        let pump = tokio::spawn(pump(process, sender));
        Ok(Self { input, heard, pump, about })
    }

    /// Writes to its standard input.
    pub(super) async fn write(&mut self, text: &str, within: Duration) -> Result<()> {
        match tokio::time::timeout(within, self.input.write_all(text.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => {
                Err(Error::temporary(format!("the connection to {} is lost", self.about)).because(cause))
            }
            Err(_) => {
                Err(Error::temporary(format!("{} took nothing for {}", self.about, show_duration(within))))
            }
        }
    }

    /// What comes next; `None` when nothing did within the time.
    pub(super) async fn hear(&mut self, within: Duration) -> Option<Heard> {
        let lost = || Heard::Lost("the connection to it is closed".into());
        tokio::time::timeout(within, self.heard.recv()).await.ok().map(|heard| heard.unwrap_or_else(lost))
    }
}

/// Passes on what comes from a command until it has ended.
async fn pump(mut process: AttachedProcess, heard: mpsc::Sender<Heard>) {
    let (output, error) = (process.stdout(), process.stderr());
    let output = pass(output, heard.clone(), Heard::Output);
    let error = pass(error, heard.clone(), Heard::Error);
    let status = process.take_status();
    let status = async { if let Some(status) = status { status.await } else { None } };
    tokio::pin!(status);
    let both = async { tokio::join!(output, error) };
    tokio::pin!(both);
    let ended = tokio::select! {
        ended = &mut status => {
            let _ = tokio::time::timeout(REST, both).await;
            ended
        }
        _ = &mut both => tokio::time::timeout(REST, status).await.unwrap_or_default(),
    };
    let last = match &ended {
        None => Heard::Lost("the connection was lost before it ended".into()),
        Some(status) => exit_status(status).map_or_else(|| Heard::Lost(words(status)), Heard::Ended),
    };
    let _ = heard.send(last).await;
}

fn words(status: &Status) -> String {
    status.message.clone().unwrap_or_else(|| "no reason was given".into())
}

async fn pass(
    stream: Option<impl AsyncRead + Unpin>,
    heard: mpsc::Sender<Heard>,
    as_what: fn(Vec<u8>) -> Heard,
) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; PIPE];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if heard.send(as_what(buffer[..count].to_vec())).await.is_err() {
            return;
        }
    }
}
