//! What templates see: a map of names to JSON values.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The values that templates are rendered with: `params`, `steps`, `volumes` and the like.
///
/// Secrets are never in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Map<String, Value>);

impl Scope {
    /// A scope with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a name, in place of what was there.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets the value at a path such as `["steps", "dump", "bytes"]`, making the maps on the way; whatever else
    /// than a map stands on the way is replaced by one. An empty path changes nothing.
    pub fn set_path(&mut self, path: &[&str], value: impl Into<Value>) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut map = &mut self.0;
        for name in parents {
            let child = map.entry(*name).or_insert_with(|| Value::Object(Map::new()));
            if !child.is_object() {
                *child = Value::Object(Map::new());
            }
            let Value::Object(inner) = child else { return };
            map = inner;
        }
        map.insert((*last).to_owned(), value.into());
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value at a path such as `["steps", "dump", "bytes"]`; a list is entered by its index.
    pub fn at(&self, path: &[impl AsRef<str>]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(first.as_ref())?, |value, name| match value {
            Value::Object(map) => map.get(name.as_ref()),
            Value::Array(list) => list.get(name.as_ref().parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// All values, by name.
    pub const fn values(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl From<Map<String, Value>> for Scope {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn setting_a_path_makes_the_maps_on_the_way_and_keeps_what_is_beside_it() {
        let mut scope = Scope::new();
        scope.set_path(&["steps", "one", "exitCode"], 0);
        scope.set_path(&["steps", "two", "stdout"], "hello");
        scope.set_path(&[], 1);
        assert_eq!(scope.get("steps"), Some(&json!({"one": {"exitCode": 0}, "two": {"stdout": "hello"}})));
        assert_eq!(scope.at(&["steps", "two", "stdout"]), Some(&json!("hello")));
        assert_eq!(scope.at(&["steps", "two", "stderr"]), None);
    }

    #[test]
    fn a_path_through_something_that_is_no_map_replaces_it() {
        let mut scope = Scope::new();
        scope.insert("run", "old");
        scope.set_path(&["run", "id"], "new");
        assert_eq!(scope.get("run"), Some(&json!({"id": "new"})));
    }
}
