//! Hooks that only describe themselves.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    Error, Result,
    hook::{
        Acquired, Available, Called, HoldKind, HoldTraits, Hook, HookContext, HookDescription, Hooks,
        OutputDescription, OutputType, Place, Probe, Tolerance, Undone, Verb, VerbKind,
    },
};

/// Two hooks that describe themselves and do nothing.
pub struct FakeHooks(Vec<Arc<FakeHook>>);

/// A hook that describes itself and does nothing.
pub struct FakeHook(HookDescription);

impl FakeHooks {
    pub fn new() -> Self {
        Self(vec![Arc::new(FakeHook(postgresql())), Arc::new(FakeHook(sqlite()))])
    }
}

impl Hooks for FakeHooks {
    fn get(&self, name: &str) -> Option<Arc<dyn Hook>> {
        let found = self.0.iter().find(|hook| hook.0.name == name)?;
        Some(Arc::clone(found) as Arc<dyn Hook>)
    }

    fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|hook| hook.0.name).collect()
    }
}

fn nothing<T>() -> Result<T> {
    Err(Error::failed("a fake hook does nothing"))
}

#[async_trait]
impl Hook for FakeHook {
    fn describe(&self) -> &HookDescription {
        &self.0
    }

    async fn probe(&self, _: &HookContext) -> Result<Probe> {
        nothing()
    }

    async fn call(&self, _: &str, _: &HookContext, _: &Value) -> Result<Called> {
        nothing()
    }

    fn undo_record(&self, _: &str, _: &HookContext, _: &Value) -> Result<Value> {
        nothing()
    }

    async fn acquire(&self, _: &str, _: &HookContext, _: &Value) -> Result<Acquired> {
        nothing()
    }

    async fn undo(&self, _: &Value, _: &HookContext) -> Result<Undone> {
        nothing()
    }
}

fn object(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn hold(blocks_writes: bool) -> VerbKind {
    let tolerates = Tolerance { not_atomic: true, changing_files: true, block_level: true };
    VerbKind::Hold(HoldTraits { kind: HoldKind::Session, blocks_writes, tolerates })
}

fn verb(name: &'static str, places: &'static [Place], kind: VerbKind, arguments: Value) -> Verb {
    Verb { name, summary: "does something", places, kind, arguments, outputs: Vec::new() }
}

fn output(name: &'static str, ty: OutputType, available: Available) -> OutputDescription {
    OutputDescription { name, ty, available }
}

fn postgresql() -> HookDescription {
    use Available::{Acquired, Released};
    let none = || object(&json!({}), &[]);
    let text = json!({"type": "string"});
    let ready = json!({
        "role": {"enum": ["any", "primary", "standby"]},
        "covers": {"type": "array", "items": {"type": "string"}},
        "within": {"type": ["integer", "null"]},
    });
    let label = json!({"label": text, "tablespaceMap": text});
    let mut backup_mode = verb("backup-mode", &[Place::Network], hold(false), none());
    backup_mode.outputs = vec![
        output("startLsn", OutputType::Text, Acquired),
        output("stopLsn", OutputType::Text, Released),
        output("label", OutputType::Text, Released),
        output("tablespaceMap", OutputType::Text, Released),
        output("wal", OutputType::Files, Released),
    ];
    let mut exported = verb("exported-snapshot", &[Place::Network], hold(false), none());
    exported.outputs = vec![output("databases", OutputType::List(&["name", "snapshot"]), Acquired)];
    let places = &[Place::Network, Place::Service];
    let facts = object(&json!({"facts": {"type": "array"}}), &["facts"]);
    let query = object(&json!({"sql": text, "limit": {"type": "integer"}}), &["sql"]);
    HookDescription {
        name: "postgresql",
        summary: "PostgreSQL",
        connection: Some(object(
            &json!({
                "host": text, "port": {"type": "integer"}, "user": text, "database": text,
                "password": {"type": "string", "x-secret": true},
            }),
            &["host", "user"],
        )),
        verbs: vec![
            verb("ready", &[Place::Network], VerbKind::Read, object(&ready, &["role"])),
            verb("checkpoint", &[Place::Network], VerbKind::Act, none()),
            backup_mode,
            exported,
            verb("place-label", &[Place::Volume], VerbKind::Act, object(&label, &["label"])),
            verb("scratch-config", &[Place::Volume], VerbKind::Act, none()),
            verb("wal", &[Place::Network], VerbKind::Stream, none()),
            verb("accepting", &[Place::Service], VerbKind::Read, none()),
            verb("compare-facts", &[Place::Service], VerbKind::Read, facts),
            verb("query", places, VerbKind::Read, query),
        ],
    }
}

fn sqlite() -> HookDescription {
    let file = object(&json!({"file": {"type": "string"}}), &["file"]);
    HookDescription {
        name: "sqlite",
        summary: "SQLite",
        connection: None,
        verbs: vec![verb("write-lock", &[Place::Volume], hold(true), file)],
    }
}
