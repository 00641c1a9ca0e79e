//! What there is to know about the server at the other end of a session.

use std::time::Duration;

use standstill_core::{
    Error, Result,
    hook::{HookContext, Probe},
    point::{Evidence, Version},
};

use super::{
    connect::{LOOKUP, Session},
    errors,
    info::Info,
};
use crate::server::role::Role;

/// The oldest version: 7.0 counts its saves (`rdb_saves`), keeps its append-only file in parts, and lets a user be
/// given single subcommands.
const OLDEST: u32 = 7;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Redis,
    Valkey,
}

/// The server, as it was when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Which of the two it is.
    pub flavour: Flavour,
    /// Its version; a Valkey's own, not that of the Redis that it stands in for.
    pub version: Version,
    /// Made anew whenever a server starts, and no other server's.
    pub run_id: String,
    /// Whether it follows another server.
    pub replica: bool,
    /// The history that its data belongs to, and how far it got in it; the same on a primary and its replicas.
    pub replication: (String, u64),
}

impl Server {
    /// Asks the server.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it is too old, or no server with data; `Temporary` while it loads.
    pub async fn of(session: &Session, within: Duration) -> Result<Self> {
        Self::read(&Info::of(session, within).await?, session.place())
    }

    /// Reads what `INFO` said.
    pub fn read(info: &Info, place: &str) -> Result<Self> {
        if info.get("redis_mode") == Some("sentinel") {
            return Err(Error::input(format!("the server at {place} is a Sentinel, which has no data"))
                .remedy("Connect to one of the servers that it watches over."));
        }
        if info.is_on("loading") {
            return Err(Error::temporary(format!("the server at {place} is still loading its data"))
                .remedy("Try again when it has started."));
        }
        let (flavour, full) = match (info.get("valkey_version"), info.get("redis_version")) {
            (Some(version), _) => (Flavour::Valkey, version),
            (None, Some(version)) => (Flavour::Redis, version),
            (None, None) => return Err(errors::strange("ask the server who it is (INFO)", place)),
        };
        let major = full.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
        if major < OLDEST {
            return Err(Error::input(format!("Redis {full} at {place} is too old"))
                .remedy("Upgrade to Redis 7.0 or later, or to Valkey."));
        }
        let run_id = info.get("run_id").filter(|id| id.len() == 40).map(str::to_owned);
        let run_id = run_id.ok_or_else(|| errors::strange("read `run_id` of INFO", place))?;
        let history = info.get("master_replid").unwrap_or_default().to_owned();
        Ok(Self {
            flavour,
            version: Version { major, full: full.to_owned() },
            run_id,
            replica: info.get("role") == Some("slave"),
            replication: (history, info.number("master_repl_offset").unwrap_or_default()),
        })
    }

    /// What kind of server it is, in one word.
    pub const fn role(&self) -> &'static str {
        Role::name(self.replica)
    }

    /// Refuses another server than this one, and this one after a restart: then nothing that was asked for or set
    /// before is there any more.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::HoldLapsed`].
    pub fn expect_same(&self, now: &Self, place: &str) -> Result<()> {
        if now.run_id != self.run_id {
            return Err(errors::restarted(place));
        }
        if now.replica != self.replica {
            return Err(crate::server::errors::lapsed(format!(
                "the server at {place} was a {} and is a {} now",
                self.role(),
                now.role()
            )));
        }
        Ok(())
    }

    /// Who it is, as evidence.
    pub fn evidence(&self) -> Evidence {
        let name = match self.flavour {
            Flavour::Redis => "Redis",
            Flavour::Valkey => "Valkey",
        };
        Evidence::of("server", format!("{name} {}", self.version.full))
            .and("runId", self.run_id.as_str())
            .and("role", self.role())
            .and("replicationId", self.replication.0.as_str())
            .and("replicationOffset", self.replication.1)
    }
}

/// The `probe` of the hook.
pub(super) async fn probe(context: &HookContext) -> Result<Probe> {
    let session = Session::open(context).await?;
    let server = Server::of(&session, LOOKUP).await?;
    let role = Some(server.role().to_owned());
    // Nothing else that every user may ask for differs from server to server: copies of one configuration have the
    // same paths and ports. It changes when the server is restarted, and what a run set there is gone then, too.
    let identity = format!("redis:{}", server.run_id);
    Ok(Probe { version: server.version, role, identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";

    fn server(text: &str) -> Result<Server> {
        Server::read(&Info::read(&format!("run_id:{ID}\n{text}")), "here")
    }

    #[test]
    fn a_valkey_is_known_by_its_own_version() {
        let valkey = server("redis_version:7.2.4\nvalkey_version:9.1.2\nrole:slave").unwrap();
        assert_eq!((valkey.flavour, valkey.version.major, valkey.role()), (Flavour::Valkey, 9, "replica"));
        let redis = server("redis_version:7.0.15\nrole:master").unwrap();
        assert_eq!((redis.flavour, redis.version.full.as_str()), (Flavour::Redis, "7.0.15"));
    }

    #[test]
    fn what_cannot_be_backed_up_is_refused_by_name() {
        let says = |text: &str| server(text).unwrap_err().to_string();
        assert!(says("redis_version:6.2.14").contains("too old"));
        assert!(says("redis_version:7.0.15\nredis_mode:sentinel").contains("Sentinel"));
        assert!(says("redis_version:7.0.15\nloading:1").contains("still loading"));
        assert!(says("hello:1").contains("not understood"));
    }

    #[test]
    fn a_restart_and_a_failover_are_noticed() {
        let before = server("redis_version:7.0.15\nrole:master").unwrap();
        let other = Server { run_id: "x".repeat(40), ..before.clone() };
        let promoted = Server { replica: true, ..before.clone() };
        assert!(before.expect_same(&before, "here").is_ok());
        assert!(before.expect_same(&other, "here").unwrap_err().to_string().contains("restarted"));
        let error = before.expect_same(&promoted, "here").unwrap_err().to_string();
        assert!(error.contains("was a primary and is a replica now"), "{error}");
    }
}
