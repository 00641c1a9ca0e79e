//! Fields of objects: what a change touches, and what puts it back. Pure.
//!
//! What is put back is what was there before, where there is still what the change made of it. What somebody else has
//! changed since is left alone.

use serde_json::{Map, Value};

/// What an object has where a change touches it; null where it has nothing.
pub(super) fn touched(change: &Map<String, Value>, object: &Value) -> Value {
    let touch = |(key, wanted): (&String, &Value)| {
        let is = object.get(key).unwrap_or(&Value::Null);
        let was = match (wanted, is) {
            (Value::Object(inner), Value::Object(_)) => touched(inner, is),
            _ => is.clone(),
        };
        (key.clone(), was)
    };
    Value::Object(change.iter().map(touch).collect())
}

/// What to do about an object that was changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PutBack {
    /// A merge patch; empty where nothing is to be done.
    pub(super) patch: Map<String, Value>,
    /// The fields that are neither as the change made them nor as they were: somebody else's.
    pub(super) left: Vec<String>,
}

/// What puts back what a change made, on an object as it is now.
pub(super) fn put_back(change: &Map<String, Value>, was: &Value, is: &Value) -> PutBack {
    let mut back = PutBack::default();
    back.patch = of_map(change, was, is, "", &mut back.left);
    back
}

fn of_map(
    change: &Map<String, Value>,
    was: &Value,
    is: &Value,
    above: &str,
    left: &mut Vec<String>,
) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, wanted) in change {
        let called = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        let (was, is) = (was.get(key).unwrap_or(&Value::Null), is.get(key).unwrap_or(&Value::Null));
        if let (Value::Object(inner), Value::Object(found)) = (wanted, is)
            && (was.is_object() || (was.is_null() && has_more(inner, found)))
        {
            let below = of_map(inner, was, is, &called, left);
            if !below.is_empty() {
                patch.insert(key.clone(), Value::Object(below));
            }
        } else if as_made(wanted, is) {
            if was != is {
                patch.insert(key.clone(), was.clone());
            }
        } else if was != is {
            left.push(called);
        }
    }
    patch
}

/// Whether a map has anything besides what a change put there.
fn has_more(change: &Map<String, Value>, found: &Map<String, Value>) -> bool {
    found.iter().any(|(key, is)| match (change.get(key), is) {
        (None, _) => true,
        (Some(Value::Object(change)), Value::Object(found)) => has_more(change, found),
        _ => false,
    })
}

/// Whether a value is what a change made of it. Servers add defaults to maps, and entries to lists that are merged.
fn as_made(wanted: &Value, is: &Value) -> bool {
    match (wanted, is) {
        (Value::Object(wanted), Value::Object(is)) => {
            wanted.iter().all(|(key, wanted)| as_made(wanted, is.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(wanted), Value::Array(is)) if wanted.is_empty() => is.is_empty(),
        (Value::Array(wanted), Value::Array(is)) => {
            wanted.iter().all(|wanted| is.iter().any(|is| as_made(wanted, is)))
        }
        (wanted, is) => wanted == is,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    /// A JSON merge patch, as RFC 7386 defines it.
    fn merge(target: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut merged = target.as_object().cloned().unwrap_or_default();
        for (key, value) in patch {
            if value.is_null() {
                merged.remove(key);
            } else {
                let under = merged.get(key).cloned().unwrap_or(Value::Null);
                merged.insert(key.clone(), merge(&under, value));
            }
        }
        Value::Object(merged)
    }

    #[test]
    fn what_was_there_comes_back_and_what_was_not_goes() {
        let was = json!({"metadata": {"labels": {"app": "db"}}, "spec": {"paused": false, "size": 3}});
        let change = map(
            &json!({"metadata": {"annotations": {"hold": "on"}}, "spec": {"paused": true, "size": null}}),
        );
        let earlier = touched(&change, &was);
        assert_eq!(earlier, json!({"metadata": {"annotations": null}, "spec": {"paused": false, "size": 3}}));
        let is = merge(&was, &Value::Object(change.clone()));
        let back = put_back(&change, &earlier, &is);
        assert_eq!(back.left, Vec::<String>::new());
        assert_eq!(merge(&is, &Value::Object(back.patch)), was);
    }

    #[test]
    fn what_somebody_else_has_changed_since_is_left_alone_and_told() {
        let change = map(&json!({"spec": {"paused": true}, "metadata": {"annotations": {"hold": "on"}}}));
        let earlier = touched(&change, &json!({"spec": {"paused": false}}));
        let is =
            json!({"spec": {"paused": "later"}, "metadata": {"annotations": {"hold": "on", "other": "x"}}});
        let back = put_back(&change, &earlier, &is);
        assert_eq!(Value::Object(back.patch), json!({"metadata": {"annotations": {"hold": null}}}));
        assert_eq!(back.left, ["spec.paused"]);
    }

    #[test]
    fn defaults_that_the_server_adds_are_no_change_of_somebody_elses() {
        let change = map(&json!({"spec": {"ports": [{"port": 1}]}}));
        let earlier = touched(&change, &json!({"spec": {"ports": [{"port": 2, "protocol": "TCP"}]}}));
        let is = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}]}});
        let back = put_back(&change, &earlier, &is);
        assert_eq!(Value::Object(back.patch), json!({"spec": {"ports": [{"port": 2, "protocol": "TCP"}]}}));
    }

    #[test]
    fn what_was_never_changed_is_not_put_back() {
        let was = json!({"spec": {"paused": false}});
        let change = map(&json!({"spec": {"paused": true}}));
        let back = put_back(&change, &touched(&change, &was), &was);
        assert_eq!(back, PutBack::default());
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..3_i32).prop_map(Value::from),
            proptest::collection::vec(0..3_i32, 0..3).prop_map(Value::from),
        ];
        let map = |inner| proptest::collection::btree_map("[a-c]", inner, 0..3);
        let node = leaf.prop_recursive(3, 12, 3, move |inner| {
            map(inner).prop_map(|map| Value::Object(map.into_iter().collect()))
        });
        map(node.boxed()).prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    /// Empty maps cannot be told from missing ones by a merge patch, nor need they be.
    fn without_empty_maps(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let inner = map.iter().map(|(key, value)| (key.clone(), without_empty_maps(value)));
                Value::Object(inner.filter(|(_, value)| *value != json!({})).collect())
            }
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn every_merge_patch_is_put_back(was in documents(), change in documents()) {
            let change = map(&change);
            let earlier = touched(&change, &was);
            let is = merge(&was, &Value::Object(change.clone()));
            let back = put_back(&change, &earlier, &is);
            prop_assert_eq!(&back.left, &Vec::<String>::new());
            let restored = merge(&is, &Value::Object(back.patch));
            prop_assert_eq!(without_empty_maps(&restored), without_empty_maps(&was));
            // Once more changes nothing.
            prop_assert_eq!(put_back(&change, &earlier, &restored).patch, Map::new());
        }
    }
}
