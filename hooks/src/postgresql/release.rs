//! How backup mode is let go: stop, copy the WAL while the slot still keeps it, close the session, count.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::Receipt,
    point::{Evidence, Fact, Outputs},
};
use tokio_postgres::types::Type;

use super::{
    connect::{Session, column},
    exact::{self, Exact},
    facts::{self, Counts},
    grants::backup_functions,
    hold::BackupMode,
    server::Server,
    wal::{self, Lsn, Span},
};
use crate::server::facts::Mode;

/// How long `pg_backup_stop` may take. It is no share of the lease: stopping *is* letting go, and an interrupted
/// stop would lose the backup.
const STOP: Duration = Duration::from_mins(1);

/// What `pg_backup_stop` returned: it exists nowhere else.
struct Stopped {
    /// Where recovery becomes consistent.
    stop: Lsn,
    /// The contents of `backup_label`.
    label: String,
    /// The contents of `tablespace_map`; empty without tablespaces.
    tablespace_map: String,
    /// The timeline that the backup started on.
    timeline: u32,
}

/// What is left of backup mode when it was stopped.
struct Gathered {
    stopped: Stopped,
    /// The restore point's snapshot, if exact facts were asked for and could be had.
    exact: Option<Exact>,
    /// Where the WAL is, if the backup was proven.
    wal: Option<PathBuf>,
}

/// Lets go. It runs on the sessions' own thread and goes on if the caller stops waiting.
///
/// # Errors
/// After any error the session is closed and nothing is held; the backup has failed.
pub(super) async fn finish(live: Box<BackupMode>) -> Result<Receipt> {
    // An error drops the session, and with it whatever is still held.
    let gathered = gather(&live).await?;
    let evidence = evidence(&live, &gathered);
    let outputs = outputs(&live, &gathered);
    let BackupMode { session, limits, slot, target, server, arguments, within, observed, confirmed, .. } =
        *live;
    drop_slot(&session, &slot, limits.answer()).await;
    session.close().await;
    let released = Instant::now();
    let froze = gathered.exact.as_ref().map(|exact| exact.froze);
    let mut facts = Vec::new();
    if confirmed {
        facts.extend(observed.canary);
        facts.extend(match (arguments.facts, gathered.exact) {
            (Mode::None, _) => Vec::new(),
            (Mode::Exact, Some(exact)) => exact.count(within).await,
            (Mode::Bounded | Mode::Exact, _) => {
                bounded(&target, &server, observed.before, arguments.tables, within).await
            }
        });
    }
    Ok(Receipt { evidence, outputs, facts, released, froze })
}

/// Everything that needs the session. Without a proof before it, the backup has failed and nothing is gathered.
async fn gather(live: &BackupMode) -> Result<Gathered> {
    live.limits.limit_statements(&live.session, STOP).await?;
    let stopped = stop(live).await?;
    if !live.confirmed {
        return Ok(Gathered { stopped, exact: None, wal: None });
    }
    let exact = exact(live).await?;
    let end = exact.as_ref().map_or(stopped.stop, |exact| exact.end.max(stopped.stop));
    let span = Span { start: live.start, end, timeline: stopped.timeline, segment: live.server.segment };
    let directory = live.scratch.join(format!("wal-{}", live.slot));
    make(&directory).await?;
    // Reading may take as long as the stop: what is left to let go is the slot, and a dead runner's closed
    // connection is noticed meanwhile.
    let reader = wal::Reader { session: &live.session, within: answer(live), awake: live.limits.idle / 3 };
    let copying = reader.copy(&span, &directory);
    match &exact {
        Some(exact) => exact.awake(live.limits.idle / 3, copying).await?,
        None => copying.await?,
    }
    Ok(Gathered { stopped, exact, wal: Some(directory) })
}

/// Exact facts, if they are asked for and can be had: the backup is whole without them, and each fact says how
/// far it reaches.
async fn exact(live: &BackupMode) -> Result<Option<Exact>> {
    if live.arguments.facts != Mode::Exact {
        return Ok(None);
    }
    let taking = exact::take(&live.target, &live.server, live.arguments.tables);
    let taken = live.session.awake(live.limits.idle / 3, taking).await?;
    Ok(taken.inspect_err(|error| tracing::warn!(error = error.chain(), "facts are not exact")).ok())
}

/// How long to wait for the answer to a statement of the release.
fn answer(live: &BackupMode) -> Duration {
    STOP + live.limits.network
}

async fn stop(live: &BackupMode) -> Result<Stopped> {
    let (_, function) = backup_functions(live.server.version.major);
    let name = function.split('(').next().unwrap_or(function);
    let more = if live.server.version.major >= 15 { "" } else { ", false" };
    let sql = format!("SELECT lsn::text, labelfile, coalesce(spcmapfile, '') FROM {name}(false{more})");
    let row = live.session.one(answer(live), "stop backup mode", &sql, &[]).await?;
    let stop: Lsn = column::<String>(&row, 0)?.parse()?;
    let label: String = column(&row, 1)?;
    let started = label_line(&label, "START WAL LOCATION: ").and_then(|line| line.split(' ').next());
    if started.map(str::parse::<Lsn>).transpose()? != Some(live.start) || stop < live.start {
        return Err(Error::failed(format!("the backup label does not tell of the start at {}", live.start)));
    }
    let timeline = label_line(&label, "START TIMELINE: ").and_then(|line| line.parse().ok());
    let timeline = timeline.ok_or_else(|| Error::failed("the backup label names no timeline"))?;
    Ok(Stopped { stop, tablespace_map: column(&row, 2)?, label, timeline })
}

fn label_line<'label>(label: &'label str, start: &str) -> Option<&'label str> {
    label.lines().find_map(|line| line.strip_prefix(start))
}

/// Makes a fresh directory that only we may read.
async fn make(directory: &PathBuf) -> Result<()> {
    let made = async {
        tokio::fs::create_dir_all(directory).await?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        tokio::fs::set_permissions(directory, private).await
    };
    made.await.map_err(|cause: std::io::Error| {
        Error::failed(format!("the directory {} cannot be made", directory.display()))
            .remedy("Free space there, or let the run use another scratch directory.")
            .because(cause)
    })
}

/// Closing the session drops the slot too; doing it first means that it is gone when the release is done.
async fn drop_slot(session: &Session, slot: &str, within: Duration) {
    let sql = "SELECT pg_drop_replication_slot($1::name)";
    if let Err(error) = session.rows(within, "drop the slot", sql, &[(&slot, Type::TEXT)]).await {
        tracing::debug!(error = error.chain(), "the slot goes with its session");
    }
}

fn evidence(live: &BackupMode, gathered: &Gathered) -> Evidence {
    let Gathered { stopped, exact, .. } = gathered;
    Evidence::of("stopLsn", stopped.stop.to_string())
        .and("startLsn", live.start.to_string())
        .and("timeline", stopped.timeline)
        .and("walEnd", exact.as_ref().map_or(stopped.stop, |exact| exact.end).to_string())
        .and("role", live.server.role_name())
}

fn outputs(live: &BackupMode, gathered: &Gathered) -> Outputs {
    let Gathered { stopped, exact, wal } = gathered;
    let restore_point = exact.as_ref().map_or("", |exact| exact.name.as_str());
    let mut outputs = Outputs::from([
        ("label".into(), json!(stopped.label)),
        ("tablespaceMap".into(), json!(stopped.tablespace_map)),
        ("startLsn".into(), json!(live.start.to_string())),
        ("stopLsn".into(), json!(stopped.stop.to_string())),
        ("timeline".into(), json!(stopped.timeline)),
        ("restorePoint".into(), json!(restore_point)),
    ]);
    if let Some(directory) = wal {
        outputs.insert("wal".into(), json!({ "directory": directory }));
    }
    outputs
}

/// The second count, and the facts between the two. A count that fails costs facts, not the backup.
async fn bounded(
    target: &super::settings::Target,
    server: &Server,
    before: Option<Counts>,
    tables: u32,
    within: Duration,
) -> Vec<Fact> {
    let counting = async {
        let session = Session::to(target).await?;
        server.expect_same(&Server::of(&session).await?, session.place())?;
        let after = Counts::of(&session, tables, within).await?;
        session.close().await;
        Ok::<_, Error>(after)
    };
    match counting.await {
        Ok(after) => facts::between(before, after),
        Err(error) => {
            tracing::warn!(error = error.chain(), "rows could not be counted after the cut");
            before.as_ref().map(facts::without_bound).unwrap_or_default()
        }
    }
}
