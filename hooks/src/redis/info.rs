//! What `INFO` says, read as what it may be: the words of a stranger.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use standstill_core::Result;

use super::{connect::Session, errors};

/// One answer to `INFO`.
#[derive(Debug, Clone, Default)]
pub(super) struct Info(HashMap<String, String>);

/// The keys of one database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// All of them, expired ones that were not removed yet among them.
    pub all: u64,
    /// Those that expire at some time.
    pub expiring: u64,
}

impl Info {
    /// Asks the server.
    pub async fn of(session: &Session, within: Duration) -> Result<Self> {
        let text: String = session.ask(within, "ask the server about itself (INFO)", &["INFO"]).await?;
        Ok(Self::read(&text))
    }

    /// Reads an answer; lines that are none are passed over.
    pub fn read(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// A field, if the server has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field that is a number, if the server has it.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// A field that is a number.
    ///
    /// # Errors
    /// When the server has none.
    pub fn needed(&self, name: &str, place: &str) -> Result<u64> {
        self.number(name).ok_or_else(|| errors::strange(&format!("read `{name}` of INFO"), place))
    }

    /// A field that is 1 or 0.
    pub fn is_on(&self, name: &str) -> bool {
        self.number(name).is_some_and(|number| number != 0)
    }

    /// The databases that have keys, by their number.
    pub fn keyspace(&self) -> BTreeMap<u32, Keys> {
        let databases = self.0.iter().filter_map(|(name, value)| {
            let number = name.strip_prefix("db")?.parse().ok()?;
            let field = |wanted: &str| {
                value
                    .split(',')
                    .filter_map(|pair| pair.split_once('='))
                    .find_map(|(name, value)| if name == wanted { value.parse().ok() } else { None })
            };
            Some((number, Keys { all: field("keys")?, expiring: field("expires").unwrap_or_default() }))
        });
        databases.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_databases_and_nonsense_are_told_apart() {
        let info = Info::read(
            "# Server\r\nredis_version:7.0.15\r\nloading:0\r\nexecutable:/a:b\r\nnonsense\r\n\
             # Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\ndb12:keys=7,expires=0,avg_ttl=0,subexpiry=2\r\ndbx:keys=1\r\n",
        );
        assert_eq!(info.get("redis_version"), Some("7.0.15"));
        assert_eq!(info.get("executable"), Some("/a:b"));
        assert!(!info.is_on("loading"));
        assert_eq!(info.number("redis_version"), None);
        let keys = info.keyspace();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[&0], Keys { all: 3, expiring: 1 });
        assert_eq!(keys[&12], Keys { all: 7, expiring: 0 });
    }
}
