//! Who answers, and whether a backup can be taken there.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use standstill_core::{
    Error, ErrorKind, Result,
    hook::{Called, HookContext, Probe},
    point::{Outputs, Version},
};

use super::{
    api::{Alarm, Header, Member, Status},
    errors,
};
use crate::server::errors::another_server;

/// Which kind of member is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Role {
    /// Either will do.
    #[default]
    Any,
    /// The one that all writes go through.
    Leader,
    /// One of the others, which has less to do.
    Follower,
}

/// What is done about a cluster that has no room left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum NoSpace {
    /// It is refused.
    #[default]
    Refuse,
    /// It is backed up: before its history is compacted, say.
    Accept,
}

/// What `ready` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// Which kind of member is asked for: any, leader or follower.
    #[serde(default)]
    role: Role,
    /// Whether a cluster with the alarm NOSPACE, which takes no writes, is backed up: refuse or accept.
    #[serde(default)]
    nospace: NoSpace,
}

/// The verb `ready`.
pub(super) async fn ready(context: &HookContext, arguments: Arguments) -> Result<Called> {
    let member = Member::open(context).await?;
    let status = serving(&member).await?;
    no_alarm(&member, arguments.nospace).await?;
    role_fits(&member, &status, arguments.role)?;
    // What the backup will ask for; who may not ask is told so before anything is done.
    let (header, _) = member.count(None).await?;
    member.hash(header.revision).await?;
    let members = member.members().await?;
    Ok(Called {
        outputs: Outputs::from([
            ("version".into(), json!(status.version)),
            ("role".into(), json!(role(&status))),
            ("members".into(), json!(members)),
            ("revision".into(), json!(header.revision)),
            ("dbSize".into(), json!(status.db_size)),
            ("dbSizeInUse".into(), json!(status.db_size_in_use)),
        ]),
        ..Called::default()
    })
}

/// The state of a member that has what the cluster agreed on.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] for a learner, `Temporary` without a leader.
pub(super) async fn serving(member: &Member) -> Result<Status> {
    let status = member.status().await?;
    if status.is_learner {
        return Err(errors::learner(member.place()));
    }
    if status.leader == 0 {
        return Err(Error::temporary(format!("the cluster of {} has no leader", member.place()))
            .remedy("See `etcdctl endpoint status --cluster`: more than half of the members must run."));
    }
    Ok(status)
}

async fn no_alarm(member: &Member, nospace: NoSpace) -> Result<()> {
    let place = member.place();
    for (alarm, at) in member.alarms().await? {
        let error = Error::input(format!("the cluster of {place} has the alarm {alarm} (member {at:x})"));
        return Err(match alarm {
            Alarm::NoSpace if nospace == NoSpace::Accept => continue,
            Alarm::NoSpace => error.remedy(
                "Compact and defragment, then `etcdctl alarm disarm`; or set `nospace: accept` to back it up as it is.",
            ),
            Alarm::Corrupt => error.remedy(
                "Replace that member: its data is not what the others have, and this backup would keep the damage.",
            ),
            Alarm::Other(_) => error.remedy("See `etcdctl alarm list`."),
        });
    }
    Ok(())
}

fn role(status: &Status) -> &'static str {
    if status.leader == status.header.member { "leader" } else { "follower" }
}

fn role_fits(member: &Member, status: &Status, wanted: Role) -> Result<()> {
    let found = role(status);
    let wanted = match (wanted, found) {
        (Role::Any, _) | (Role::Leader, "leader") | (Role::Follower, "follower") => return Ok(()),
        (Role::Leader, _) => "leader",
        (Role::Follower, _) => "follower",
    };
    Err(Error::input(format!("the member at {} is a {found}, and a {wanted} was asked for", member.place()))
        .remedy(format!("Connect to a {wanted}, or ask for role `any`.")))
}

/// The `probe` of the hook.
pub(super) async fn probe(context: &HookContext) -> Result<Probe> {
    let status = Member::open(context).await?.status().await?;
    let major = status.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    Ok(Probe {
        version: Version { major, full: status.version.clone() },
        role: Some(role(&status).to_owned()),
        identity: identity(&status.header),
    })
}

/// The same for every address of a member, another for every other member.
pub(super) fn identity(header: &Header) -> String {
    format!("etcd:{:x}:{:x}", header.cluster, header.member)
}

/// Refuses another member than the one that was asked before.
pub(super) fn expect_same(member: &Member, before: &Header, now: &Header) -> Result<()> {
    if (before.cluster, before.member) == (now.cluster, now.member) {
        return Ok(());
    }
    Err(another_server(member.place()))
}

/// The verb `accepting`: whether the member answers at all. Nobody logs in for that: a scratch one asks who one is
/// where the cluster that was backed up does.
///
/// # Errors
/// [`ErrorKind::Temporary`] until it does.
pub(super) async fn accepting(context: &HookContext) -> Result<Called> {
    let waiting = |error: Error| error.of_kind(ErrorKind::Temporary);
    let member = Member::unknown(context).await.map_err(waiting)?;
    let status = member.status().await.map_err(waiting)?;
    if status.leader == 0 {
        return Err(Error::temporary("the member has no leader yet"));
    }
    Ok(Called::default())
}
