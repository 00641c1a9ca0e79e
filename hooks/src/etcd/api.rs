//! etcd's own questions, as far as a backup puts them: `rpc.proto` of etcd 3.4 to 3.6.

use std::time::Duration;

use standstill_core::{Error, Result, hook::HookContext};

use super::{
    errors,
    proto::{Fields, Message},
    rpc::{Answers, Channel, Failure, Refusal},
    settings::Target,
};

/// How long a question that only looks something up may take.
const LOOKUP: Duration = Duration::from_secs(10);
/// How long a question that reads the whole database may take: it has at most a few gigabytes.
const LONG: Duration = Duration::from_mins(5);

/// The gRPC status of what was tried too early or in the wrong state.
const FAILED_PRECONDITION: u32 = 9;
/// The gRPC status of what lies outside of what there is.
const OUT_OF_RANGE: u32 = 11;

/// Who answered, and at which point of the cluster's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The cluster.
    pub cluster: u64,
    /// The member.
    pub member: u64,
    /// The revision of the key-value store.
    pub revision: i64,
}

/// A member's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// Who answered.
    pub header: Header,
    /// Its version.
    pub version: String,
    /// The size of its database file, in bytes.
    pub db_size: u64,
    /// The part of it that is in use, in bytes.
    pub db_size_in_use: u64,
    /// The leader's id; 0 where there is none.
    pub leader: u64,
    /// Whether it is a learner: one that gets the log and has no vote yet.
    pub is_learner: bool,
}

/// The hash of all keys and values up to a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash {
    /// The hash.
    pub hash: u32,
    /// Up to which revision the history was compacted; the hash depends on it.
    pub compacted: i64,
}

/// A connection to a member, logged in.
pub(super) struct Member {
    channel: Channel,
    user: String,
}

impl Member {
    /// Connects to the member that the context names, and logs in.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when nobody listens, the password is wrong or it is no etcd.
    pub async fn open(context: &HookContext) -> Result<Self> {
        Self::to(&Target::of(context).await?).await
    }

    /// Connects without logging in, for what everybody may ask.
    pub async fn unknown(context: &HookContext) -> Result<Self> {
        let channel = Channel::open(&Target::of(context).await?).await?;
        Ok(Self { channel, user: String::new() })
    }

    async fn to(target: &Target) -> Result<Self> {
        let channel = Channel::open(target).await?;
        let mut member = Self { channel, user: target.settings.user.clone() };
        if member.user.is_empty() {
            return Ok(member);
        }
        let Some(password) = &target.password else {
            return Err(errors::no_password(member.place(), &member.user));
        };
        let question = Message::default()
            .bytes(1, member.user.as_bytes())
            .bytes(2, password.expose().as_bytes())
            .into_bytes();
        let asked = member.ask("Auth/Authenticate", question, LOOKUP, "log in").await;
        match asked {
            Ok(answer) => member.channel.authorize(Fields::read(&answer)?.text(2)),
            // A cluster that asks nobody who they are lets everybody in.
            Err(Failure::Theirs(Refusal { code: FAILED_PRECONDITION, .. })) => {}
            Err(failure) => return Err(member.error(failure, "log in")),
        }
        Ok(member)
    }

    /// The member, for messages.
    pub fn place(&self) -> &str {
        self.channel.place()
    }

    /// Its state. It answers by itself, whether or not the cluster has a leader.
    pub async fn status(&self) -> Result<Status> {
        let answer = self.answer("Maintenance/Status", Vec::new(), LOOKUP, "ask for the state").await?;
        let answer = Fields::read(&answer)?;
        Ok(Status {
            header: header(&answer)?,
            version: answer.text(2),
            db_size: answer.number(3),
            leader: answer.number(4),
            db_size_in_use: answer.number(9),
            is_learner: answer.number(10) != 0,
        })
    }

    /// The alarms that are on in the cluster, as `NOSPACE of member 1f`.
    pub async fn alarms(&self) -> Result<Vec<(Alarm, u64)>> {
        let answer = self.answer("Maintenance/Alarm", Vec::new(), LOOKUP, "ask for alarms").await?;
        let answer = Fields::read(&answer)?;
        answer
            .all(2)
            .map(|alarm| {
                let alarm = Fields::read(alarm)?;
                Ok((Alarm::of(alarm.number(2)), alarm.number(1)))
            })
            .collect()
    }

    /// How many members the cluster has.
    pub async fn members(&self) -> Result<usize> {
        let answer = self.answer("Cluster/MemberList", Vec::new(), LOOKUP, "list the members").await?;
        Ok(Fields::read(&answer)?.all(2).count())
    }

    /// Counts all keys as of a revision, or as of now, agreed on by the cluster.
    pub async fn count(&self, revision: Option<i64>) -> Result<(Header, i64)> {
        // From the key of one zero byte to the same: all keys.
        let question = Message::default()
            .bytes(1, &[0])
            .bytes(2, &[0])
            .number(4, revision.unwrap_or_default().cast_unsigned())
            .number(9, 1)
            .into_bytes();
        let answer = self.answer("KV/Range", question, LONG, "count the keys").await?;
        let answer = Fields::read(&answer)?;
        Ok((header(&answer)?, answer.signed(4)))
    }

    /// The hash of everything up to a revision; `None` where the history was compacted past it.
    pub async fn hash(&self, revision: i64) -> Result<Option<Hash>> {
        let question = Message::default().number(1, revision.cast_unsigned()).into_bytes();
        let attempt = "hash the keys";
        match self.ask("Maintenance/HashKV", question, LONG, attempt).await {
            Ok(answer) => {
                let answer = Fields::read(&answer)?;
                let hash = u32::try_from(answer.number(2)).unwrap_or_default();
                Ok(Some(Hash { hash, compacted: answer.signed(3) }))
            }
            Err(Failure::Theirs(Refusal { code: OUT_OF_RANGE, message }))
                if message.contains("compacted") =>
            {
                Ok(None)
            }
            Err(failure) => Err(self.error(failure, attempt)),
        }
    }

    /// Begins a snapshot of the database.
    pub async fn snapshot(&self) -> Result<Answers> {
        let begun = self.channel.stream(SNAPSHOT, Vec::new(), "take a snapshot").await;
        begun.map_err(|failure| self.error(failure, "take a snapshot"))
    }

    /// Says what a failure means.
    pub fn error(&self, failure: Failure, attempt: &str) -> Error {
        match failure {
            Failure::Ours(error) => error,
            Failure::Theirs(refusal) => errors::refused(refusal, attempt, self.place(), &self.user),
        }
    }

    async fn answer(
        &self,
        method: &str,
        question: Vec<u8>,
        within: Duration,
        attempt: &str,
    ) -> Result<bytes::Bytes> {
        let answer = self.ask(method, question, within, attempt).await;
        answer.map_err(|failure| self.error(failure, attempt))
    }

    async fn ask(
        &self,
        method: &str,
        question: Vec<u8>,
        within: Duration,
        attempt: &str,
    ) -> Result<bytes::Bytes, Failure> {
        self.channel.ask(&format!("/etcdserverpb.{method}"), question, within, attempt).await
    }
}

const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";

/// A piece of a snapshot: how many bytes of the database follow, and its own.
pub(super) fn piece(answer: &bytes::Bytes) -> Result<(u64, bytes::Bytes)> {
    let fields = Fields::read(answer)?;
    Ok((fields.number(2), answer.slice_ref(fields.bytes(3))))
}

fn header(answer: &Fields<'_>) -> Result<Header> {
    let header = answer.message(1)?;
    Ok(Header { cluster: header.number(1), member: header.number(2), revision: header.signed(3) })
}

/// What a cluster may have to complain of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// A member's database has reached its quota; the cluster takes no writes.
    NoSpace,
    /// A member's data is not what the others have.
    Corrupt,
    /// One that came with a later version.
    Other(u64),
}

impl Alarm {
    const fn of(number: u64) -> Self {
        match number {
            1 => Self::NoSpace,
            2 => Self::Corrupt,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for Alarm {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSpace => formatter.write_str("NOSPACE"),
            Self::Corrupt => formatter.write_str("CORRUPT"),
            Self::Other(number) => write!(formatter, "number {number}"),
        }
    }
}
