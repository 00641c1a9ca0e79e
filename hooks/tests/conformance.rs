//! What every hook must keep, driven by what it declares and by nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test that fails is a test that fails"
)]

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use standstill_core::{
    Error, ErrorKind,
    hook::{Available, Hook, HookContext, Hooks, Verb, VerbKind},
};
use standstill_hooks::Registry;
use tempfile::tempdir;

fn hooks() -> Vec<Arc<dyn Hook>> {
    let registry = Registry::new();
    registry.names().into_iter().map(|name| registry.get(name).unwrap()).collect()
}

fn verbs() -> Vec<(Arc<dyn Hook>, Verb)> {
    hooks()
        .into_iter()
        .flat_map(|hook| hook.describe().verbs.clone().into_iter().map(move |verb| (hook.clone(), verb)))
        .collect()
}

/// A context without connection, service or volume.
fn nowhere() -> HookContext {
    let directory = tempdir().unwrap();
    HookContext {
        volume: None,
        ..support::context(directory.path(), directory.path(), Duration::from_secs(1))
    }
}

fn is_kebab_case(name: &str) -> bool {
    !name.is_empty()
        && name.split('-').all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase()))
}

#[test]
fn names_are_kebab_case_and_unique_and_summaries_are_one_line() {
    for hook in hooks() {
        let description = hook.describe();
        assert!(is_kebab_case(description.name), "{}", description.name);
        let names: BTreeSet<_> = description.verbs.iter().map(|verb| verb.name).collect();
        assert_eq!(names.len(), description.verbs.len(), "{}", description.name);
        for verb in &description.verbs {
            assert!(is_kebab_case(verb.name), "{}", verb.name);
            assert!(!verb.summary.is_empty() && !verb.summary.contains('\n'), "{}", verb.name);
            assert!(!verb.summary.ends_with('.'), "{}: {}", verb.name, verb.summary);
            assert!(!verb.places.is_empty(), "{}", verb.name);
        }
    }
}

#[test]
fn arguments_are_objects_in_camel_case_that_allow_no_other_key() {
    for (hook, verb) in verbs() {
        let what = format!("{}/{}", hook.describe().name, verb.name);
        assert_eq!(verb.arguments["type"], json!("object"), "{what}");
        assert_eq!(verb.arguments["additionalProperties"], json!(false), "{what}");
        let empty = serde_json::Map::new();
        let properties = verb.arguments.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        for (name, schema) in properties {
            assert!(
                name.chars().all(|c| c.is_ascii_alphanumeric())
                    && name.starts_with(|c: char| c.is_lowercase()),
                "{what}: {name}"
            );
            assert!(schema.get("description").is_some(), "{what}: `{name}` is not explained");
        }
    }
}

#[test]
fn a_verb_that_is_told_where_to_look_for_programs_says_that_it_runs_one() {
    for (hook, verb) in verbs() {
        let what = format!("{}/{}", hook.describe().name, verb.name);
        let looks = verb.arguments["properties"].get("search").is_some();
        // Freezing takes the administrator's own program.
        assert_eq!(hook.runs_program(verb.name), looks || hook.describe().name == "filesystem", "{what}");
    }
}

#[test]
fn only_a_hold_has_outputs_of_its_release() {
    for (hook, verb) in verbs() {
        let names: BTreeSet<_> = verb.outputs.iter().map(|output| output.name).collect();
        assert_eq!(names.len(), verb.outputs.len(), "{}/{}", hook.describe().name, verb.name);
        let released = verb.outputs.iter().any(|output| output.available == Available::Released);
        assert!(
            !released || matches!(verb.kind, VerbKind::Hold(_)),
            "{}/{}",
            hook.describe().name,
            verb.name
        );
        assert_eq!(hook.hold_traits(verb.name, &json!({})).is_some(), matches!(verb.kind, VerbKind::Hold(_)));
    }
}

/// Calls or acquires, as the verb's kind says.
async fn perform(hook: &dyn Hook, kind: VerbKind, verb: &str, arguments: &Value) -> Result<(), Error> {
    match kind {
        VerbKind::Hold(_) => hook.acquire(verb, &nowhere(), arguments).await.map(drop),
        VerbKind::Read | VerbKind::Act => hook.call(verb, &nowhere(), arguments).await.map(drop),
        VerbKind::Stream => hook.stream(verb, &nowhere(), arguments).await.map(drop),
    }
}

#[tokio::test]
async fn an_unknown_verb_and_a_wrong_argument_are_input_errors() {
    for (hook, verb) in verbs() {
        let what = format!("{}/{}", hook.describe().name, verb.name);
        let error =
            perform(hook.as_ref(), verb.kind, verb.name, &json!({"noSuchArgument": 1})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{what}: {error}");
        assert!(error.remedy_text().is_some(), "{what}: {error}");
        let error = perform(hook.as_ref(), verb.kind, "no-such-verb", &json!({})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{what}: {error}");
    }
}

#[tokio::test]
async fn a_probe_of_nothing_is_an_input_error() {
    for hook in hooks() {
        let error = hook.probe(&nowhere()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{}: {error}", hook.describe().name);
    }
}
