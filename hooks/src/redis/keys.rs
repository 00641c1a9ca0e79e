//! Facts: how many keys there are, and the verb `compare-facts`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    point::{Bound, Fact},
};

use super::{
    connect::{LOOKUP, Session},
    info::{Info, Keys},
};
use crate::server::compare;

/// The fact about all keys that a save wrote.
const ALL: &str = "keys";
/// What a fact about the keys of one database begins with.
const DATABASE: &str = "keys in db";

/// Facts of the instant at which a save began.
///
/// What expires may have gone by the time that a copy is looked at; how many keys were loaded and how many were
/// passed over as expired, the server counts.
pub(super) fn of_save(keyspace: &BTreeMap<u32, Keys>) -> Vec<Fact> {
    let all: u64 = keyspace.values().map(|keys| keys.all).sum();
    let all = Fact { name: ALL.into(), value: json!(all), bound: Bound::Exact };
    std::iter::once(all).chain(of_databases(keyspace)).collect()
}

fn of_databases(keyspace: &BTreeMap<u32, Keys>) -> Vec<Fact> {
    let databases = keyspace.iter().map(|(number, keys)| {
        let bound = match keys.expiring {
            0 => Bound::Exact,
            expiring => Bound::Bounded(json!(keys.all.saturating_sub(expiring))),
        };
        Fact { name: format!("{DATABASE}{number}"), value: json!(keys.all), bound }
    });
    databases.collect()
}

/// Facts of one database, as the file of a dump itself says.
pub(super) fn of_database(number: u64, keys: Keys) -> Vec<Fact> {
    u32::try_from(number).map(|number| of_databases(&BTreeMap::from([(number, keys)]))).unwrap_or_default()
}

/// Facts of everything between two looks: exact where nothing changed between them, else for people only.
pub(super) fn around(before: &Info, after: &Info) -> Vec<Fact> {
    let same = |field: &str| before.get(field).is_some() && before.get(field) == after.get(field);
    let facts = of_databases(&before.keyspace());
    let unchanged = same("rdb_changes_since_last_save") && same("rdb_saves") && same("expired_keys");
    if unchanged && before.keyspace() == after.keyspace() { facts } else { unbound(facts) }
}

/// The same for people only: something other than this save may have been captured.
pub(super) fn unbound(facts: Vec<Fact>) -> Vec<Fact> {
    facts.into_iter().map(|fact| Fact { bound: Bound::None, ..fact }).collect()
}

/// Compares each fact that can be compared; the others are skipped with the reason.
pub(super) async fn compare(context: &HookContext, arguments: &compare::Arguments) -> Result<Called> {
    let session = Session::open(context).await?;
    let mut checks = Vec::new();
    for fact in &arguments.facts {
        if context.cancel.is_cancelled() {
            return Err(Error::cancelled("cancelled on comparing facts"));
        }
        checks.push(compare::check(fact, ask(&session, &fact.name)).await);
    }
    Ok(Called { checks, ..Called::default() })
}

/// What the restored server says of a fact; `None` for a fact of a kind that is not known here.
async fn ask(session: &Session, fact: &str) -> Result<Option<Value>> {
    let info = Info::of(session, LOOKUP).await?;
    if fact == ALL {
        let loaded = info.needed("rdb_last_load_keys_loaded", session.place())?;
        let expired = info.needed("rdb_last_load_keys_expired", session.place())?;
        return Ok(Some(json!(loaded + expired)));
    }
    let Some(number) = fact.strip_prefix(DATABASE).and_then(|number| number.parse().ok()) else {
        return Ok(None);
    };
    Ok(Some(json!(info.keyspace().get(&number).map_or(0, |keys: &Keys| keys.all))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_expire_raise_no_false_alarm() {
        let keyspace = BTreeMap::from([(0, Keys { all: 5, expiring: 2 }), (3, Keys { all: 4, expiring: 0 })]);
        let facts = of_save(&keyspace);
        let fact = |name: &str| facts.iter().find(|fact| fact.name == name).unwrap();
        assert_eq!(fact("keys").agrees(&json!(9)), Some(true));
        assert_eq!(fact("keys").agrees(&json!(8)), Some(false));
        assert_eq!(fact("keys in db0").agrees(&json!(3)), Some(true));
        assert_eq!(fact("keys in db0").agrees(&json!(2)), Some(false));
        assert_eq!(fact("keys in db3").agrees(&json!(3)), Some(false));
    }

    #[test]
    fn facts_of_another_save_are_not_compared() {
        let facts = unbound(of_save(&BTreeMap::from([(0, Keys { all: 5, expiring: 0 })])));
        assert!(facts.iter().all(|fact| fact.agrees(&json!(1)).is_none()));
    }
}
