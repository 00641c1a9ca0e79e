//! The recovery point: the committed record of a backup, and the proof that it carries.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Outputs of a step, by name.
pub type Outputs = BTreeMap<String, Value>;

/// One execution of an action: a version 7 UUID, so that runs sort by the time they started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// A new, unique id.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string())
    }

    /// The id as text: 32 lower-case hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match uuid::Uuid::parse_str(text) {
            Ok(id) => Ok(Self(id.simple().to_string())),
            Err(cause) => Err(Error::input(format!("`{text}` is not the id of a run"))
                .remedy("`standstill runs` lists them.")
                .because(cause)),
        }
    }
}

/// What was proven of a backup's consistency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Consistency {
    /// Every hold was confirmed across the cut and its release succeeded.
    Application,
    /// The capture was atomic, but no hold was proven across it.
    Crash,
}

impl fmt::Display for Consistency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Application => "application",
            Self::Crash => "crash",
        })
    }
}

/// What a hook observed that proves that its hold spanned the cut.
///
/// Only a [`crate::hook::Hold`]'s `confirm` and `release` make one; it cannot be empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Evidence(Map<String, Value>);

impl Evidence {
    /// Evidence of one observation.
    pub fn of(name: &str, observed: impl Into<Value>) -> Self {
        let mut map = Map::new();
        map.insert(name.to_owned(), observed.into());
        Self(map)
    }

    /// Adds another observation.
    #[must_use]
    pub fn and(mut self, name: &str, observed: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), observed.into());
        self
    }

    /// Takes over the observations of another piece of evidence.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// What was observed under a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

/// How far a fact reaches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Bound {
    /// As of the cut.
    Exact,
    /// Between the fact's value (seen before the cut) and this one (seen after it), in whichever order.
    Bounded(Value),
    /// The restored value is this or more (sequences, whose log runs ahead).
    AtLeast,
    /// It cannot be known for the cut; it is kept for people and never compared.
    None,
}

/// Something counted or hashed at the quiesced moment, with a bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fact {
    /// What was counted, in the hook's own words, unique within the recovery point.
    pub name: String,
    /// The value.
    pub value: Value,
    /// How far it reaches.
    pub bound: Bound,
}

impl Fact {
    /// Whether a value found in a restored copy agrees with the fact; `None` where it cannot be compared.
    pub fn agrees(&self, found: &Value) -> Option<bool> {
        let number = |value: &Value| value.as_f64();
        match &self.bound {
            Bound::None => None,
            Bound::Exact => Some(&self.value == found),
            Bound::AtLeast => Some(number(found)? >= number(&self.value)?),
            Bound::Bounded(after) => {
                let (one, other, found) = (number(&self.value)?, number(after)?, number(found)?);
                Some(one.min(other) <= found && found <= one.max(other))
            }
        }
    }
}

/// What kind of thing an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ArtifactKind {
    /// A directory tree with owners, modes, links and holes.
    Volume,
    /// A directory of files that a hook gathered.
    Files,
    /// One stream of bytes.
    Stream,
    /// A snapshot of the storage that was kept as it is; the repository only has what is known of it.
    Snapshot,
}

/// One stored result, as the repository knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoredArtifact {
    /// The artifact's name within the recovery point; a stream's may have slashes (`db/app`).
    pub name: String,
    /// What kind of thing it is.
    pub kind: ArtifactKind,
    /// The repository's snapshot that holds it.
    pub snapshot: String,
    /// Bytes read from the source.
    pub bytes: u64,
    /// Bytes that the repository grew by: new, compressed and encrypted.
    pub stored_bytes: u64,
    /// Files read from the source (1 for a stream).
    pub files: u64,
    /// BLAKE3 of a stream's bytes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// The repository's tree id of a volume or of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_id: Option<String>,
    /// Of a snapshot that was kept: where it is. Its data is in no repository, and was not read: no bytes, no hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Box<KeptSnapshot>>,
}

/// A snapshot of the storage that was kept as it is: whoever loses that storage has lost it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeptSnapshot {
    /// The runtime that can restore and remove it: `kubernetes`.
    pub runtime: String,
    /// What it is called there, for people.
    pub called: String,
    /// What the runtime needs in order to find it.
    pub record: Value,
    /// Patterns of files that are not restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// How long writes waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freeze {
    /// From the first write-blocking hold acquired to the last one released, in milliseconds.
    pub milliseconds: u64,
    /// The ceiling that was in force (`maxFreeze`), in milliseconds.
    pub maximum_milliseconds: u64,
}

/// One hold of a run, as reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HoldReport {
    /// The step that acquired it.
    pub step: String,
    /// What acquired it: `postgresql/backup-mode`, `pair`, `session`.
    pub hook: String,
    /// What kind of hold it was.
    pub kind: crate::hook::HoldKind,
    /// Whether writes waited while it was on.
    pub blocks_writes: bool,
    /// When it was acquired.
    pub acquired_at: Timestamp,
    /// When it was released; `None` if that is not known.
    pub released_at: Option<Timestamp>,
    /// What proves that it spanned the cut; `None` if nothing does.
    pub evidence: Option<Evidence>,
}

/// The database's version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Version {
    /// The major version: 15 of PostgreSQL 15.20.
    pub major: u32,
    /// The version in full, as the server says it.
    pub full: String,
}

/// The committed record of a backup. It exists if and only if it and all its artifacts are in the repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecoveryPoint {
    /// The id; the same as the run's that made it.
    pub id: RunId,
    /// The application's name (`--name`; the blueprint's by default).
    pub name: String,
    /// The name of the blueprint.
    pub blueprint: String,
    /// BLAKE3 of the blueprint's text, in hexadecimal.
    pub blueprint_digest: String,
    /// The blueprint's text: `restore` and `verify` use it.
    pub blueprint_text: String,
    /// Parameter values that are not secret.
    pub parameters: Map<String, Value>,
    /// When the cut was.
    pub cut_at: Timestamp,
    /// When the run started.
    pub started_at: Timestamp,
    /// What was proven.
    pub consistency: Consistency,
    /// How long writes waited.
    pub freeze: Freeze,
    /// The holds and their evidence.
    pub holds: Vec<HoldReport>,
    /// Recorded outputs, by step and key.
    pub outputs: BTreeMap<String, Outputs>,
    /// What was stored.
    pub artifacts: Vec<StoredArtifact>,
    /// What was counted.
    pub facts: Vec<Fact>,
    /// The database's version, where the hook knows one.
    pub version: Option<Version>,
    /// The identity of the database that was backed up.
    pub identity: Option<String>,
    /// Of a group: its members, in the order in which they were quiesced. The names of their artifacts, facts, holds
    /// and outputs begin with `MEMBER/`, and the blueprint is the group's own text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PointMember>,
    /// The version of Standstill that wrote it.
    pub standstill: String,
}

/// One member of a group, as its recovery point knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PointMember {
    /// Its name in the group.
    pub name: String,
    /// The name of its blueprint.
    pub blueprint: String,
    /// BLAKE3 of its blueprint's text, in hexadecimal.
    pub blueprint_digest: String,
    /// Its blueprint's text: `restore` and `verify` use it.
    pub blueprint_text: String,
    /// Its parameter values that are not secret.
    pub parameters: Map<String, Value>,
    /// Its database's version, where the hook knows one.
    pub version: Option<Version>,
    /// The identity of its database.
    pub identity: Option<String>,
}

/// What a member of a group calls something, as the group calls it.
pub fn of_member(member: &str, name: &str) -> String {
    format!("{member}/{name}")
}

/// As [`of_member`], where there is a member.
pub(crate) fn qualified(member: Option<&str>, name: &str) -> String {
    member.map_or_else(|| name.to_owned(), |member| of_member(member, name))
}

impl RecoveryPoint {
    /// The artifact of that name.
    pub fn artifact(&self, name: &str) -> Option<&StoredArtifact> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }

    /// The recovery point of one member, as if it had been backed up alone: with its blueprint, values, artifacts and
    /// facts, by the names that it calls them itself.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] when there is no such member.
    pub fn member(&self, name: &str) -> Result<Self> {
        let Some(member) = self.members.iter().find(|member| member.name == name) else {
            let names: Vec<&str> = self.members.iter().map(|member| member.name.as_str()).collect();
            let error = Error::input(format!("the recovery point {} has no member `{name}`", self.id));
            return Err(if names.is_empty() {
                error.remedy("It is not of a group: leave the member out.")
            } else {
                error.remedy(format!("Its members are: {}.", names.join(", ")))
            });
        };
        let own = |of: &str| Some(of.strip_prefix(name)?.strip_prefix('/')?.to_owned());
        let holds =
            self.holds.iter().filter_map(|hold| Some(HoldReport { step: own(&hold.step)?, ..hold.clone() }));
        let artifacts = self
            .artifacts
            .iter()
            .filter_map(|artifact| Some(StoredArtifact { name: own(&artifact.name)?, ..artifact.clone() }));
        let facts =
            self.facts.iter().filter_map(|fact| Some(Fact { name: own(&fact.name)?, ..fact.clone() }));
        Ok(Self {
            blueprint: member.blueprint.clone(),
            blueprint_digest: member.blueprint_digest.clone(),
            blueprint_text: member.blueprint_text.clone(),
            parameters: member.parameters.clone(),
            holds: holds.collect(),
            outputs: self.outputs.iter().filter_map(|(step, of)| Some((own(step)?, of.clone()))).collect(),
            artifacts: artifacts.collect(),
            facts: facts.collect(),
            version: member.version.clone(),
            identity: member.identity.clone(),
            members: Vec::new(),
            ..self.clone()
        })
    }
}

/// One check of a verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it held.
    pub outcome: CheckOutcome,
    /// What was found, for people.
    pub detail: String,
}

/// Whether a check held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CheckOutcome {
    /// It held.
    Passed,
    /// It did not.
    Failed,
    /// It could not be made, and the detail says why; it proves nothing.
    Skipped,
}

/// The outcome of a verification, recorded beside the recovery point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verification {
    /// The run that verified.
    pub run: RunId,
    /// What was verified.
    pub recovery_point: RunId,
    /// Of a group: the one member that was verified. Such a verification says nothing about the others, so it does not
    /// count as the recovery point's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Whether every check passed and there was at least one.
    pub outcome: CheckOutcome,
    /// The checks.
    pub checks: Vec<Check>,
    /// From the start of the restore to a serving database, in milliseconds.
    pub rto_milliseconds: Option<u64>,
    /// The age of the data when the verification started, in seconds.
    pub data_age_seconds: u64,
    /// When the verification ended.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fact(value: Value, bound: Bound) -> Fact {
        Fact { name: "rows".into(), value, bound }
    }

    #[test]
    fn a_bounded_fact_agrees_between_before_and_after_in_either_order() {
        let growing = fact(json!(5), Bound::Bounded(json!(9)));
        assert_eq!(growing.agrees(&json!(7)), Some(true));
        assert_eq!(growing.agrees(&json!(10)), Some(false));
        let shrinking = fact(json!(9), Bound::Bounded(json!(5)));
        assert_eq!(shrinking.agrees(&json!(5)), Some(true));
        assert_eq!(shrinking.agrees(&json!(4)), Some(false));
    }

    #[test]
    fn a_fact_without_a_bound_is_never_compared() {
        assert_eq!(fact(json!(5), Bound::None).agrees(&json!(6)), None);
    }

    #[test]
    fn sequences_may_run_ahead_but_not_fall_behind() {
        let sequence = fact(json!(3), Bound::AtLeast);
        assert_eq!(sequence.agrees(&json!(35)), Some(true));
        assert_eq!(sequence.agrees(&json!(2)), Some(false));
    }
}
