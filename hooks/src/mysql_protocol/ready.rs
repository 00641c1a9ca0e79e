//! The verb `ready`: everything that a backup needs, looked at before anything is touched.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    point::Outputs,
    units::parse_duration,
};

use super::{
    busy,
    connect::Session,
    dialect::Dialect,
    engines::Others,
    grants,
    layout::Layout,
    server::{self, Server},
};
use crate::server::role::Role;

/// What the backup will be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum For {
    /// Files, while the server is held.
    #[default]
    Files,
    /// A dump.
    Dump,
}

const fn yes() -> bool {
    true
}

/// What `ready` is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Arguments {
    /// Which kind of server is asked for: any, primary or replica.
    #[serde(default)]
    role: Role,
    /// What the backup will be: files or dump. It decides which privileges are needed.
    #[serde(default, rename = "for")]
    purpose: For,
    /// The volumes that are captured: everything that the server keeps must lie in them.
    #[serde(default)]
    covers: Vec<String>,
    /// Whether the binary log must lie in them, too (true by default). A copy that the server's own backup program makes
    /// is recovered without it.
    #[serde(default = "yes")]
    with_binary_log: bool,
    /// Refuse while a statement that changes something is older than this (`10m`); by default none is too old.
    #[serde(default)]
    max_statement_age: Option<String>,
}

/// Does the verb.
pub(crate) async fn ready(
    dialect: &'static Dialect,
    context: &HookContext,
    arguments: Arguments,
) -> Result<Called> {
    let session = Session::open(dialect, context).await?;
    let server = Server::of(&session).await?;
    if arguments.purpose == For::Files {
        no_galera(&session, &server)?;
    }
    let needs = match arguments.purpose {
        For::Files => dialect.backup_grants,
        For::Dump => dialect.dump_grants,
    };
    // First, because all that follows asks for what they allow.
    grants::check(&session, needs).await?;
    let replica = server::is_replica(&session).await?;
    let place = session.place();
    arguments.role.expect(replica, &format!("{} at {place}", dialect.product))?;
    if let Some(limit) = arguments.max_statement_age.filter(|limit| !limit.is_empty()) {
        no_old_statement(&session, &limit).await?;
    }
    let others = Others::of(&session).await?;
    if !arguments.covers.is_empty() {
        let mut layout = Layout::of(&session).await?;
        if !arguments.with_binary_log {
            layout.forget_binary_log();
        }
        layout.covered(context, &session, &arguments.covers).await?;
    }
    session.close().await;
    Ok(Called {
        outputs: Outputs::from([
            ("dataDirectory".into(), json!(server.data)),
            ("version".into(), json!(server.version.full)),
            ("role".into(), json!(if replica { "replica" } else { "primary" })),
            ("readOnly".into(), json!(server.read_only)),
            ("onlyInnodb".into(), json!(others.are_none())),
            ("engines".into(), json!(others.describe())),
        ]),
        ..Called::default()
    })
}

/// A node that is held makes the whole cluster wait, by flow control. A dump holds nothing.
pub(crate) fn no_galera(session: &Session, server: &Server) -> Result<()> {
    if !server.galera {
        return Ok(());
    }
    let Dialect { product, hook, .. } = session.dialect();
    let place = session.place();
    Err(Error::input(format!(
        "{product} at {place} is a node of a Galera cluster, which would wait as a whole while the node is held"
    ))
    .remedy(format!(
        "Back up an asynchronous replica of the cluster, or use the blueprint {hook}-dump, which holds nothing."
    )))
}

async fn no_old_statement(session: &Session, limit: &str) -> Result<()> {
    let age = parse_duration(limit)?;
    let Some(oldest) = busy::oldest(session, age, false).await? else { return Ok(()) };
    let place = session.place();
    Err(Error::temporary(format!("{oldest} at {place}, longer than {limit}"))
        .remedy(format!("Let it end, or end it: KILL QUERY {};", oldest.id)))
}
