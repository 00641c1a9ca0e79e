//! Letting go of a keeper's hold in the target's container when its runner or its connection is gone.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use standstill_core::{Error, ErrorKind, Result, hook::Undone, keeper::ReleaseRecord, secret::Secret};

use super::{
    Container,
    keeper::regex,
    record::KeeperRecord,
    script::{Builder, Script},
};
use crate::client::Cluster;

/// What ending a keeper may take, beyond the deadline of the release.
const MARGIN: Duration = Duration::from_secs(5);
/// How often it is tried before it is given up: the container may be starting again.
const ATTEMPTS: u32 = 4;

/// Makes sure that a keeper's hold is let go: its processes are ended, and then its release is run.
pub(crate) async fn dispose(
    cluster: &Cluster,
    record: &KeeperRecord,
    secrets: &BTreeMap<String, Secret>,
) -> Result<Undone> {
    let container = record.container(cluster);
    let script = script(record, secrets)?;
    let mut pause = Duration::from_millis(250);
    let mut attempt = 1;
    loop {
        let error = match once(&container, record, &script).await {
            Ok(undone) => return Ok(undone),
            Err(error) => error,
        };
        if is_gone(&container).await {
            // What it held in its processes is gone with them; what it may hold on a volume, no other pod can undo.
            return Ok(Undone::AlreadyGone);
        }
        if attempt >= ATTEMPTS || error.kind() == ErrorKind::Input {
            return Err(still_held(&container, record, error));
        }
        tracing::warn!(step = record.name, error = error.chain(), "letting go is tried again");
        attempt += 1;
        tokio::time::sleep(pause).await;
        pause *= 3;
    }
}

fn script(record: &KeeperRecord, secrets: &BTreeMap<String, Secret>) -> Result<Script> {
    let builder = Builder::new("standstill-release", [record.mark()]);
    let builder = match &record.release {
        ReleaseRecord::WithItsClient => builder.function("ss_release", ":")?,
        ReleaseRecord::Command(command) => builder.command("ss_release", &command.with_secrets(secrets)?)?,
        ReleaseRecord::Client { client, lines, .. } => builder
            .command("ss_client", &client.with_secrets(secrets)?)?
            .lines("ss_lines", lines)?
            .function("ss_release", "ss_lines \"$@\" | ss_client \"$@\"")?,
    };
    Ok(builder.dispose())
}

async fn once(container: &Container, record: &KeeperRecord, script: &Script) -> Result<Undone> {
    let output = container.run("letting go", script, record.timeout() + MARGIN).await?;
    if !output.exit.is_success() {
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        return Err(Error::failed(format!("letting go ended with {}: {}", output.exit, said.trim())));
    }
    let mut lines = output.stdout.lines();
    let lived = lines.next() == Some("ended");
    if let ReleaseRecord::Client { until: Some(pattern), .. } = &record.release {
        let expression = regex(pattern)?;
        if !lines.any(|line| expression.is_match(line.trim_end_matches('\r'))) {
            return Err(Error::failed(format!(
                "a new client that was told to let go did not say a line that matches `{pattern}`: {}",
                output.stdout.trim()
            )));
        }
    }
    Ok(match record.release {
        ReleaseRecord::WithItsClient if !lived => Undone::AlreadyGone,
        _ => Undone::LetGo,
    })
}

/// Whether the pod is known to be gone.
async fn is_gone(container: &Container) -> bool {
    let pods = container.cluster.objects::<Pod>();
    matches!(pods.find(&container.pod).await, Ok(None))
}

fn still_held(container: &Container, record: &KeeperRecord, error: Error) -> Error {
    let Some(by_hand) = record.release.by_hand() else { return error };
    Error::new(ErrorKind::StillHeld, format!("{} may still be held", record.name))
        .remedy(format!("Let it go by hand: in {}, run {by_hand}.", container.show()))
        .because(error)
}
