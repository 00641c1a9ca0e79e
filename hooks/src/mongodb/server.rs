//! What there is to know about the server at the other end of a session.

use bson::{RawDocument, Timestamp, doc};
use serde::{Deserialize, Serialize};
use standstill_core::{
    Error, Result,
    hook::{HookContext, Probe},
    point::{Evidence, Version},
};

use super::{
    errors,
    session::{LOOKUP, Session},
};
use crate::server::errors::lapsed;

/// The wire version of MongoDB 5.0, the first with snapshot reads outside of transactions.
const OLDEST: i32 = 13;

/// What a server is to its replica set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is in none.
    Standalone,
    Primary,
    Secondary,
}

impl Role {
    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

/// A place in the oplog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Position {
    /// Seconds since 1970.
    pub seconds: u32,
    /// Which of that second's.
    pub count: u32,
}

impl From<Timestamp> for Position {
    fn from(timestamp: Timestamp) -> Self {
        Self { seconds: timestamp.time, count: timestamp.increment }
    }
}

impl From<Position> for Timestamp {
    fn from(position: Position) -> Self {
        Self { time: position.seconds, increment: position.count }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.seconds, self.count)
    }
}

impl std::str::FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = text.split_once(':').and_then(|(seconds, count)| {
            Some(Self { seconds: seconds.parse().ok()?, count: count.parse().ok()? })
        });
        read.ok_or_else(|| {
            Error::input(format!("`{text}` is no cluster time")).remedy("Write SECONDS:COUNT.")
        })
    }
}

/// The server, as it was when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Made anew whenever a server starts, and no other server's (`topologyVersion.processId`).
    pub process: String,
    /// Its replica set; none for a server that stands alone.
    pub set: Option<String>,
    pub role: Role,
    /// How many members of its set have data and take part in reads, itself included.
    pub members: usize,
    /// The last write that it has applied; none without an oplog.
    pub position: Option<Position>,
    /// The last time of its clock that it has told (`operationTime`).
    pub time: Option<Position>,
}

impl Server {
    /// Asks the server.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when it is too old, or no server with data.
    pub async fn of(session: &Session) -> Result<Self> {
        let hello = session.run("admin", LOOKUP, "say who it is (hello)", doc! {"hello": 1}).await?;
        Self::read(&hello, session.place())
    }

    /// Reads what `hello` said.
    pub fn read(hello: &RawDocument, place: &str) -> Result<Self> {
        let is = |field: &str| hello.get_bool(field).unwrap_or(false);
        if hello.get_str("msg").is_ok_and(|said| said == "isdbgrid") {
            return Err(Error::input(format!("what listens at {place} is mongos, the router of a sharded cluster"))
                .remedy("A sharded cluster has no one moment that a backup of one server could be of; it is not supported. Back up a replica set, or a single server."));
        }
        if hello.get_i32("maxWireVersion").unwrap_or_default() < OLDEST {
            return Err(Error::input(format!("MongoDB at {place} is too old"))
                .remedy("Upgrade to MongoDB 5.0 or later."));
        }
        if is("arbiterOnly") {
            return Err(Error::input(format!("MongoDB at {place} is an arbiter, which has no data"))
                .remedy("Connect to a secondary."));
        }
        let set = hello.get_str("setName").ok().map(str::to_owned);
        let role = match (&set, is("isWritablePrimary"), is("secondary")) {
            (None, ..) if !hello.get_bool("isreplicaset").unwrap_or(false) => Role::Standalone,
            (Some(_), true, _) => Role::Primary,
            (Some(_), _, true) => Role::Secondary,
            _ => {
                return Err(Error::temporary(format!(
                    "MongoDB at {place} is neither primary nor secondary: it is starting, recovering or not initiated"
                ))
                .remedy("See rs.status(); connect to a secondary that is healthy."));
            }
        };
        let process =
            hello.get_document("topologyVersion").and_then(|version| version.get_object_id("processId"));
        let process =
            process.map_err(|cause| errors::strange("learn who it is (hello)", place).because(cause))?;
        let count =
            |field: &str| hello.get_array(field).map(|list| list.into_iter().count()).unwrap_or_default();
        let last = hello.get_document("lastWrite").and_then(|last| last.get_document("opTime"));
        let position = last.and_then(|optime| optime.get_timestamp("ts")).ok().map(Position::from);
        Ok(Self {
            process: process.to_hex(),
            set,
            role,
            members: count("hosts") + count("passives"),
            position,
            time: hello.get_timestamp("operationTime").ok().map(Position::from),
        })
    }

    /// Refuses another server than this one, and this one after a restart or a change of role.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::HoldLapsed`].
    pub fn expect_same(&self, now: &Self, place: &str) -> Result<()> {
        if now.process != self.process {
            return Err(lapsed(format!("MongoDB at {place} was restarted, or is another server now")));
        }
        if now.role != self.role {
            return Err(lapsed(format!(
                "MongoDB at {place} was a {} and is a {} now",
                self.role.name(),
                now.role.name()
            )));
        }
        Ok(())
    }

    /// Who it is, as evidence.
    pub fn evidence(&self) -> Evidence {
        let evidence = Evidence::of("process", self.process.as_str()).and("role", self.role.name());
        let evidence = match &self.set {
            Some(set) => evidence.and("replicaSet", set.as_str()),
            None => evidence,
        };
        match self.position {
            Some(position) => evidence.and("lastWrite", position.to_string()),
            None => evidence,
        }
    }
}

/// Its version.
pub(super) async fn version(session: &Session) -> Result<Version> {
    let said = session.run("admin", LOOKUP, "say its version (buildInfo)", doc! {"buildInfo": 1}).await?;
    let full = said.get_str("version");
    let full = full.map_err(|cause| errors::strange("learn its version", session.place()).because(cause))?;
    let major = full.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    Ok(Version { major, full: full.to_owned() })
}

/// The `probe` of the hook.
pub(super) async fn probe(context: &HookContext) -> Result<Probe> {
    let session = Session::open(context).await?;
    let server = Server::read(&session.hello, session.place())?;
    let version = version(&session).await?;
    // Members of a set have the same data, and are backed up each for itself: their process tells them apart. It is
    // another one after a restart, and what a run held there is gone then.
    Ok(Probe {
        version,
        role: Some(server.role.name().into()),
        identity: format!("mongodb:{}", server.process),
    })
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, oid::ObjectId};

    use super::*;

    fn hello() -> Document {
        doc! {
            "isWritablePrimary": false, "secondary": true, "setName": "rs0", "hosts": ["a:1", "b:1"], "passives": ["c:1"],
            "maxWireVersion": 21, "topologyVersion": {"processId": ObjectId::from_bytes([7; 12])},
            "lastWrite": {"opTime": {"ts": Timestamp {time: 12, increment: 3}, "t": 1_i64}},
        }
    }

    fn read(hello: &Document) -> Result<Server> {
        Server::read(&RawDocumentBuf::try_from(hello).unwrap(), "here")
    }

    #[test]
    fn a_secondary_is_known_with_its_set_and_its_position() {
        let server = read(&hello()).unwrap();
        assert_eq!((server.role, server.members), (Role::Secondary, 3));
        assert_eq!(server.position.unwrap().to_string(), "12:3");
        assert_eq!("12:3".parse::<Position>().unwrap(), server.position.unwrap());
        assert!("12".parse::<Position>().is_err());
    }

    #[test]
    fn what_cannot_be_backed_up_is_refused_by_name() {
        let says = |change: Document| {
            let mut hello = hello();
            hello.extend(change);
            read(&hello).unwrap_err().to_string()
        };
        assert!(says(doc! {"msg": "isdbgrid"}).contains("mongos"));
        assert!(says(doc! {"maxWireVersion": 9}).contains("too old"));
        assert!(says(doc! {"arbiterOnly": true}).contains("arbiter"));
        assert!(says(doc! {"secondary": false}).contains("neither primary nor secondary"));
        assert!(says(doc! {"topologyVersion": 1}).contains("not understood"));
    }

    #[test]
    fn a_restart_and_a_failover_are_noticed() {
        let before = read(&hello()).unwrap();
        let other = Server { process: "x".into(), ..before.clone() };
        let promoted = Server { role: Role::Primary, ..before.clone() };
        assert!(before.expect_same(&before, "here").is_ok());
        assert!(before.expect_same(&other, "here").unwrap_err().to_string().contains("restarted"));
        let error = before.expect_same(&promoted, "here").unwrap_err().to_string();
        assert!(error.contains("was a secondary and is a primary now"), "{error}");
    }
}
